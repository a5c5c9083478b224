//! What a host starts channels on: its folder, its keys and its network.

use super::{HostedNode, aside, charters, repair::Repair, voted};
use crate::{
    keyfile::KeyFileError,
    local::wall_clock,
    node::{Backing, Beside, Joined, Node, NodeConfig, OwnDisk, Posts, StartError, custody, join, place},
};
use commonware_runtime::Supervisor as _;
use dmdl_audit_ledger::{
    channel::{Standing, epoch_reached, note_first_votes, note_votes_lost},
    mdca::Engine,
    process::{self, Place, Steady, Wires},
    store::{Copied, CopyError, MemoryBudget, RocksStore, Space, StoreError},
};
use dmdl_types::{
    checkpoint::CosigningKey,
    genesis::Founding,
    id::{ChannelId, Height, NodeId, UnixMillis},
    secret::Secret32,
    sign::SigningKey,
};
use dmdl_vault::store::PayloadStore;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How far a charter's time may be ahead of this node's clock for one that is not of the future: as much as a block's.
const AHEAD_MS: u64 = 2_000;

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
    disk: OwnDisk,
}

impl Ground {
    pub(super) fn new(
        context: Steady,
        config: &NodeConfig,
        standing: Standing,
        wires: Wires,
        disk: OwnDisk,
    ) -> Result<Self, StartError> {
        let unusable = |source| folder_error(&config.vault, source);
        let dir = config.dir.clone();
        context.disk().before_epochs(move |partition| {
            // What was copied before lacks votes from then on, and is to be known for a copy wherever it is put.
            place::renew(&dir).map_err(KeyFileError::into_io)?;
            voted::note(&dir, partition)
        });
        Ok(Self {
            context,
            key: copy(&config.key),
            cosigning: CosigningKey::from_seed(config.cosigning.seed().expose(|seed| Secret32::new(*seed))),
            dir: config.dir.clone(),
            payloads: PayloadStore::in_folder(&config.vault).map_err(unusable)?,
            memory: MemoryBudget::default(),
            standing,
            wires,
            disk,
        })
    }

    /// Since when a node that lost its folder has its votes in this one, by the ledger of a channel that it has rejoined.
    pub(super) fn votes_since(&self, first: &HostedNode) -> Result<Option<UnixMillis>, StoreError> {
        match self.standing {
            Standing::Votes => Ok(None),
            Standing::Rejoins(place) => first.channel().rejoined_at(place),
        }
    }

    /// Starts a channel in its folder, or begins it there, with what one of the `others` gives who may be ahead. On one that
    /// is begun and younger than `votes_since` a node that lost its folder has never voted, so it need not follow there.
    pub(super) async fn start(
        &mut self,
        founding: &Founding,
        others: &[NodeId],
        votes_since: Option<UnixMillis>,
    ) -> Result<(HostedNode, Engine), StartError> {
        let channel = founding.domain.channel;
        // Before anything is put aside.
        let voted = has_journals(&self.dir.join("engine"), channel);
        let folder = charters::folder(&self.dir, channel);
        let ledger = folder.join("ledger");
        let unusable = |source| folder_error(&folder, source);
        let repair = Repair::of(&self.dir, channel);
        let (replaced, store) = open_ledger(&repair, &folder, &self.memory)?;
        // With only one of the two, this node could vote again where it has voted before.
        if voted && !ledger.exists() && replaced.is_none() {
            return Err(StartError::Incomplete(folder.display().to_string()));
        }
        let context = self.context.child("channel").with_attribute("id", channel);
        let mut place = self.wires.seat(&context, channel).await?;
        // Others may be far ahead of who has lost everything, or comes later. Whoever founds has nobody to ask.
        let comes_later =
            self.standing != Standing::Votes || founding.members.iter().all(|member| member.node != self.id());
        if store.is_none() && (replaced.is_some() || (comes_later && !voted)) {
            // Whoever lets blocks go cannot begin with the first one, and neither can who has none to begin with.
            let must = replaced.is_some() && !has_all_blocks(&self.dir.join("engine"), channel);
            self.join(&context, founding, others, &ledger, &mut place, must).await?;
        }
        let is_begun = store.is_none() && replaced.is_none() && !voted;
        let store = match store {
            Some(store) => store,
            None => RocksStore::open(&ledger, &self.memory)?,
        };
        if let Standing::Rejoins(place) = self.standing
            && is_begun
            && votes_since.is_some_and(|since| is_younger(founding, since))
        {
            note_first_votes(&store, place, founding)?;
        }
        if let Some(damaged) = replaced {
            take_over(&store, &damaged, channel)?;
            repair.ledger_is_replaced().map_err(unusable)?;
        }
        store.tell_faults(self.disk.faults.clone());
        self.settle_votes(channel, &store)?;
        // Without any journal there is another word to be said, below.
        if voted && voted::lacks(&self.dir, channel, epoch_reached(&store, founding)?).map_err(unusable)? {
            tracing::error!(
                %channel,
                "votes of this node in the epoch that goes on are gone, or older ones were put in their place: it follows, and \
                 votes again once others show that it is safe",
            );
            note_votes_lost(&store)?;
        }
        let beside = folder.join("beside");
        let unusable = |source| folder_error(&beside, source);
        let backing = Backing {
            standing: self.standing,
            store,
            secrets: custody::open_secrets(&folder.join("custodian"))?,
            payloads: self.payloads.clone(),
            beside: Beside::in_folder(&beside, &founding.domain, self.disk.faults.clone()).map_err(unusable)?,
            disk: self.disk.clone(),
        };
        let cosigning = CosigningKey::from_seed(self.cosigning.seed().expose(|seed| Secret32::new(*seed)));
        let posts = Posts { gossip: place.gossip, requests: place.requests };
        let keys = (copy(&self.key), cosigning);
        let node = Node::assemble(context.child("dmdl"), wall_clock(), founding, keys, backing, posts)?;
        let begun_at = node.channel().joined_at().unwrap_or(Height::new(0));
        // Unless that is known.
        if !voted && !node.channel().follows() && node.channel().tip().height > begun_at {
            return Err(StartError::Incomplete(folder.display().to_string()));
        }
        if repair.needs_archive() {
            self.renew_archive(&repair, &node)?;
        }
        let faults = self.disk.faults.clone();
        let engine = process::start(&context, &self.key, founding, node.channel().clone(), place.wires, faults).await?;
        node.drive(engine.chain().clone());
        Ok((node, engine))
    }

