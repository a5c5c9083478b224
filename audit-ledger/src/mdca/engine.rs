//! Starts the engine of one ledger channel and answers questions about its chain.
//!
//! What survives a crash: every vote sent, every final block with its certificate. A node restarted
//! on the same folder goes on where it was; whatever was final but not yet executed is executed
//! first, from the archive.
//!
//! # Source
//! docs/spec/certificate.md

use super::{
    application::Application,
    archive::{self, Layout, Partitions},
    block::EngineBlock,
    delivery::Deliveries,
    keys::{engine_digest, engine_signer, ledger_digest},
    ledger::{Floor, Halt, Ledger},
    links::Links,
    members::Members,
    network::WIRE_BYTES_MAX,
    orchestrator::{Orchestrator, Parts},
    schemes::Schemes,
    timing::{Timing, TimingError},
};
use crate::fault::FaultSink;
use commonware_broadcast::buffered;
use commonware_codec::{Copying, Decode as _, Encode as _};
use commonware_consensus::{
    marshal::{
        self, Identifier, Start,
        core::{Actor, Mailbox},
        resolver::p2p as backfill,
        standard::{Deferred, Standard},
    },
    simplex::{self, scheme::ed25519::Scheme, types::Finalization},
    types::{FixedEpocher, Height as EngineHeight, ViewDelta},
};
use commonware_cryptography::{
    Digested, Digestible as _, Signer as _, certificate::Verifier as _, ed25519::PublicKey, sha256::Digest,
};
use commonware_p2p::{Blocker, Receiver, Sender, max_message_size, utils::mux::prefixed};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use commonware_utils::{NZU64, NZUsize};
use dmdl_types::{
    certificate::{COMMITTEE_MAX, vote_namespace},
    id::{BlockDigest, Epoch, Height},
    lineage::FinalHeader,
    sign::{Domain, SigningKey},
};
use rand_core::CryptoRng;
use std::num::{NonZeroU64, NonZeroUsize};

/// Messages that wait inside the engine before its overflow rules apply.
pub(super) const MAILBOX: NonZeroUsize = NZUsize!(1024);
/// Views whose votes are kept after finalization: for laggards, and to notice late contradictions.
pub(super) const VIEWS_KEPT: ViewDelta = ViewDelta::new(64);
/// Blocks that may wait for their execution in memory.
const UNACKNOWLEDGED_MAX: NonZeroUsize = NZUsize!(16);
/// Of what is not final yet, so many items are in a file.
const ITEMS_PER_SECTION: NonZeroU64 = NZU64!(256);
/// Blocks of each proposer that are kept until they are final or useless.
const BLOCKS_PER_PROPOSER: usize = 8;

/// What the engine runs on.
pub trait Runtime: Clock + CryptoRng + Spawner + Storage + Metrics {}
impl<E: Clock + CryptoRng + Spawner + Storage + Metrics> Runtime for E {}

