//! A node that breaks the rules: a real one of ours, with something real done to what it says.

use super::{
    cluster::Cluster,
    plan::{Draw, Episode},
    wire::{BACKFILL, BLOCKS, VOTES},
};
use commonware_p2p::simulated::Link;
use commonware_runtime::{Clock as _, Supervisor as _};
use dmdl_types::{
    checkpoint::Checkpoint,
    codec,
    governance::Governance,
    id::{Height, TransactionId},
    invocation::Invocation,
    transaction::{EndorsedTransaction, Endorsement, TransactionBody},
};
use rand_core::Rng as _;
use std::{fmt, time::Duration};

/// How often something false is said.
const AGAIN_AFTER: Duration = Duration::from_millis(2_500);
/// How long those who have cut off a node stay away from it; on a real network, a minute.
pub(crate) const FORGIVEN_AFTER: Duration = Duration::from_secs(5);

/// How a node breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It is two under one key, each of which reaches and hears some of the others.
    Twins,
    /// It votes for nothing.
    Silent,
    /// What it says comes later than anybody waits.
    Slow(Duration),
    /// Nobody gets a block from it.
    Withholds,
    /// It leaves out of its blocks what people have sent at other nodes.
    Censors,
    /// It cosigns what nobody has come to.
    Cosigns,
    /// It endorses what nobody has signed.
    Endorses,
}

impl Lie {
    pub(crate) fn draw(draw: &mut Draw<impl FnMut(u64) -> u64>) -> Self {
        let late = draw.millis(3_200..6_000);
        let lies = [
            Self::Twins,
            Self::Twins,
            Self::Twins,
            Self::Silent,
            Self::Slow(late),
            Self::Withholds,
            Self::Censors,
            Self::Cosigns,
            Self::Endorses,
        ];
        lies[draw.index(lies.len())]
    }

    /// Whether others can prove it.
    pub(crate) const fn can_be_proved(self) -> bool {
        matches!(self, Self::Twins | Self::Cosigns | Self::Endorses)
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twins => f.write_str("is two"),
            Self::Silent => f.write_str("does not vote"),
            Self::Slow(by) => write!(f, "is {by:?} late"),
            Self::Withholds => f.write_str("withholds its blocks"),
            Self::Censors => f.write_str("leaves out what others were sent"),
            Self::Cosigns => f.write_str("cosigns another log"),
            Self::Endorses => f.write_str("endorses what nobody has signed"),
        }
    }
}

/// One node lies for a while, and is honest after that.
pub(crate) async fn lie(cluster: &Cluster, position: usize, episode: &Episode<Lie>, link: &Link) {
    let Episode { after, fault, lasts } = episode;
    let (runtime, seat) = (cluster.runtime(), &cluster.seats[position]);
    runtime.sleep(*after).await;
    match fault {
        Lie::Twins => be_two(cluster, position, *lasts).await,
        Lie::Silent | Lie::Withholds => {
            let muted = if *fault == Lie::Silent { vec![VOTES] } else { vec![BLOCKS, BACKFILL] };
            seat.manners.lock().unwrap().muted = muted;
            runtime.sleep(*lasts).await;
            seat.manners.lock().unwrap().muted.clear();
        }
        // Its blocks are the same if nobody tells it what there would be to leave out.
        Lie::Censors => {
            let others = || cluster.seats.iter().filter(|other| other.id() != seat.id());
            for other in others() {
                let told = others().map(|seat| seat.peer()).filter(|peer| *peer != other.peer()).collect();
                other.manners.lock().unwrap().tells = Some(told);
            }
            runtime.sleep(*lasts).await;
            others().for_each(|other| other.manners.lock().unwrap().tells = None);
        }
        Lie::Slow(by) => {
            let outgoing: Vec<_> =
                (0..cluster.seats.len()).filter(|to| *to != position).map(|to| (position, to)).collect();
            cluster.cut(&outgoing).await;
            cluster.mend(&outgoing, &Link { latency: *by, ..link.clone() }).await;
            runtime.sleep(*lasts).await;
            cluster.cut(&outgoing).await;
            cluster.mend(&outgoing, link).await;
        }
        Lie::Cosigns | Lie::Endorses => {
            let end = runtime.current() + *lasts;
            while runtime.current() < end {
                let said = if *fault == Lie::Cosigns {
                    false_cosignature(cluster, position)
                } else {
                    careless_endorsement(cluster, position)
                };
                if let Some(said) = said {
                    cluster.say(position, said).await;
                }
                runtime.sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Two nodes under one key; whom each reaches and hears changes with time, and may be the same.
async fn be_two(cluster: &Cluster, position: usize, lasts: Duration) {
    let (runtime, seat) = (cluster.runtime(), &cluster.seats[position]);
    // Which of the two keeps a share is a matter of luck, and only one of them stays.
    seat.excused.set(true);
    let mut rng = runtime.child("liar");
    let end = runtime.current() + lasts;
    cluster.crash(position).await;
    cluster.boot_twins(position).await;
    while runtime.current() < end {
        let mut heard = [Vec::new(), Vec::new()];
        for other in cluster.seats.iter().filter(|other| other.id() != seat.id()) {
            let by = rng.next_u64() % 3;
            for (twin, heard) in [0, 1].into_iter().zip(&mut heard) {
                if by != twin {
                    heard.push(other.peer());
                }
            }
        }
        seat.manners.lock().unwrap().twins = Some(heard);
        runtime.sleep(Duration::from_millis(300 + rng.next_u64() % 2_500)).await;
    }
    cluster.crash(position).await;
    seat.manners.lock().unwrap().twins = None;
    cluster.boot(position).await;
}

/// A cosignature of the newest checkpoint with another root, as a node gossips it.
fn false_cosignature(cluster: &Cluster, position: usize) -> Option<Vec<u8>> {
    let seat = &cluster.seats[position];
    let node = seat.up.get()?;
    let mut checkpoint: Checkpoint = *node.channel().cosigned(0).unwrap()?.checkpoint();
    checkpoint.root[0] ^= 1;
    let seconds = node.channel().tip().time.get() / 1000;
    let cosignature = seat.cosigning_key().sign(&checkpoint, seat.id(), seconds);
    Some(codec::encode(&(2_u8, checkpoint, cosignature)))
}

/// An endorsement of a transaction without a signature, as a node gossips it.
fn careless_endorsement(cluster: &Cluster, position: usize) -> Option<Vec<u8>> {
    let seat = &cluster.seats[position];
    let tip = seat.up.get()?.channel().tip();
    let (domain, mut random) = (cluster.genesis.domain(), [0; 32]);
    cluster.runtime().child("liar").fill_bytes(&mut random);
    let body = TransactionBody {
        domain,
        authors: vec![seat.key().public()],
        nonce: [0; 16],
        expires: Height::new(tip.height.get() + 100),
        invocation: Invocation::Governance(Governance::Withdraw { proposal: TransactionId::new(random) }),
    };
    let transaction = body.sign(&[]);
    let endorsement = Endorsement::sign(&seat.key(), &domain, transaction.digest(), tip.height, Vec::new());
    Some(codec::encode(&(0_u8, EndorsedTransaction { transaction, endorsements: vec![endorsement] })))
}