    /// Puts an archive aside that is damaged, to be filled again from others.
    fn renew_archive(&self, repair: &Repair, node: &HostedNode) -> Result<(), StartError> {
        let engine = self.dir.join("engine");
        let unusable = |source| folder_error(&engine, source);
        if node.channel().prunes_blocks()? {
            // Others may not have them any more: then only a snapshot leads to where they are.
            repair.note_ledger().map_err(unusable)?;
            repair.put_archive_aside().map_err(unusable)?;
            return Err(StartError::Again);
        }
        tracing::error!("blocks are damaged: all of them are fetched again, and this node is behind until then");
        repair.put_archive_aside().map_err(unusable)
    }

    /// Looks for votes that are not there any more. Where one is missing, the node follows from now on, as if it had
    /// lost its folder: the engine would go on without it.
    fn settle_votes(&self, channel: ChannelId, store: &RocksStore) -> Result<(), StartError> {
        let engine = self.dir.join("engine");
        let unusable = |source| folder_error(&engine, source);
        let watch = self.context.disk();
        for (partition, reason) in watch.hurt_votes(&engine).map_err(unusable)? {
            if !partition.starts_with(&process::partitions_of(channel)) {
                continue;
            }
            tracing::error!(
                %channel, %partition, reason,
                "votes of this node are damaged or missing: it follows, and votes again once others show that it is safe",
            );
            // In this order: a crash in between finds them damaged once more.
            note_votes_lost(store)?;
            aside::put(&self.dir, &engine.join(&partition)).map_err(unusable)?;
            watch.forget_votes(&partition).map_err(unusable)?;
        }
        Ok(())
    }

    fn id(&self) -> NodeId {
        NodeId::of_key(self.key.public())
    }

    /// Takes over the ledger of a channel as one of the others has it, if it has a snapshot; unless it `must`, without one the
    /// ledger begins with the first block.
    async fn join(
        &self,
        context: &Steady,
        founding: &Founding,
        others: &[NodeId],
        ledger: &Path,
        place: &mut Place,
        must: bool,
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
            Joined::By(snapshot) => snapshot.move_to(ledger)?,
            Joined::Unanswered if must => return Err(StartError::NoSnapshot(ledger.display().to_string())),
            Joined::Unanswered | Joined::FromTheFirstBlock => remove()?,
        }
        Ok(())
    }
}

/// Whether a channel is founded later than a moment, and not in the future: before a channel's time, nodes may vote to skip
/// its first views.
fn is_younger(founding: &Founding, since: UnixMillis) -> bool {
    founding.time > since && founding.time <= wall_clock().now().plus_ms(AHEAD_MS)
}

/// Opens the ledger in a channel's folder, if there is one; gives before it where the ledger lies that it replaces, or that
/// has to be replaced.
fn open_ledger(
    repair: &Repair,
    folder: &Path,
    memory: &MemoryBudget,
) -> Result<(Option<PathBuf>, Option<RocksStore>), StartError> {
    let (ledger, unusable) = (folder.join("ledger"), |source| folder_error(folder, source));
    let replaced = repair.put_ledger_aside().map_err(unusable)?;
    if !RocksStore::is_in(&ledger) {
        return Ok((replaced, None));
    }
    match RocksStore::open(&ledger, memory) {
        // Also one that was to replace another: the first one stays the one to be replaced.
        Err(StoreError::Corrupt(reason)) => {
            let folder = folder.display();
            tracing::error!(%folder, reason, "the ledger is damaged: it is put aside, and had anew");
            repair.note_ledger().map_err(unusable)?;
            Ok((repair.put_ledger_aside().map_err(unusable)?, None))
        }
        opened => Ok((replaced, Some(opened?))),
    }
}

