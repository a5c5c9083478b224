//! One loop that executes final blocks and moves from epoch to epoch.
//!
//! An epoch's committee and schedule are decided by blocks of earlier epochs, so the next epoch
//! begins only once the last block of the current one is executed: then its vote engine starts, and
//! the old one is dropped. A node that missed this hears votes of an epoch it does not know; it asks
//! their sender for the last block of its own epoch, executes up to it, steps on, and asks for the next one.

use super::{
    application::Application,
    archive::{self, Partitions},
    block::EngineBlock,
    delivery::Delivery,
    elector::ScheduleElector,
    engine::{MAILBOX, Runtime, VIEWS_KEPT},
    keys::{engine_digest, engine_key, ledger_key},
    ledger::{Halt, Ledger},
    members::{FencedReceiver, FencedSender, Members},
    schemes::Schemes,
    timely::Timely,
    timing::Timing,
    votes::VoteReporter,
};
use commonware_codec::Encode as _;
use commonware_consensus::{
    Reporters,
    marshal::{
        core::Mailbox,
        standard::{Deferred, Standard},
    },
    simplex::{
        self,
        config::{Floor, ForwardPolicy, SkipBudget, SkipPolicy},
        scheme::ed25519::Scheme,
    },
    types::{Epoch as EngineEpoch, Epocher as _, FixedEpocher, Height as EngineHeight},
};
use commonware_cryptography::{ed25519::PublicKey, sha256::Digest};
use commonware_macros::select;
use commonware_p2p::{
    Blocker, Message, Receiver, Sender,
    utils::mux::{Builder as _, MuxHandle, Muxer},
};
use commonware_parallel::Sequential;
use commonware_runtime::{Error as RuntimeError, Handle, buffer::paged::CacheRef};
use commonware_utils::{Acknowledgement as _, channel::mpsc, vec::NonEmptyVec};
use dmdl_types::{
    genesis::EpochConfig,
    id::{Epoch, Height, NodeId},
    sign::Domain,
};

type Automaton<E, L> = Deferred<E, Scheme, Application<L>, EngineBlock, FixedEpocher>;
type Stray = (u64, Message<PublicKey>);

/// What each epoch's vote engine is made from.
pub(super) struct Parts<E: Runtime, L: Ledger, B> {
    pub(super) domain: Domain,
    pub(super) timing: Timing,
    pub(super) ledger: L,
    pub(super) blocker: B,
    pub(super) schemes: Schemes,
    pub(super) members: Members,
    pub(super) epocher: FixedEpocher,
    pub(super) automaton: Automaton<E, L>,
}

pub(super) struct Orchestrator<E: Runtime, L: Ledger, B> {
    runtime: E,
    parts: Parts<E, L, B>,
    chain: Mailbox<Scheme, Standard<EngineBlock>>,
    names: Partitions,
    cache: CacheRef,
    /// The last height whose execution is durable.
    executed: Height,
}

/// The network channels, divided by epoch.
struct ByEpoch<S: Sender<PublicKey = PublicKey>> {
    votes: MuxHandle<FencedSender<S>>,
    certificates: MuxHandle<FencedSender<S>>,
    resolver: MuxHandle<FencedSender<S>>,
}

/// The vote engine of one epoch.
struct Running {
    epoch: Epoch,
    task: Handle<()>,
}

type Fenced<S, R> = (FencedSender<S>, FencedReceiver<R>);

