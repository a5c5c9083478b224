//! A node's ends of the simulated network, which let out and take in what the node's manners allow.

use super::cluster::Runtime;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    Message, Recipients, Sender,
    simulated::{self, Control, SplitForwarder, SplitOrigin, SplitRouter, SplitTarget},
};
use commonware_runtime::{IoBuf, Quota, Supervisor as _};
use commonware_utils::NZU32;
use dmdl_audit_ledger::mdca::Links;
use std::sync::{Arc, Mutex};

/// The numbers of the links: what the engine talks over, then gossip and questions.
pub(crate) const VOTES: u64 = 0;
pub(crate) const BLOCKS: u64 = 3;
pub(crate) const BACKFILL: u64 = 4;
const GOSSIP: u64 = 5;
const LINKS: u64 = 7;

pub(crate) type Receiver = simulated::Receiver<PublicKey>;

/// What a node lets out and takes in; everything, unless somebody makes it a liar.
#[derive(Debug, Default)]
pub(crate) struct Manners {
    /// Links on which nothing leaves.
    pub(crate) muted: Vec<u64>,
    /// Whom each of two twins reaches and hears.
    pub(crate) twins: Option<[Vec<PublicKey>; 2]>,
    /// Who alone is told what people have sent.
    pub(crate) tells: Option<Vec<PublicKey>>,
}

/// The manners of one node; they outlive its crashes.
pub(crate) type Shared = Arc<Mutex<Manners>>;

impl Manners {
    fn reach(&self, link: u64, from: SplitOrigin, to: &Recipients<PublicKey>) -> Option<Recipients<PublicKey>> {
        if self.muted.contains(&link) {
            return None;
        }
        let reached = match (&self.twins, from) {
            (Some([first, _]), SplitOrigin::Primary) => first,
            (Some([_, second]), SplitOrigin::Secondary) => second,
            (None, _) => match &self.tells {
                Some(told) if link == GOSSIP => told,
                _ => return Some(to.clone()),
            },
        };
        let asked = |key: &PublicKey| match to {
            Recipients::All => true,
            Recipients::Some(keys) => keys.contains(key),
            Recipients::One(one) => one == key,
        };
        let keys: Vec<PublicKey> = reached.iter().filter(|key| asked(key)).cloned().collect();
        (!keys.is_empty()).then_some(Recipients::Some(keys))
    }

    fn hears(&self, from: &PublicKey) -> SplitTarget {
        let Some([first, second]) = &self.twins else { return SplitTarget::Both };
        match (first.contains(from), second.contains(from)) {
            (true, true) => SplitTarget::Both,
            (true, false) => SplitTarget::Primary,
            (false, true) => SplitTarget::Secondary,
            (false, false) => SplitTarget::None,
        }
    }
}

fn forwarder(manners: Shared, link: u64) -> impl SplitForwarder<PublicKey> {
    move |from: SplitOrigin, to: &Recipients<PublicKey>, _: &IoBuf| manners.lock().unwrap().reach(link, from, to)
}

fn router(manners: Shared) -> impl SplitRouter<PublicKey> {
    move |(from, _): &Message<PublicKey>| manners.lock().unwrap().hears(from)
}

/// One end of each link.
pub(crate) struct Ends<S> {
    pub(crate) links: Links<S, Receiver>,
    pub(crate) gossip: (S, Receiver),
    pub(crate) requests: (S, Receiver),
}

impl<S: Sender<PublicKey = PublicKey>> Ends<S> {
    /// None of no ends.
    fn of(ends: Vec<(S, Receiver)>) -> Option<Self> {
        let [votes, certificates, resolver, blocks, backfill, gossip, requests] = <[_; 7]>::try_from(ends).ok()?;
        let links = Links { votes, certificates, resolver, blocks, backfill };
        Some(Self { links, gossip, requests })
    }
}

/// The links of one node, as the real network has them; two ends of each, if it is two that are taken for one, and
/// `twins` divides what comes among them.
pub(crate) async fn wire(
    control: Control<PublicKey, Runtime>,
    manners: Shared,
    twins: Option<Runtime>,
) -> Vec<Ends<impl Sender<PublicKey = PublicKey>>> {
    let quota = Quota::per_second(NZU32!(1024));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for link in 0..LINKS {
        let (sender, receiver) = control.register(link, quota).await.unwrap();
        let (sender, of_second) = sender.split_with(forwarder(Arc::clone(&manners), link));
        match &twins {
            None => first.push((sender, receiver)),
            Some(runtime) => {
                let (receiver, to_second) =
                    receiver.split_with(runtime.child("twins_in"), router(Arc::clone(&manners)));
                first.push((sender, receiver));
                second.push((of_second, to_second));
            }
        }
    }
    [first, second].into_iter().filter_map(Ends::of).collect()
}
