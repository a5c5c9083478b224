//! The engine's files: what a channel's partitions are called, and how they are laid out.
//!
//! What survives a crash here: every block and certificate that was handed out for execution, and
//! every vote that this node has sent. Sizes below are fixed for the life of a folder.

mod parts;

use super::block::EngineBlock;
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
use parts::Archive;
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

    /// The votes of one epoch.
    pub(super) fn journal(&self, epoch: Epoch) -> String {
        format!("{}-votes-{epoch}", self.prefix)
    }

    fn archive(&self, what: &str, part: &str) -> String {
        format!("{}-{what}-{part}", self.prefix)
    }
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
}

impl Layout {
    /// On a channel with epochs of this length, which lets blocks go or does not.
    pub(super) fn new(names: &Partitions, cache: &CacheRef, epoch_length: NonZeroU64, prunes: bool) -> Self {
        let pruned = prunes.then_some(epoch_length.saturating_mul(NZU64!(EPOCHS_PRUNED)));
        Self { names: names.clone(), cache: cache.clone(), pruned }
    }

    pub(super) async fn certificates<E>(&self, runtime: E) -> Result<Certificates<E>, Error>
    where
        E: Storage + Metrics + Clock,
    {
        let codec = Scheme::certificate_codec_config_unbounded();
        let recent = self.pruned.map(|pruned| recent(&self.names, "certificates", pruned, codec, &self.cache));
        Archive::open(&runtime, config(&self.names, "certificates", 1 << 20, codec, &self.cache), recent).await
    }

    pub(super) async fn blocks<E>(&self, runtime: E) -> Result<Blocks<E>, Error>
    where
        E: Storage + Metrics + Clock,
    {
        let recent = self.pruned.map(|pruned| recent(&self.names, "blocks", pruned, (), &self.cache));
        Archive::open(&runtime, config(&self.names, "blocks", 1 << 26, (), &self.cache), recent).await
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
        metadata_partition: names.archive(what, "recent-metadata"),
        key_partition: names.archive(what, "recent-keys"),
        key_page_cache: cache.clone(),
        value_partition: names.archive(what, "recent-values"),
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
        items_per_section: NZU64!(4096),
        freezer_key_write_buffer: WRITE_BUFFER,
        freezer_value_write_buffer: WRITE_BUFFER,
        ordinal_write_buffer: WRITE_BUFFER,
        replay_buffer: REPLAY_BUFFER,
        codec_config: codec,
    }
}