impl<E, L, B> Orchestrator<E, L, B>
where
    E: Runtime,
    L: Ledger,
    B: Blocker<PublicKey = PublicKey> + Sync,
{
    pub(super) fn new(
        runtime: E,
        parts: Parts<E, L, B>,
        chain: Mailbox<Scheme, Standard<EngineBlock>>,
        (names, cache): (Partitions, CacheRef),
        executed: Height,
    ) -> Self {
        Self { runtime, parts, chain, names, cache, executed }
    }

    /// Enters `epoch`, whose parent block has the digest `floor`, and runs until something fails.
    pub(super) fn start<S, R>(
        mut self,
        (epoch, floor): (Epoch, Digest),
        inbox: mpsc::UnboundedReceiver<Delivery>,
        votes: Fenced<S, R>,
        certificates: Fenced<S, R>,
        resolver: Fenced<S, R>,
    ) -> Handle<Result<(), Halt>>
    where
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        self.runtime.child("loop").spawn(move |runtime| async move {
            let (muxer, votes, strays) = Muxer::builder(runtime.child("votes"), votes.0, votes.1).with_backup().build();
            muxer.start();
            let (muxer, certificates) = Muxer::new(runtime.child("certificates"), certificates.0, certificates.1);
            muxer.start();
            let (muxer, resolver) = Muxer::new(runtime.child("resolver"), resolver.0, resolver.1);
            muxer.start();
            self.runtime = runtime;
            self.run((epoch, floor), inbox, ByEpoch { votes, certificates, resolver }, strays).await
        })
    }

    async fn run<S: Sender<PublicKey = PublicKey>>(
        mut self,
        (epoch, floor): (Epoch, Digest),
        mut inbox: mpsc::UnboundedReceiver<Delivery>,
        mut channels: ByEpoch<S>,
        mut strays: mpsc::Receiver<Stray>,
    ) -> Result<(), Halt> {
        let mut running = self.enter(epoch, floor, &mut channels).await?;
        let mut shutdown = self.runtime.stopped();
        // Who was heard in a later epoch last.
        let mut ahead: Option<(u64, PublicKey)> = None;
        loop {
            select! {
                _ = &mut shutdown => return Ok(()),
                delivery = inbox.recv() => {
                    let (block, acknowledgement) = delivery.ok_or_else(|| Halt::new("the archive stopped"))?;
                    self.execute(&block).await?;
                    if self.ends_epoch(&block) && block.header().epoch >= running.epoch {
                        running.task.abort();
                        let _ = running.task.await;
                        let floor = engine_digest(block.block_digest());
                        running = self.enter(block.header().epoch.next(), floor, &mut channels).await?;
                        self.let_blocks_go().await?;
                        // In a network at rest it takes seconds to hear them again.
                        self.ask_for_last_block(running.epoch, ahead.as_ref()).await;
                    }
                    acknowledgement.acknowledge();
                },
                stray = strays.recv() => {
                    let (epoch, (sender, _)) = stray.ok_or_else(|| Halt::new("the network stopped"))?;
                    self.parts.ledger.heard(NodeId::of_key(ledger_key(&sender)), Epoch::new(epoch));
                    if epoch > running.epoch.get() {
                        ahead = Some((epoch, sender));
                        self.ask_for_last_block(running.epoch, ahead.as_ref()).await;
                    }
                },
                ended = &mut running.task => {
                    return Err(Halt::new(format!("the votes of epoch {} ended: {ended:?}", running.epoch)));
                },
            }
        }
    }

    /// Executes a final block unless that is done: a block may be handed out again after a start.
    async fn execute(&mut self, block: &EngineBlock) -> Result<(), Halt> {
        let height = block.header().height;
        if height <= self.executed {
            return Ok(());
        }
        if height != self.executed.next() {
            return Err(Halt::new(format!("block {height} follows block {}", self.executed)));
        }
        let certificate = self.certificate_of(block).await?;
        self.parts.ledger.finalized(block.clone(), certificate).await?;
        self.executed = height;
        Ok(())
    }

    /// The certificate of a final block, if it has one of its own. The last block of an epoch has: it is waited for, where
    /// a power cut took it and left the block, since others come to believe the next epoch's configuration by it.
    async fn certificate_of(&self, block: &EngineBlock) -> Result<Option<Vec<u8>>, Halt> {
        let height = EngineHeight::new(block.header().height.get());
        loop {
            let certificate = self.chain.get_finalization(height).await;
            if certificate.is_some() || !self.ends_epoch(block) {
                return Ok(certificate.map(|certificate| certificate.encode().to_vec()));
            }
            let config = self.config_of(block.header().epoch).await?;
            for peer in config.orderers().iter().filter_map(|node| engine_key(&node.key())) {
                self.chain.hint_finalized(height, NonEmptyVec::new(peer));
            }
            self.runtime.sleep(self.parts.timing.fetch / 20).await;
        }
    }

    /// Lets the archive forget what the ledger says nobody needs.
    async fn let_blocks_go(&self) -> Result<(), Halt> {
        if let Some(height) = self.parts.ledger.prunable_below().await? {
            self.chain.prune(EngineHeight::new(height.get()));
        }
        Ok(())
    }

    fn ends_epoch(&self, block: &EngineBlock) -> bool {
        let header = block.header();
        self.last_height(header.epoch) == Some(header.height)
    }

    fn last_height(&self, epoch: Epoch) -> Option<Height> {
        self.parts.epocher.last(EngineEpoch::new(epoch.get())).map(|height| Height::new(height.get()))
    }

    /// Whoever votes in an epoch that this node has not reached has what ends this one.
    async fn ask_for_last_block(&self, epoch: Epoch, ahead: Option<&(u64, PublicKey)>) {
        let Some((_, peer)) = ahead.filter(|(heard, _)| *heard > epoch.get()) else { return };
        let Some(last) = self.last_height(epoch) else { return };
        let last = EngineHeight::new(last.get());
        if self.chain.get_finalization(last).await.is_none() {
            self.chain.hint_finalized(last, NonEmptyVec::new(peer.clone()));
        }
    }

    async fn enter<S: Sender<PublicKey = PublicKey>>(
        &mut self,
        epoch: Epoch,
        floor: Digest,
        channels: &mut ByEpoch<S>,
    ) -> Result<Running, Halt> {
        let config = self.config_of(epoch).await?;
        self.parts.schemes.insert(&config);
        self.parts.members.track(&config, self.parts.ledger.epoch(epoch.next()).await.as_ref());
        let may_vote = self.parts.ledger.may_vote(epoch).await;
        let scheme = self.parts.schemes.participant(&config, may_vote);
        let partition = begin_journal(&self.runtime, &self.names, epoch, may_vote).await;

        let committee = config.orderers().iter().map(NodeId::key).collect();
        let votes_seen = VoteReporter::new(self.parts.ledger.clone(), self.parts.domain, committee);
        let timing = self.parts.timing;
        let votes_in_time = Timely::new(
            self.runtime.child("timely").with_attribute("epoch", epoch),
            self.parts.automaton.clone(),
            self.parts.ledger.clone(),
            self.chain.clone(),
        );
        let engine = simplex::Engine::new(
            self.runtime.child("votes").with_attribute("epoch", epoch),
            simplex::Config {
                scheme,
                elector: ScheduleElector::new(config.qualified),
                blocker: self.parts.blocker.clone(),
                automaton: votes_in_time,
                relay: self.parts.automaton.clone(),
                reporter: Reporters::from((self.parts.automaton.clone(), votes_seen)),
                track_historical_votes: true,
                strategy: Sequential,
                partition,
                mailbox_size: MAILBOX,
                epoch: EngineEpoch::new(epoch.get()),
                floor: Floor::Genesis(floor),
                replay_buffer: archive::REPLAY_BUFFER,
                write_buffer: archive::WRITE_BUFFER,
                page_cache: self.cache.clone(),
                leader_timeout: timing.leader,
                certification_timeout: timing.certification,
                timeout_retry: timing.retry,
                view_retention: VIEWS_KEPT,
                skip: SkipPolicy::Enabled { timeout: timing.inactive, budget: SkipBudget::Participants },
                fetch_timeout: timing.fetch(),
                fetch_retry_delay: timing.fetch / 20,
                forward: ForwardPolicy::SilentLeader,
            },
        );
        let closed = |_| Halt::new("the network stopped");
        let votes = channels.votes.register(epoch.get()).await.map_err(closed)?;
        let certificates = channels.certificates.register(epoch.get()).await.map_err(closed)?;
        let resolver = channels.resolver.register(epoch.get()).await.map_err(closed)?;
        let task = engine.start(votes, certificates, resolver);
        tracing::info!(%epoch, may_vote, "entered an epoch");
        self.forget_journal_before(epoch).await;
        Ok(Running { epoch, task })
    }

    async fn config_of(&self, epoch: Epoch) -> Result<EpochConfig, Halt> {
        match self.parts.ledger.epoch(epoch).await {
            Some(config) if config.epoch == epoch && !config.orderers().is_empty() => Ok(config),
            Some(_) => Err(Halt::new(format!("the configuration of epoch {epoch} is unusable"))),
            None => Err(Halt::new(format!("the ledger does not know epoch {epoch}"))),
        }
    }

    /// Nobody can be asked for votes of the epoch before the last: whoever lags that far gets blocks.
    async fn forget_journal_before(&self, epoch: Epoch) {
        let Some(old) = epoch.get().checked_sub(2) else { return };
        for may_vote in [true, false] {
            forget_journal(&self.runtime, &self.names.journal(Epoch::new(old), may_vote)).await;
        }
    }
}

