//! The engine's files: what a channel's partitions are called, and how they are laid out.
//!
//! What survives a crash here: every block and certificate that was handed out for execution, and
//! every vote that this node has sent. Sizes below are fixed for the life of a folder.

mod parts;
mod unsettled;

use super::{block::EngineBlock, engine::VIEWS_KEPT};
use crate::fault::FaultSink;
use commonware_consensus::simplex::{scheme::ed25519::Scheme, types::Finalization};
use commonware_cryptography::{certificate::Verifier as _, sha256::Digest};
use commonware_runtime::{
    Clock, Metrics, Storage,
    buffer::paged::{CacheRef, page_size},
};
use commonware_storage::{
    archive::{Error, immutable, prunable},
    translator::FourCap,
};
use commonware_utils::{NZU64, NZUsize};
use dmdl_types::id::{ChannelId, Epoch};
use parts::{Archive, Guard};
use std::{
    num::{NonZeroU64, NonZeroUsize},
    sync::Arc,
};

pub(super) const REPLAY_BUFFER: NonZeroUsize = NZUsize!(1 << 20);
pub(super) const WRITE_BUFFER: NonZeroUsize = NZUsize!(1 << 18);

/// Blocks go by so many epochs at a time: each lot is two open files of an archive.
const EPOCHS_PRUNED: u64 = 8;

pub(super) type Certificates<E> = Archive<E, Finalization<Scheme, Digest>>;
pub(super) type Blocks<E> = Archive<E, Arc<EngineBlock>>;

/// The names of one channel's partitions.
#[derive(Clone, Debug)]
pub(super) struct Partitions {
    prefix: String,
}

impl Partitions {
    /// Channels share a folder, so each name begins with the whole channel id.
    pub(super) fn of(prefix: &str, channel: ChannelId) -> Self {
        Self { prefix: format!("{prefix}{channel}") }
    }

    pub(super) fn marshal(&self) -> String {
        format!("{}-marshal", self.prefix)
    }

    /// What a node goes on from in one epoch after a start: its votes, where it may vote. Who follows keeps that apart,
    /// since the engine takes no votes of its own from one that does not sign; and those that are there may not be all.
    pub(super) fn journal(&self, epoch: Epoch, may_vote: bool) -> String {
        let kind = if may_vote { VOTES } else { HEARD };
        format!("{}{kind}{epoch}", self.prefix)
    }

    fn archive(&self, what: &str, part: &str) -> String {
        format!("{}-{what}-{part}", self.prefix)
    }
}

/// Bytes of a file of blocks or certificates. Each file of an archive stays open, and a chain lasts for years.
const VALUES: u64 = 1 << 26;
/// Heights of a file that says where they are. A bit for each of them is written whenever one comes.
const PLACES: NonZeroU64 = NZU64!(1 << 15);

/// Between the channel and the epoch in the name of a partition of votes.
const VOTES: &str = "-votes-";

/// The same for what a node heard that does not vote.
const HEARD: &str = "-heard-";

/// Between the channel and a part of the archive of blocks in the name of its partition, and what the parts begin with that
/// are let go.
const BLOCKS: &str = "-blocks-";
const RECENT: &str = "recent";

/// Whether votes are in a partition.
pub(crate) fn is_of_votes(partition: &str) -> bool {
    partition.contains(VOTES)
}

/// Whose votes are in a partition, by what the names of its channel's partitions begin with, and of which epoch.
pub(crate) fn epoch_of_votes(partition: &str) -> Option<(&str, u64)> {
    let (channel, epoch) = partition.split_once(VOTES)?;
    Some((channel, epoch.parse().ok()?))
}

/// Whether a partition can be had from others again. Votes cannot; what was heard need not, since who follows begins each
/// start without it.
pub(crate) fn is_archive(partition: &str) -> bool {
    !is_of_votes(partition) && !partition.contains(HEARD)
}

/// Whether blocks are in a partition of an archive, and whether that one lets them go.
pub(crate) fn lets_blocks_go(partition: &str) -> Option<bool> {
    Some(partition.split_once(BLOCKS)?.1.starts_with(RECENT))
}

/// Whether the file of a view may have been let go, if there is one of another view: the engine lets go what is so far
/// behind a final view, whose certificate is durable by then.
pub(crate) const fn is_let_go(view: u64, newest: u64) -> bool {
    view.saturating_add(VIEWS_KEPT.get()) < newest
}

/// One cache of disk-page-sized pages, shared by all of a channel's files.
pub(super) fn page_cache() -> CacheRef {
    CacheRef::new(page_size(4096), NZUsize!(1024))
}

