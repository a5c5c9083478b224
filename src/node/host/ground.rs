//! What a host starts channels on: its folder, its keys and its network.

use super::{HostedNode, charters};
use crate::{
    local::wall_clock,
    node::{Backing, Beside, Node, NodeConfig, Posts, StartError, custody, join},
};
use commonware_runtime::Supervisor as _;
use dmdl_audit_ledger::{
    channel::Standing,
    mdca::Engine,
    process::{self, Place, Steady, Wires},
    store::{MemoryBudget, RocksStore, StoreError},
};
use dmdl_types::{
    checkpoint::CosigningKey,
    genesis::Founding,
    id::{ChannelId, Height, NodeId},
    secret::Secret32,
    sign::SigningKey,
};
use dmdl_vault::store::PayloadStore;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What channels share.
pub(super) struct Ground {
    context: Steady,
    key: SigningKey,
    cosigning: CosigningKey,
    dir: PathBuf,
    payloads: PayloadStore,
    memory: MemoryBudget,
    standing: Standing,
    wires: Wires,
}

impl Ground {
    pub(super) fn new(
        context: Steady,
        config: &NodeConfig,
        standing: Standing,
        wires: Wires,
    ) -> Result<Self, StartError> {
        let unusable = |source| folder_error(&config.vault, source);
        Ok(Self {
            context,
            key: copy(&config.key),
            cosigning: CosigningKey::from_seed(config.cosigning.seed().expose(|seed| Secret32::new(*seed))),
            dir: config.dir.clone(),
            payloads: PayloadStore::in_folder(&config.vault).map_err(unusable)?,
            memory: MemoryBudget::default(),
            standing,
            wires,
        })
    }

    /// Starts a channel in its folder, or begins it there, with what one of the `others` gives who may be ahead.
    pub(super) async fn start(
        &mut self,
        founding: &Founding,
        others: &[NodeId],
    ) -> Result<(HostedNode, Engine), StartError> {
        let channel = founding.domain.channel;
        let voted = has_journals(&self.dir.join("engine"), channel);
        let folder = charters::folder(&self.dir, channel);
        let ledger = folder.join("ledger");
        // With only one of the two, this node could vote again where it has voted before.
        if voted && !ledger.exists() {
            return Err(StartError::Incomplete(folder.display().to_string()));
        }
        let context = self.context.child("channel").with_attribute("id", channel);
        let mut place = self.wires.seat(&context, channel).await?;
        // Others may be far ahead of who has lost everything, or comes later. Whoever founds has nobody to ask.
        let comes_later =
            self.standing == Standing::Rejoins || founding.members.iter().all(|member| member.node != self.id());
        if comes_later && !voted && !RocksStore::is_in(&ledger) {
            self.join(&context, founding, others, &ledger, &mut place).await?;
        }
        let beside = folder.join("beside");
        let backing = Backing {
            standing: self.standing,
            store: RocksStore::open(&ledger, &self.memory)?,
            secrets: custody::open_secrets(&folder.join("custodian"))?,
            payloads: self.payloads.clone(),
            beside: Beside::in_folder(&beside, &founding.domain).map_err(|source| folder_error(&beside, source))?,
        };
        let cosigning = CosigningKey::from_seed(self.cosigning.seed().expose(|seed| Secret32::new(*seed)));
        let posts = Posts { gossip: place.gossip, requests: place.requests };
        let keys = (copy(&self.key), cosigning);
        let node = Node::assemble(context.child("dmdl"), wall_clock(), founding, keys, backing, posts)?;
        let begun_at = node.channel().joined_at().unwrap_or(Height::new(0));
        if !voted && node.channel().tip().height > begun_at {
            return Err(StartError::Incomplete(folder.display().to_string()));
        }
        let engine = process::start(&context, &self.key, founding, node.channel().clone(), place.wires).await?;
        node.drive(engine.chain().clone());
        Ok((node, engine))
    }

    fn id(&self) -> NodeId {
        NodeId::of_key(self.key.public())
    }

    /// Takes over the ledger of a channel as one of the others has it, if it has a snapshot.
    async fn join(
        &self,
        context: &Steady,
        founding: &Founding,
        others: &[NodeId],
        ledger: &Path,
        place: &mut Place,
    ) -> Result<(), StartError> {
        let part = ledger.with_extension("part");
        let remove = || match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Io(error.to_string())),
            _ => Ok(()),
        };
        // What a crash left half made is begun again: it may be of a snapshot that nobody keeps any more.
        let empty = || remove().and_then(|()| RocksStore::open(&part, &self.memory));
        place.wires.members().begin_with(others);
        let mut runtime = context.child("join");
        match join(&mut runtime, founding, others, &mut place.requests, empty).await? {
            Some(snapshot) => snapshot.move_to(ledger)?,
            None => remove()?,
        }
        Ok(())
    }
}

/// Whether the engine has written anything of a channel; its partitions begin with the channel's id.
pub(super) fn has_journals(engine: &Path, channel: ChannelId) -> bool {
    let prefix = process::partitions_of(channel);
    let of_channel = |file: io::Result<std::fs::DirEntry>| {
        file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with(&prefix))
    };
    engine.read_dir().is_ok_and(|mut files| files.any(of_channel))
}

pub(super) fn folder_error(path: &Path, source: io::Error) -> StartError {
    StartError::Folder { path: path.display().to_string(), source }
}

pub(super) fn copy(key: &SigningKey) -> SigningKey {
    SigningKey::from_seed(key.seed().expose(|seed| Secret32::new(*seed)))
}
