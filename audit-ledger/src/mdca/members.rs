//! Keeps a channel's traffic among its members.
//!
//! The node has one network for all of its channels, and the engine addresses "all peers" of it.
//! Everything that a channel sends, receives or asks for therefore goes through here: outsiders are
//! neither sent to, nor listened to, nor asked.

use super::keys::engine_key;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    LimitedSender, Message, PeerSetSubscription, PeerSetUpdate, Provider, Receiver, Recipients, Sender, TrackedPeers,
};
use commonware_utils::{channel::mpsc, ordered::Set, sync::Mutex};
use dmdl_types::{genesis::EpochConfig, id::NodeId};
use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

/// The members of how many earlier epochs a node still has to do with: who left may need their last blocks, and who
/// lags may only know of these.
pub const EPOCHS_BEHIND: u64 = 2;

/// Whether the engines of a node neither send nor hear anything. Clones are one.
///
/// To the others the node is cut off, which they can live with; what comes back later is what comes back after a cut.
#[derive(Clone, Debug, Default)]
pub struct Silence(Arc<AtomicBool>);

impl Silence {
    /// Begins or ends it.
    pub fn set(&self, silent: bool) {
        self.0.store(silent, Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The members of a channel around the current epoch; clones share one set.
///
/// Who comes with the next epoch is among them, so that it has what it needs to take part from its first block on.
#[derive(Clone)]
pub struct Members {
    me: PublicKey,
    silence: Silence,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    current: u64,
    epochs: BTreeMap<u64, TrackedPeers<PublicKey>>,
    /// Everyone in any of the kept epochs, except this node; before there is one, who is asked to begin with.
    others: Set<PublicKey>,
    subscribers: Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&self.inner.lock().others).finish()
    }
}

impl Members {
    pub(super) fn new(me: PublicKey, silence: Silence) -> Self {
        Self { me, silence, inner: Arc::default() }
    }

    /// Lets these be asked before the engine starts, which tracks the ledger's members by itself and forgets them.
    ///
    /// For who has no ledger that says who the members are.
    pub fn begin_with(&self, nodes: &[NodeId]) {
        let keys = nodes.iter().filter_map(|node| engine_key(&node.key()));
        self.inner.lock().others = Set::from_iter_dedup(keys.filter(|key| *key != self.me));
    }

    /// Enters an epoch: adds its members and those of the one after it, and forgets those of long before.
    pub(super) fn track(&self, config: &EpochConfig, next: Option<&EpochConfig>) {
        let current = config.epoch.get();
        let mut inner = self.inner.lock();
        inner.current = current;
        inner
            .epochs
            .extend([Some(config), next].into_iter().flatten().map(|config| (config.epoch.get(), peers(config))));
        inner.epochs.retain(|epoch, _| epoch.saturating_add(EPOCHS_BEHIND) >= current);
        inner.others = Set::from_iter_dedup(
            inner.epochs.values().flat_map(|peers| peers.clone().union()).filter(|key| *key != self.me),
        );
        if let Some(update) = inner.latest() {
            inner.subscribers.retain(|subscriber| subscriber.send(update.clone()).is_ok());
        }
    }

    /// Wraps both ends of a channel of the network that is the node's own.
    pub(super) fn fence<S, R>(&self, ends: (S, R)) -> (FencedSender<S>, FencedReceiver<R>) {
        self.fence_with(&Silence::default(), ends)
    }

    /// Wraps both ends of a channel of the network that is the engine's: nothing goes through in silence.
    pub(super) fn fence_engine<S, R>(&self, ends: (S, R)) -> (FencedSender<S>, FencedReceiver<R>) {
        self.fence_with(&self.silence, ends)
    }

    fn fence_with<S, R>(&self, silence: &Silence, (sender, receiver): (S, R)) -> (FencedSender<S>, FencedReceiver<R>) {
        (
            FencedSender { inner: sender, members: self.clone(), silence: silence.clone() },
            FencedReceiver { inner: receiver, members: self.clone(), silence: silence.clone() },
        )
    }

    fn contains(&self, key: &PublicKey) -> bool {
        self.inner.lock().others.position(key).is_some()
    }

    fn restrict(&self, recipients: Recipients<PublicKey>) -> Recipients<PublicKey> {
        match recipients {
            Recipients::All => Recipients::Some(self.inner.lock().others.iter().cloned().collect()),
            Recipients::Some(keys) => Recipients::Some(keys.into_iter().filter(|key| self.contains(key)).collect()),
            Recipients::One(key) if self.contains(&key) => Recipients::One(key),
            Recipients::One(_) => Recipients::Some(Vec::new()),
        }
    }
}

fn peers(config: &EpochConfig) -> TrackedPeers<PublicKey> {
    let keys = |nodes: &mut dyn Iterator<Item = NodeId>| {
        Set::from_iter_dedup(nodes.filter_map(|node| engine_key(&node.key())))
    };
    let primary = keys(&mut config.orderers().into_iter());
    let everyone = keys(&mut config.members.iter().map(|member| member.node));
    let secondary = Set::from_iter_dedup(everyone.into_iter().filter(|key| primary.position(key).is_none()));
    TrackedPeers::new(primary, secondary)
}

impl Inner {
    fn latest(&self) -> Option<PeerSetUpdate<PublicKey>> {
        // Not those of the next epoch: who comes has nothing to be asked for yet.
        let latest = self.epochs.get(&self.current)?;
        let primary = Set::from_iter_dedup(self.epochs.values().flat_map(|peers| peers.primary.clone()));
        let secondary = Set::from_iter_dedup(
            self.epochs
                .values()
                .flat_map(|peers| peers.secondary.clone())
                .filter(|key| primary.position(key).is_none()),
        );
        Some(PeerSetUpdate { index: self.current, latest: latest.clone(), all: TrackedPeers::new(primary, secondary) })
    }
}

impl Provider for Members {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.inner.lock().epochs.get(&id).cloned()
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.inner.lock();
        if let Some(update) = inner.latest() {
            // The receiver is in hand, so this cannot fail.
            let _ = sender.send(update);
        }
        inner.subscribers.push(sender);
        receiver
    }
}