/// Takes over what only this node has from a ledger that is replaced, and notes that how far it has voted was in there.
fn take_over(store: &RocksStore, damaged: &Path, channel: ChannelId) -> Result<(), StoreError> {
    match store.copy_from(damaged, Space::Custody) {
        Ok(Copied { rows, lacks_newest }) => {
            tracing::warn!(%channel, rows, "the custodian's rows were taken over from the damaged ledger");
            if lacks_newest {
                let damaged = damaged.display();
                tracing::error!(%channel, %damaged, "this node has lost its newest shares and notes of releases: the log is damaged");
            }
        }
        // The next start tries again: there is nothing wrong with what is to be taken over.
        Err(CopyError::Here(error)) => return Err(error),
        Err(CopyError::Damaged(error)) => {
            let damaged = damaged.display();
            tracing::error!(%channel, %error, %damaged, "this node has lost its shares: they are damaged, too");
        }
    }
    note_votes_lost(store)
}

/// The names of what the engine keeps of a channel.
pub(super) fn partitions(engine: &Path, channel: ChannelId) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let prefix = process::partitions_of(channel);
    let of_channel = move |file: io::Result<fs::DirEntry>| {
        let name = file.map(|file| file.file_name().to_string_lossy().into_owned());
        Some(name).filter(|name| name.as_ref().map_or(true, |name| name.starts_with(&prefix)))
    };
    Ok(engine.read_dir()?.filter_map(of_channel))
}

/// Whether the engine has written anything of a channel.
pub(super) fn has_journals(engine: &Path, channel: ChannelId) -> bool {
    partitions(engine, channel).is_ok_and(|mut names| names.any(|name| name.is_ok()))
}

/// Whether the engine has blocks of a channel, and lets none of them go.
fn has_all_blocks(engine: &Path, channel: ChannelId) -> bool {
    let names = partitions(engine, channel).into_iter().flatten().flatten();
    let of_blocks: Vec<bool> = names.filter_map(|name| process::lets_blocks_go(&name)).collect();
    !of_blocks.is_empty() && !of_blocks.contains(&true)
}

pub(super) fn folder_error(path: &Path, source: io::Error) -> StartError {
    StartError::Folder { path: path.display().to_string(), source }
}

pub(super) fn copy(key: &SigningKey) -> SigningKey {
    SigningKey::from_seed(key.seed().expose(|seed| Secret32::new(*seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a store in a folder, and flips what it begins with.
    fn damaged(ledger: &Path) {
        drop(RocksStore::open(ledger, &MemoryBudget::default()).unwrap());
        fs::write(ledger.join("CURRENT"), "damaged").unwrap();
    }

    #[test]
    fn an_archive_has_all_blocks_if_it_has_some_and_lets_none_go() {
        let (dir, channel) = (tempfile::tempdir().unwrap(), ChannelId::new([7; 32]));
        let make = |of, part: &str| {
            fs::create_dir(dir.path().join(format!("{}-{part}", process::partitions_of(of)))).unwrap();
        };
        let has_all = || has_all_blocks(dir.path(), channel);
        make(channel, "certificates-table");
        make(ChannelId::new([8; 32]), "blocks-table");
        assert!(!has_all(), "they were put aside");
        make(channel, "blocks-table");
        assert!(has_all());
        make(channel, "blocks-recent-keys");
        assert!(!has_all());
        assert!(!has_all_blocks(&dir.path().join("missing"), channel));
    }

    #[test]
    fn a_ledger_that_was_to_replace_a_damaged_one_is_replaced_when_it_is_damaged_itself() {
        let (dir, channel) = (tempfile::tempdir().unwrap(), ChannelId::new([7; 32]));
        let (repair, folder) = (Repair::of(dir.path(), channel), charters::folder(dir.path(), channel));
        let ledger = folder.join("ledger");
        fs::create_dir_all(&folder).unwrap();
        let open = || open_ledger(&repair, &folder, &MemoryBudget::default()).unwrap();
        damaged(&ledger);
        let (first, none) = open();
        assert!(none.is_none() && first.as_ref().is_some_and(|first| first.join("CURRENT").exists()));
        for _ in 0..2 {
            // A crash comes before it is noted that this one has replaced the first.
            damaged(&ledger);
            let (replaced, none) = open();
            assert!(none.is_none());
            assert_eq!(replaced, first, "only the first has the custodian's rows");
            assert!(ledger.read_dir().unwrap().next().is_none(), "there is room for another one");
        }
        drop(RocksStore::open(&ledger, &MemoryBudget::default()).unwrap());
        let (replaced, store) = open();
        assert!(store.is_some() && replaced == first);
    }
}