/// What the engine of one channel needs to know.
#[derive(Debug)]
pub struct Config<L, B> {
    /// Which network and channel.
    pub domain: Domain,
    /// Blocks an epoch; at least 2, and the same on every node.
    pub epoch_length: NonZeroU64,
    /// The channel's first block, the same on every node.
    pub genesis: EngineBlock,
    /// What the names of this node's partitions begin with; empty, unless nodes share a runtime.
    pub partition_prefix: String,
    /// Waiting times.
    pub timing: Timing,
    /// What blocks mean.
    pub ledger: L,
    /// Cuts the connection to a node that breaks the protocol.
    pub blocker: B,
    /// Is told when something in the archives is damaged.
    pub faults: FaultSink,
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Waiting times do not fit together.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// An epoch needs a first and a last block.
    #[error("an epoch of {0} blocks is too short")]
    EpochTooShort(u64),
    /// The genesis block has another height or domain.
    #[error("the genesis block is not the channel's")]
    Genesis,
    /// The archives could not be opened.
    #[error("the archive cannot be opened: {0}")]
    Archive(#[from] commonware_storage::archive::Error),
    /// The ledger could not follow the archive.
    #[error(transparent)]
    Halt(#[from] Halt),
}

/// A running engine.
pub struct Engine {
    chain: Chain,
    tasks: Vec<Handle<()>>,
    orchestrator: Handle<Result<(), Halt>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Starts the engine of one channel; returns once it has executed what its archive holds. `members` are those
    /// of the channel's [`Seat`](super::Seat): from here on they are who the ledger says.
    ///
    /// `ends` are the last headers of epochs, as far as the ledger knows them: an archive that is empty begins with their
    /// certificates, since blocks that are had from others come without.
    ///
    /// # Errors
    /// [`StartError`] when the configuration contradicts itself, or the folder or the ledger cannot
    /// be used.
    ///
    /// # Panics
    /// When the folder belongs to another genesis block, or storage fails under way: a node that may
    /// have forgotten a vote must not go on.
    pub async fn start<E, L, B, S, R>(
        runtime: E,
        key: &SigningKey,
        config: Config<L, B>,
        links: Links<S, R>,
        members: Members,
        ends: impl FnOnce() -> Vec<FinalHeader>,
    ) -> Result<Self, StartError>
    where
        E: Runtime,
        L: Ledger,
        B: Blocker<PublicKey = PublicKey> + Sync,
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        let Config { domain, epoch_length, genesis, partition_prefix, timing, mut ledger, blocker, faults } = config;
        timing.check()?;
        if epoch_length.get() < 2 {
            return Err(StartError::EpochTooShort(epoch_length.get()));
        }
        if genesis.header().height != Height::new(0) || genesis.header().domain != domain {
            return Err(StartError::Genesis);
        }
        let names = Partitions::of(&partition_prefix, domain.channel);
        let cache = archive::page_cache();
        let prunes = ledger.prunable_below().await?.is_some();
        let may_be_damaged = faults.is_heard();
        let layout = Layout::new(&names, &cache, epoch_length, prunes, faults);
        if may_be_damaged {
            layout.check_unsettled(&runtime.child("check"), ITEMS_PER_SECTION).await?;
        }
        let mut certificates = layout.certificates(runtime.child("certificates")).await?;
        let blocks = layout.blocks(runtime.child("final_blocks")).await?;
        let joined = ledger.floor().await;
        if certificates.last().is_none() && !prunes {
            certificates = begin_with(certificates, ends(), joined.as_ref()).await?;
        }

        if let Some(end) = unproved_end(ledger.executed().await, epoch_length, &certificates, &blocks).await? {
            certificates
                .tell_missing(format_args!("the certificate of block {end}, the last of its epoch, is missing"));
            return Err(Halt::new("the archive lacks the certificate of the last block of an epoch").into());
        }
        let executed = replay(&mut ledger, epoch_length, &certificates, &blocks).await?;
        let epoch = Epoch::new(executed.next().get() / epoch_length.get());
        let floor = match (epoch.get() * epoch_length.get()).checked_sub(1) {
            None => genesis.digest(),
            Some(last) => {
                let known = match epoch.get().checked_sub(1) {
                    Some(before) => ledger.last_of(Epoch::new(before)).await,
                    None => None,
                };
                last_block(&blocks, last, joined.as_ref(), known).await?
            }
        };

        let signer = engine_signer(key);
        let me = signer.public_key();
        let schemes = Schemes::new(vote_namespace(&domain), signer);
        // Blocks of the epoch before may still be handed out again, or asked for.
        if let Some(before) = epoch.get().checked_sub(1)
            && let Some(config) = ledger.epoch(Epoch::new(before)).await
        {
            schemes.insert(&config);
            members.track(&config, None);
        }
        // The floor that an archive begins with, and what others are asked for of one that was damaged and is filled again,
        // are of epochs that may be long over.
        let floor_epoch = joined.as_ref().map(|floor| floor.height.get() / epoch_length.get());
        let begins = joined.as_ref().map_or(0, |floor| floor.height.get());
        let lacks = if prunes { epoch.get() } else { blocks.first_missing(begins) / epoch_length.get() };
        for known in floor_epoch.into_iter().chain(lacks..epoch.get()) {
            if let Some(config) = ledger.epoch(Epoch::new(known)).await {
                schemes.insert(&config);
            }
        }
        let first = ledger.epoch(epoch).await.ok_or_else(|| Halt::new("the ledger does not know its own epoch"))?;
        schemes.insert(&first);
        members.track(&first, ledger.epoch(epoch.next()).await.as_ref());

        let epocher = FixedEpocher::new(epoch_length);
        let start = match &joined {
            Some(floor) => Start::Floor(finalization(&floor.certificate)?),
            None => {
                let digest = genesis.digest();
                Start::Genesis(Digested::precomputed(genesis, digest))
            }
        };
        let (marshal, mailbox, _) = Actor::init(
            runtime.child("marshal"),
            certificates,
            blocks,
            marshal::Config {
                provider: schemes.clone(),
                epocher: epocher.clone(),
                start,
                partition_prefix: names.marshal(),
                mailbox_size: MAILBOX,
                view_retention: VIEWS_KEPT,
                prunable_items_per_section: ITEMS_PER_SECTION,
                page_cache: cache.clone(),
                replay_buffer: archive::REPLAY_BUFFER,
                key_write_buffer: archive::WRITE_BUFFER,
                value_write_buffer: archive::WRITE_BUFFER,
                block_codec_config: (),
                max_repair: NZUsize!(16),
                max_pending_acks: UNACKNOWLEDGED_MAX,
                strategy: Sequential,
            },
        )
        .await;

        let (broadcast, buffer) = buffered::Engine::new(
            runtime.child("broadcast"),
            buffered::Config {
                public_key: me.clone(),
                mailbox_size: MAILBOX,
                deque_size: BLOCKS_PER_PROPOSER,
                priority: false,
                codec_config: (),
                peer_provider: members.clone(),
                strategy: Sequential,
            },
        );
        let resolver = backfill::init(
            runtime.child("backfill"),
            backfill::Config {
                public_key: me,
                peer_provider: members.clone(),
                blocker: blocker.clone(),
                mailbox_size: MAILBOX,
                fetch_timeout: timing.fetch(),
                fetch_retry_delay: timing.fetch / 20,
                priority_requests: false,
                priority_responses: false,
            },
            members.fence_engine(links.backfill),
        );
        let (deliveries, inbox) = Deliveries::new();
        let tasks =
            vec![broadcast.start(members.fence_engine(links.blocks)), marshal.start(deliveries, buffer, resolver)];

        let application = Application::new(ledger.clone());
        let automaton = Deferred::new(runtime.child("application"), application, mailbox.clone(), epocher.clone());
        let orchestrator = Orchestrator::new(
            runtime.child("orchestrator"),
            Parts { domain, timing, ledger, blocker, schemes, members: members.clone(), epocher, automaton },
            mailbox.clone(),
            (names, cache),
            executed,
        );
        let orchestrator = orchestrator.start(
            (epoch, floor),
            inbox,
            members.fence_engine(links.votes),
            members.fence_engine(links.certificates),
            members.fence_engine(links.resolver),
        );
        Ok(Self { chain: Chain { mailbox }, tasks, orchestrator })
    }

    /// Reads the chain.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Waits until the engine stops by itself, which it does only when it cannot go on.
    pub async fn stopped(&mut self) -> Halt {
        match (&mut self.orchestrator).await {
            Ok(Err(halt)) => halt,
            Ok(Ok(())) => Halt::new("the runtime is shutting down"),
            Err(error) => Halt::new(format!("the engine ended: {error}")),
        }
    }

    /// Stops the engine as a crash would, and returns once its files are released.
    pub async fn abort(self) {
        self.orchestrator.abort();
        let _ = self.orchestrator.await;
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

/// The final chain as this node has it; clones read the same archive.
#[derive(Clone)]
pub struct Chain {
    mailbox: Mailbox<Scheme, Standard<EngineBlock>>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

impl Chain {
    /// The final block at a height.
    pub async fn block(&self, height: Height) -> Option<EngineBlock> {
        Some(self.mailbox.get_block(EngineHeight::new(height.get())).await?.inner().clone())
    }

    /// The block with a digest, final or about to be.
    pub async fn block_by_digest(&self, digest: BlockDigest) -> Option<EngineBlock> {
        Some(self.mailbox.get_block(&engine_digest(digest)).await?.inner().clone())
    }

    /// The encoded finality certificate of a height, if this node has one.
    ///
    /// Finalizing a block finalizes its ancestors, so a height may have none of its own; then the
    /// next height that has one proves it, with the headers between.
    pub async fn certificate(&self, height: Height) -> Option<Vec<u8>> {
        Some(self.mailbox.get_finalization(EngineHeight::new(height.get())).await?.encode().to_vec())
    }

    /// The highest block known to be final; the blocks below may still be on their way.
    pub async fn tip(&self) -> Option<(Height, BlockDigest)> {
        let (height, digest) = self.mailbox.get_info(Identifier::Latest).await?;
        Some((Height::new(height.get()), ledger_digest(digest)))
    }
}

/// The largest message that an engine or a node sends on any link, for [`Seats`](super::Seats) on a
/// network of the largest committee.
#[must_use]
pub fn message_bytes_max() -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the largest committee has 1024 members")]
    let members = COMMITTEE_MAX as u32;
    let votes = simplex::max_payload_size::<Scheme, Digest>(members);
    let blocks = marshal::max_payload_size::<Standard<EngineBlock>, Scheme>(members, &());
    // One prefix for the ledger channel, and for votes one more for the epoch.
    max_message_size(&[prefixed(prefixed(votes)), prefixed(blocks), prefixed(WIRE_BYTES_MAX)])
}

/// Puts the certificates of headers above the floor into an archive of them.
async fn begin_with<E: Runtime>(
    mut certificates: archive::Certificates<E>,
    ends: Vec<FinalHeader>,
    joined: Option<&Floor>,
) -> Result<archive::Certificates<E>, StartError> {
    let floor = joined.map_or(Height::new(0), |floor| floor.height);
    // One that is proved by the header after it has no certificate of its own.
    for FinalHeader { header, links, certificate } in ends {
        if links.is_empty() && header.height > floor {
            let (height, digest) = (header.height.get(), engine_digest(header.digest()));
            certificates = certificates.add(height, digest, &finalization(&certificate)?).await?;
        }
    }
    Ok(certificates.settle().await?)
}

/// The last block of an epoch that is to be executed from the archive, and without the certificate by which others come to
/// believe the next epoch's configuration.
///
/// Blocks that were had again come by their digests, and without, unless the ledger had it. A ledger that is had again, too,
/// and is older than they are, needs it: it is there if the archive is filled once more, epoch by epoch, as that of a node
/// that joins.
async fn unproved_end<E: Runtime>(
    executed: Height,
    epoch_length: NonZeroU64,
    certificates: &archive::Certificates<E>,
    blocks: &archive::Blocks<E>,
) -> Result<Option<u64>, StartError> {
    let (length, last) = (epoch_length.get(), blocks.last().unwrap_or_default());
    let mut end = executed.next().get() / length * length + length - 1;
    // That of the last block may be what a power cut took.
    while end < last {
        if certificates.at(end).await?.is_none() {
            return Ok(Some(end));
        }
        end += length;
    }
    Ok(None)
}

/// Executes the final blocks that the archive has and the ledger has not.
async fn replay<E: Runtime>(
    ledger: &mut impl Ledger,
    epoch_length: NonZeroU64,
    certificates: &archive::Certificates<E>,
    blocks: &archive::Blocks<E>,
) -> Result<Height, StartError> {
    let mut executed = ledger.executed().await;
    while let Some(block) = blocks.at(executed.next().get()).await? {
        let certificate = certificates.at(executed.next().get()).await?;
        if certificate.is_none() && executed.next().next().get().is_multiple_of(epoch_length.get()) {
            // It ends an epoch, and a power cut took its certificate: whoever executes it later waits for that.
            break;
        }
        ledger.finalized(block.as_ref().clone(), certificate.map(|c| c.encode().to_vec())).await?;
        executed = executed.next();
    }
    Ok(executed)
}

/// The last block of the epoch before the one that begins or goes on, at height `last`.
async fn last_block<E: Runtime>(
    blocks: &archive::Blocks<E>,
    last: u64,
    joined: Option<&Floor>,
    known: Option<BlockDigest>,
) -> Result<Digest, StartError> {
    if let Some(block) = blocks.at(last).await? {
        return Ok(block.digest());
    }
    // An archive that was damaged is filled again from others.
    if let Some(known) = known {
        return Ok(engine_digest(known));
    }
    // Below the floor there are no blocks, and only the epoch of the floor begins there.
    let below = joined.filter(|floor| last < floor.height.get());
    let missing = || Halt::new("the archive lacks the last block of an epoch that is executed");
    Ok(engine_digest(below.ok_or_else(missing)?.epoch_parent))
}

/// A certificate of the ledger as the engine reads it.
fn finalization(certificate: &[u8]) -> Result<Finalization<Scheme, Digest>, Halt> {
    let limits = Scheme::certificate_codec_config_unbounded();
    let read = Finalization::decode_cfg(Copying(certificate), &limits);
    read.map_err(|_| Halt::new("a certificate that the ledger begins or ends an epoch with is none"))
}