/// Sends to members only.
#[derive(Clone, Debug)]
pub(super) struct FencedSender<S> {
    inner: S,
    members: Members,
    silence: Silence,
}

impl<S: Sender<PublicKey = PublicKey>> LimitedSender for FencedSender<S> {
    type PublicKey = PublicKey;
    type Checked<'a> = S::Checked<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<Self::Checked<'_>, SystemTime> {
        let nobody = Recipients::Some(Vec::new());
        self.inner.check(if self.silence.is_on() { nobody } else { self.members.restrict(recipients) })
    }
}

/// Receives from members only.
#[derive(Debug)]
pub(super) struct FencedReceiver<R> {
    inner: R,
    members: Members,
    silence: Silence,
}

impl<R: Receiver<PublicKey = PublicKey>> Receiver for FencedReceiver<R> {
    type Error = R::Error;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Self::Error> {
        loop {
            let (from, message) = self.inner.recv().await?;
            if self.members.contains(&from) && !self.silence.is_on() {
                return Ok((from, message));
            }
        }
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_cryptography::{Signer as _, ed25519::PrivateKey};
    use dmdl_types::{
        genesis::{ChannelConfig, Member, NodeRoles},
        id::Epoch,
        mdca::MdcaConfig,
        sign::PublicKey as LedgerKey,
    };

    fn key(seed: u64) -> PublicKey {
        PrivateKey::from_seed(seed).public_key()
    }

    /// An epoch with one orderer and one follower.
    fn config(epoch: u64, orderer: u64, follower: u64) -> EpochConfig {
        let member = |seed, is_orderer| Member {
            node: NodeId::of_key(super::super::keys::ledger_key(&key(seed))),
            cosigning_key: LedgerKey::new([0; 32]),
            org: "org".parse().unwrap(),
            roles: NodeRoles { orderer: is_orderer, ..NodeRoles::default() },
        };
        let channel = ChannelConfig {
            name: "c".parse().unwrap(),
            epoch_blocks: 2,
            endorsements: 1,
            custody_threshold: 2,
            policy_engine: 1,
            mdca: MdcaConfig::default(),
        };
        let members = vec![member(orderer, true), member(follower, false)];
        EpochConfig { epoch: Epoch::new(epoch), members, channel, qualified: Vec::new() }
    }

    fn sent_to(members: &Members, recipients: Recipients<PublicKey>) -> Vec<PublicKey> {
        match members.restrict(recipients) {
            Recipients::All => panic!("all peers of the network are never addressed"),
            Recipients::Some(keys) => keys,
            Recipients::One(key) => vec![key],
        }
    }

    #[test]
    fn outsiders_are_neither_sent_to_nor_listened_to() {
        let members = Members::new(key(0), Silence::default());
        members.track(&config(0, 0, 1), None);
        assert_eq!(sent_to(&members, Recipients::All), [key(1)]);
        assert_eq!(sent_to(&members, Recipients::Some(vec![key(9), key(1)])), [key(1)]);
        assert!(sent_to(&members, Recipients::One(key(9))).is_empty());
        assert!(members.contains(&key(1)));
        assert!(!members.contains(&key(9)));
    }

    #[test]
    fn who_was_asked_before_the_engine_started_is_forgotten_with_it() {
        let members = Members::new(key(0), Silence::default());
        let node = |seed| NodeId::of_key(super::super::keys::ledger_key(&key(seed)));
        members.begin_with(&[node(0), node(1)]);
        assert_eq!(sent_to(&members, Recipients::All), [key(1)]);
        assert!(members.contains(&key(1)));
        members.track(&config(5, 0, 2), None);
        assert!(!members.contains(&key(1)));
        assert_eq!(sent_to(&members, Recipients::All), [key(2)]);
    }

    #[test]
    fn before_the_first_epoch_nobody_is_addressed() {
        assert!(sent_to(&Members::new(key(0), Silence::default()), Recipients::All).is_empty());
    }

    #[test]
    fn who_left_is_forgotten_after_the_neighbouring_epochs() {
        let members = Members::new(key(0), Silence::default());
        members.track(&config(0, 0, 1), None);
        for epoch in 1..=2 {
            members.track(&config(epoch, 0, 2), None);
            assert!(members.contains(&key(1)), "epoch {epoch}");
        }
        members.track(&config(3, 0, 2), None);
        assert!(!members.contains(&key(1)));
        assert!(members.contains(&key(2)));
    }

    #[test]
    fn who_comes_with_the_next_epoch_is_heard_already_and_asked_for_nothing() {
        let members = Members::new(key(0), Silence::default());
        members.track(&config(4, 0, 1), Some(&config(5, 0, 2)));
        assert!(members.contains(&key(1)) && members.contains(&key(2)));
        let update = members.inner.lock().latest().unwrap();
        assert_eq!(update.index, 4);
        assert!(update.latest.union().position(&key(2)).is_none());
        assert!(update.all.union().position(&key(2)).is_some());
    }
}
