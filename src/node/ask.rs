//! Questions to other nodes, and who waits for the answers.

use super::message::{Answer, Ask, Message};
use commonware_runtime::Clock;
use dmdl_types::id::NodeId;
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Most questions that wait for an answer at a time.
const WAITING_MAX: usize = 4096;

/// A question is sent again after this long: the first may have met a connection that was not up.
/// Asking twice does no harm; every answer is the same, or as good.
const AGAIN_AFTER: Duration = Duration::from_millis(600);

/// A message and whom it goes to.
pub(super) type Outgoing = (Vec<NodeId>, Vec<u8>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nothing came in time.
    #[error("no answer in time")]
    TimedOut,
    /// Too many questions wait already.
    #[error("too many requests wait for other nodes")]
    Busy,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

/// Asks other nodes.
#[derive(Debug)]
pub(super) struct Asker {
    outgoing: mpsc::Sender<Outgoing>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    // An answer counts only from the node that was asked.
    open: BTreeMap<u64, (NodeId, oneshot::Sender<Answer>)>,
}

impl Asker {
    /// Asks through this queue of outgoing messages; `first` is random, so that the others do not take
    /// a question for one that this node asked before it restarted.
    #[must_use]
    pub(super) fn new(outgoing: mpsc::Sender<Outgoing>, first: u64) -> Self {
        Self { outgoing, waiting: Mutex::new(Waiting { next: first, open: BTreeMap::new() }) }
    }

    /// Asks a node and waits for its answer, no longer than `patience`.
    ///
    /// # Errors
    /// [`AskError`] when no answer came.
    pub(super) async fn ask(
        &self,
        clock: &impl Clock,
        node: NodeId,
        ask: Ask,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let (sender, receiver) = oneshot::channel();
        let number = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.open.len() >= WAITING_MAX {
                return Err(AskError::Busy);
            }
            waiting.next = waiting.next.wrapping_add(1);
            let number = waiting.next;
            waiting.open.insert(number, (node, sender));
            number
        };
        // However this ends, nobody waits for the number afterwards.
        let _forget = Forget { asker: self, number };
        let message = Message::Ask(number, Box::new(ask)).encode();
        let mut over = pin!(clock.sleep(patience));
        let mut receiver = receiver;
        loop {
            self.outgoing.send((vec![node], message.clone())).await.map_err(|_| AskError::Closed)?;
            tokio::select! {
                biased;
                answer = &mut receiver => return answer.map_err(|_| AskError::Closed),
                () = &mut over => return Err(AskError::TimedOut),
                () = clock.sleep(AGAIN_AFTER) => {}
            }
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answered(&self, from: NodeId, number: u64, answer: Answer) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.open.get(&number).is_some_and(|(node, _)| *node == from)
            && let Some((_, sender)) = waiting.open.remove(&number)
        {
            // Who stopped waiting does not need it.
            let _ = sender.send(answer);
        }
    }
}

struct Forget<'a> {
    asker: &'a Asker,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.asker.waiting.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.number);
    }
}