/// Gives the partition from which a node goes on in an epoch. Who follows needs nothing of what it heard before a start, so
/// that goes unread: a file of it that is damaged would stop the engine at every start.
async fn begin_journal<E: Runtime>(runtime: &E, names: &Partitions, epoch: Epoch, may_vote: bool) -> String {
    let partition = names.journal(epoch, may_vote);
    if !may_vote {
        forget_journal(runtime, &partition).await;
    }
    partition
}

async fn forget_journal<E: Runtime>(runtime: &E, partition: &str) {
    match runtime.remove(partition, None).await {
        Ok(()) | Err(RuntimeError::PartitionMissing(_)) => {}
        Err(error) => tracing::warn!(%partition, %error, "an old journal was not removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_runtime::{Runner as _, Storage as _, deterministic};
    use dmdl_types::id::ChannelId;

    #[test]
    fn who_follows_begins_without_what_it_heard_before_and_who_votes_with_all_of_its_votes() {
        deterministic::Runner::default().start(|runtime| async move {
            let (names, epoch) = (Partitions::of("dmdl", ChannelId::new([1; 32])), Epoch::new(7));
            for may_vote in [false, true] {
                drop(runtime.open(&names.journal(epoch, may_vote), b"view").await.unwrap());
            }
            for _ in 0..2 {
                let heard = begin_journal(&runtime, &names, epoch, false).await;
                assert_eq!(heard, names.journal(epoch, false));
                assert!(matches!(runtime.scan(&heard).await, Err(RuntimeError::PartitionMissing(_))));
            }
            let votes = begin_journal(&runtime, &names, epoch, true).await;
            assert_eq!(votes, names.journal(epoch, true));
            assert_eq!(runtime.scan(&votes).await.unwrap(), [b"view"]);
        });
    }
}
