//! Signatures of what comes one by one, verified many at a time.
//!
//! What comes after a silence is verified at once. What comes within the next milliseconds, more of them the longer the
//! batch was, is the next one: the busier a node, the longer its batches, and the less each signature costs.

use commonware_runtime::Clock;
use dmdl_audit_ledger::order::Checked;
use dmdl_types::{
    id::{NodeId, TransactionId},
    sign::Domain,
    transaction::{EndorsedTransaction, Transaction, TransactionError},
};
use std::{future::poll_fn, task::Poll, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// What may wait; whoever comes then waits to be let in.
const WAITING_MAX: usize = 1024;
/// Signatures of a batch, and those of its last item: more of them cost hardly less each.
const BATCH_MAX: usize = 512;
/// How long the next batch gathers, for each signature of the one before, and how long at most.
const GATHERING_EACH: Duration = Duration::from_micros(400);
const GATHERING_MAX: Duration = Duration::from_millis(15);

type Verdict = Result<TransactionId, TransactionError>;

/// What is to be verified, and who waits for the verdict.
#[derive(Debug)]
enum Work {
    Authored(Box<Transaction>, oneshot::Sender<(Transaction, Verdict)>),
    Endorsed(Box<EndorsedTransaction>, oneshot::Sender<(EndorsedTransaction, Verdict)>),
    Heard(NodeId, Box<EndorsedTransaction>),
}

/// Where an endorsed transaction comes from.
enum Origin {
    Asker(oneshot::Sender<(EndorsedTransaction, Verdict)>),
    Peer(NodeId),
}

impl Work {
    fn signatures(&self) -> usize {
        match self {
            Self::Authored(transaction, _) => transaction.signatures.len(),
            Self::Endorsed(endorsed, _) | Self::Heard(_, endorsed) => {
                endorsed.transaction.signatures.len() + endorsed.endorsements.len()
            }
        }
    }
}

/// Hands work to the one task that verifies.
#[derive(Clone, Debug)]
pub(super) struct Verifier(mpsc::Sender<Work>);

/// The other end.
#[derive(Debug)]
pub(super) struct Waiting(mpsc::Receiver<Work>);

/// The node is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Verifier {
    pub(super) fn new() -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Waiting(receiver))
    }

    /// Verifies the authors' signatures, and gives the transaction back.
    pub(super) async fn authored(&self, transaction: Transaction) -> Result<(Transaction, Verdict), Closed> {
        let (sender, verdict) = oneshot::channel();
        self.0.send(Work::Authored(Box::new(transaction), sender)).await.map_err(|_| Closed)?;
        verdict.await.map_err(|_| Closed)
    }

    /// Verifies the authors' and the endorsers' signatures, and gives the transaction back.
    pub(super) async fn endorsed(
        &self,
        endorsed: EndorsedTransaction,
    ) -> Result<(EndorsedTransaction, Verdict), Closed> {
        let (sender, verdict) = oneshot::channel();
        self.0.send(Work::Endorsed(Box::new(endorsed), sender)).await.map_err(|_| Closed)?;
        verdict.await.map_err(|_| Closed)
    }

    /// Verifies what another node has told of, and has it taken in.
    pub(super) async fn heard(&self, from: NodeId, endorsed: EndorsedTransaction) -> Result<(), Closed> {
        self.0.send(Work::Heard(from, Box::new(endorsed))).await.map_err(|_| Closed)
    }
}

impl Waiting {
    /// Verifies what waits, until nobody can hand anything over any more; `take` takes in what others told of, good or not.
    pub(super) async fn work(
        mut self,
        clock: &impl Clock,
        checked: &Checked,
        domain: &Domain,
        take: impl Fn(NodeId, EndorsedTransaction),
    ) {
        while let Some(first) = self.0.recv().await {
            // Others that are ready to run may have something, too.
            after_others().await;
            let (mut signatures, mut batch) = (first.signatures(), vec![first]);
            while signatures < BATCH_MAX
                && let Ok(next) = self.0.try_recv()
            {
                signatures += next.signatures();
                batch.push(next);
            }
            verify(batch, checked, domain, &take);
            if signatures < BATCH_MAX {
                clock.sleep(gathering(signatures)).await;
            }
        }
    }
}

fn gathering(signatures: usize) -> Duration {
    GATHERING_EACH.saturating_mul(u32::try_from(signatures).unwrap_or(u32::MAX)).min(GATHERING_MAX)
}

fn verify(batch: Vec<Work>, checked: &Checked, domain: &Domain, take: &impl Fn(NodeId, EndorsedTransaction)) {
    let (mut authored, mut endorsed) = (Vec::new(), Vec::new());
    for work in batch {
        match work {
            Work::Authored(transaction, asker) => authored.push((*transaction, asker)),
            Work::Endorsed(transaction, asker) => endorsed.push((*transaction, Origin::Asker(asker))),
            Work::Heard(from, transaction) => endorsed.push((*transaction, Origin::Peer(from))),
        }
    }
    let transactions: Vec<&Transaction> = authored.iter().map(|(transaction, _)| transaction).collect();
    let verdicts = checked.authored_all(&transactions, domain);
    for ((transaction, asker), verdict) in authored.into_iter().zip(verdicts) {
        // Who stopped waiting does not need it.
        let _ = asker.send((transaction, verdict));
    }
    let (transactions, origins): (Vec<_>, Vec<_>) = endorsed.into_iter().unzip();
    let verdicts = checked.transactions(&transactions, domain);
    for ((transaction, verdict), origin) in transactions.into_iter().zip(verdicts).zip(origins) {
        match origin {
            Origin::Asker(asker) => drop(asker.send((transaction, verdict))),
            Origin::Peer(from) => take(from, transaction),
        }
    }
}

/// Lets every other task that is ready go first.
async fn after_others() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
