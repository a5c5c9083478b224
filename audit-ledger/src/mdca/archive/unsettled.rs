//! What the engine keeps of blocks that are not final yet, read before the engine reads it.
//!
//! Where it cannot read some of that, it panics, and so it would at every start. Here it is told as damage of an archive,
//! which the next start has from others. The names and the layout are the engine's own.

use super::{super::block::EngineBlock, Layout, REPLAY_BUFFER, WRITE_BUFFER};
use commonware_codec::CodecShared;
use commonware_consensus::{
    simplex::{
        scheme::ed25519::Scheme,
        types::{Finalization, Notarization},
    },
    types::Epoch,
};
use commonware_cryptography::{certificate::Verifier as _, sha256::Digest};
use commonware_runtime::{Clock, Error as RuntimeError, Metrics, Storage};
use commonware_storage::{
    archive::{Archive as _, Error, MultiArchive as _, prunable},
    metadata::{self, Metadata},
    translator::TwoCap,
};
use std::{num::NonZeroU64, sync::Arc};

/// Where the engine says of which epochs it keeps something.
const EPOCHS_KEY: u8 = 0;

impl Layout {
    /// Reads all of it, with as many items a section as the engine has.
    pub(in super::super) async fn check_unsettled<E>(&self, runtime: &E, section: NonZeroU64) -> Result<(), Error>
    where
        E: Storage + Metrics + Clock,
    {
        let prefix = format!("{}-cache", self.names.marshal());
        let config = metadata::Config { partition: format!("{prefix}-metadata"), codec_config: ((), ()) };
        let kept = Metadata::<E, u8, (Epoch, Epoch)>::init(runtime.child("epochs"), config).await;
        let kept = self.guard("marshal").checked(kept.map_err(Error::from))?;
        let Some((first, last)) = kept.get(&EPOCHS_KEY).copied() else { return Ok(()) };
        let codec = Scheme::certificate_codec_config_unbounded();
        for epoch in first.get()..=last.get() {
            let name = |what: &str| format!("{prefix}-cache-{epoch}-{what}");
            for blocks in ["verified", "notarized", "certified"] {
                self.check::<E, Arc<EngineBlock>>(runtime, name(blocks), section, ()).await?;
            }
            self.check::<E, Notarization<Scheme, Digest>>(runtime, name("notarizations"), section, codec).await?;
            self.check::<E, Finalization<Scheme, Digest>>(runtime, name("finalizations"), section, codec).await?;
        }
        Ok(())
    }

    async fn check<E, V>(&self, runtime: &E, name: String, section: NonZeroU64, codec: V::Cfg) -> Result<(), Error>
    where
        E: Storage + Metrics + Clock,
        V: CodecShared,
    {
        let config = prunable::Config {
            translator: TwoCap,
            metadata_partition: format!("{name}-metadata"),
            key_partition: format!("{name}-key"),
            key_page_cache: self.cache.clone(),
            value_partition: format!("{name}-value"),
            compression: None,
            codec_config: codec,
            items_per_section: section,
            key_write_buffer: WRITE_BUFFER,
            value_write_buffer: WRITE_BUFFER,
            replay_buffer: REPLAY_BUFFER,
        };
        // Opened, it would be there.
        if let Err(RuntimeError::PartitionMissing(_)) = runtime.scan(&config.key_partition).await {
            return Ok(());
        }
        let read = async {
            let archive = prunable::Archive::<TwoCap, E, Digest, V>::init(runtime.child("unsettled"), config).await?;
            for (first, last) in archive.ranges().collect::<Vec<_>>() {
                for index in first..=last {
                    archive.get_all(index).await?;
                }
            }
            Ok(())
        };
        self.guard("marshal").checked(read.await)
    }
}