/// How a channel's archives are laid out.
pub(super) struct Layout {
    names: Partitions,
    cache: CacheRef,
    /// How many blocks go at a time, where any do.
    pruned: Option<NonZeroU64>,
    faults: FaultSink,
}

impl Layout {
    /// On a channel with epochs of this length, which lets blocks go or does not.
    pub(super) fn new(
        names: &Partitions,
        cache: &CacheRef,
        epoch_length: NonZeroU64,
        prunes: bool,
        faults: FaultSink,
    ) -> Self {
        let pruned = prunes.then_some(epoch_length.saturating_mul(NZU64!(EPOCHS_PRUNED)));
        Self { names: names.clone(), cache: cache.clone(), pruned, faults }
    }

    pub(super) async fn certificates<E>(&self, runtime: E) -> Result<Certificates<E>, Error>
    where
        E: Storage + Metrics + Clock,
    {
        let codec = Scheme::certificate_codec_config_unbounded();
        let recent = self.pruned.map(|pruned| recent(&self.names, "certificates", pruned, codec, &self.cache));
        let whole = config(&self.names, "certificates", VALUES, codec, &self.cache);
        Archive::open(&runtime, whole, recent, self.guard("certificates")).await
    }

    pub(super) async fn blocks<E>(&self, runtime: E) -> Result<Blocks<E>, Error>
    where
        E: Storage + Metrics + Clock,
    {
        let recent = self.pruned.map(|pruned| recent(&self.names, "blocks", pruned, (), &self.cache));
        let whole = config(&self.names, "blocks", VALUES, (), &self.cache);
        Archive::open(&runtime, whole, recent, self.guard("blocks")).await
    }

    fn guard(&self, what: &str) -> Guard {
        Guard { partitions: format!("{}-{what}", self.names.prefix), faults: self.faults.clone() }
    }
}

fn recent<C>(
    names: &Partitions,
    what: &str,
    items_per_section: NonZeroU64,
    codec: C,
    cache: &CacheRef,
) -> prunable::Config<FourCap, C> {
    prunable::Config {
        translator: FourCap,
        metadata_partition: names.archive(what, &format!("{RECENT}-metadata")),
        key_partition: names.archive(what, &format!("{RECENT}-keys")),
        key_page_cache: cache.clone(),
        value_partition: names.archive(what, &format!("{RECENT}-values")),
        compression: None,
        codec_config: codec,
        items_per_section,
        key_write_buffer: WRITE_BUFFER,
        value_write_buffer: WRITE_BUFFER,
        replay_buffer: REPLAY_BUFFER,
    }
}

fn config<C>(
    names: &Partitions,
    what: &str,
    value_target_size: u64,
    codec: C,
    cache: &CacheRef,
) -> immutable::Config<C> {
    immutable::Config {
        metadata_partition: names.archive(what, "metadata"),
        freezer_table_partition: names.archive(what, "table"),
        freezer_table_initial_size: 1 << 12,
        freezer_table_resize_frequency: 4,
        freezer_table_resize_chunk_size: 1 << 12,
        freezer_key_partition: names.archive(what, "keys"),
        freezer_key_page_cache: cache.clone(),
        freezer_value_partition: names.archive(what, "values"),
        freezer_value_target_size: value_target_size,
        freezer_value_compression: None,
        ordinal_partition: names.archive(what, "ordinal"),
        items_per_section: PLACES,
        freezer_key_write_buffer: WRITE_BUFFER,
        freezer_value_write_buffer: WRITE_BUFFER,
        ordinal_write_buffer: WRITE_BUFFER,
        replay_buffer: REPLAY_BUFFER,
        codec_config: codec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_heard_is_neither_of_its_votes_nor_of_its_archive() {
        let names = Partitions::of("dmdl", ChannelId::new([1; 32]));
        let kinds = |partition: &str| (is_of_votes(partition), is_archive(partition));
        assert_eq!(kinds(&names.journal(Epoch::new(7), true)), (true, false));
        assert_eq!(kinds(&names.journal(Epoch::new(7), false)), (false, false));
        for partition in [names.marshal(), names.archive("blocks", "values"), names.archive("certificates", "keys")] {
            assert_eq!(kinds(&partition), (false, true), "{partition}");
        }
    }

    #[test]
    fn a_view_is_let_go_when_a_newer_one_is_further_than_views_are_kept() {
        let kept = VIEWS_KEPT.get();
        assert_eq!([1, 2, 3].map(|view| is_let_go(view, kept + 2)), [true, false, false]);
        assert!(!is_let_go(u64::MAX, u64::MAX));
    }
}
