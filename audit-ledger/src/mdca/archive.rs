//! The engine's files: what a channel's partitions are called, and how they are laid out.
//!
//! What survives a crash here: every block and certificate that was handed out for execution, and
//! every vote that this node has sent. Sizes below are fixed for the life of a folder.

use super::block::EngineBlock;
use commonware_consensus::simplex::{scheme::ed25519::Scheme, types::Finalization};
use commonware_cryptography::{certificate::Verifier as _, sha256::Digest};
use commonware_runtime::{
    Clock, Metrics, Storage,
    buffer::paged::{CacheRef, page_size},
};
use commonware_storage::archive::{Error, immutable};
use commonware_utils::{NZU64, NZUsize};
use dmdl_types::id::{ChannelId, Epoch};
use std::{num::NonZeroUsize, sync::Arc};

pub(super) const REPLAY_BUFFER: NonZeroUsize = NZUsize!(1 << 20);
pub(super) const WRITE_BUFFER: NonZeroUsize = NZUsize!(1 << 18);

pub(super) type Certificates<E> = immutable::Archive<E, Digest, Finalization<Scheme, Digest>>;
pub(super) type Blocks<E> = immutable::Archive<E, Digest, Arc<EngineBlock>>;

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

pub(super) async fn certificates<E>(runtime: E, names: &Partitions, cache: &CacheRef) -> Result<Certificates<E>, Error>
where
    E: Storage + Metrics + Clock,
{
    let codec = Scheme::certificate_codec_config_unbounded();
    immutable::Archive::init(runtime, config(names, "certificates", 1 << 20, codec, cache)).await
}

pub(super) async fn blocks<E>(runtime: E, names: &Partitions, cache: &CacheRef) -> Result<Blocks<E>, Error>
where
    E: Storage + Metrics + Clock,
{
    immutable::Archive::init(runtime, config(names, "blocks", 1 << 26, (), cache)).await
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
