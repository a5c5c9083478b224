//! Making a backup, beside a node that runs or without it.

use super::{
    super::{charters, ground::folder_error},
    Contained, Extent,
};
use crate::node::{NodeConfig, StartError};
use dmdl_audit_ledger::{
    snapshot::Certified,
    store::{RocksKept, StoreError},
};
use dmdl_types::{
    backup::{BackupError, Packing, Piece},
    charter::{CharterError, SignedCharter},
    genesis::Founding,
    id::{NodeId, UnixMillis},
    sign::SigningKey,
};
use std::{
    io::{self, Write},
    path::PathBuf,
};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackUpError {
    /// The node has never run here.
    #[error("`{0}` has no channel of this network: there is nothing to back up before the node has run")]
    Nothing(PathBuf),
    /// Something in the folder cannot be read.
    #[error(transparent)]
    Folder(StartError),
    /// A charter that is kept founds nothing.
    #[error("a charter that is kept here is not valid: {0}")]
    Charter(#[from] CharterError),
    /// A ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A piece of a ledger has no place in a backup.
    #[error("a piece of the ledger is too long for a backup")]
    TooLong,
    /// The backup cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl From<BackupError> for BackUpError {
    fn from(_: BackupError) -> Self {
        // All else is about reading one.
        Self::TooLong
    }
}

/// Writes a backup of a node, and says what is in it; `told` hears how many bytes it has so far.
///
/// The node may run meanwhile. Who writes to a file gives it its name only once this has returned.
///
/// # Errors
/// [`BackUpError`]: what was written is no backup.
pub fn back_up(
    config: &NodeConfig,
    now: UnixMillis,
    out: &mut impl Write,
    told: impl FnMut(u64),
) -> Result<Vec<Contained>, BackUpError> {
    let NodeConfig { genesis, key, dir, .. } = config;
    let founding = genesis.founding();
    if !charters::folder(dir, founding.domain.channel).is_dir() {
        return Err(BackUpError::Nothing(dir.clone()));
    }
    let kept = charters::kept(dir).map_err(|source| BackUpError::Folder(folder_error(dir, source)))?;
    let (packing, first) = Packing::begin(founding.domain, NodeId::of_key(key.public()), now);
    let mut pieces = Pieces { out, packing, bytes: 0, told };
    pieces.write(&first)?;
    let mut contained = vec![pieces.channel(config, None, &founding)?];
    for charter in kept {
        let founding = charter.verify(genesis)?;
        contained.push(pieces.channel(config, Some(charter), &founding)?);
    }
    pieces.end(key)?;
    Ok(contained)
}

/// A backup that is being written.
struct Pieces<'a, W, T> {
    out: &'a mut W,
    packing: Packing,
    bytes: u64,
    told: T,
}

impl<W: Write, T: FnMut(u64)> Pieces<'_, W, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        (self.told)(self.bytes);
        Ok(())
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), BackUpError> {
        let bytes = self.packing.piece(piece)?;
        Ok(self.write(&bytes)?)
    }

    fn end(self, key: &SigningKey) -> io::Result<()> {
        let Self { out, packing, bytes, mut told } = self;
        let end = packing.end(key);
        out.write_all(&end)?;
        told(bytes.saturating_add(end.len() as u64));
        Ok(())
    }

    fn channel(
        &mut self,
        config: &NodeConfig,
        charter: Option<SignedCharter>,
        founding: &Founding,
    ) -> Result<Contained, BackUpError> {
        self.piece(&Piece::Channel(charter.map(Box::new)))?;
        let channel = founding.domain.channel;
        let certified = Certified::newest(&charters::folder(&config.dir, channel).join("ledger"))?;
        if let Some(certified) = &certified {
            self.ledger(certified)?;
        }
        let ledger = certified.as_ref().map(extent);
        Ok(Contained { name: founding.channel.name.clone(), channel, ledger })
    }

    fn ledger(&mut self, certified: &Certified<RocksKept>) -> Result<(), BackUpError> {
        for part in certified.parts() {
            self.piece(&Piece::Ledger(Box::new(part?)))?;
        }
        certified.signed().try_for_each(|signed| self.piece(&Piece::Signed(signed?)))
    }
}

fn extent(certified: &Certified<RocksKept>) -> Extent {
    let offer = certified.offer();
    let events = offer.anchor.header.checkpoint.as_ref().map_or(0, |cosigned| cosigned.checkpoint().size);
    Extent { height: offer.header.height, time: offer.header.time, events }
}
