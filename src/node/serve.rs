//! Answers to other nodes: each question in a task of its own, so that a slow one holds up nobody.

use super::{
    Node, SharedNode,
    ask::Outgoing,
    message::{Answer, Ask, Message},
};
use commonware_runtime::{Clock, Spawner};
use dmdl_audit_ledger::store::Store;
use dmdl_types::id::NodeId;
use rand_core::CryptoRng;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc;

/// Questions of one node that are worked on at a time; further ones are dropped, and asked again.
const OPEN_MAX: usize = 64;
/// Answers that are remembered for one node, for questions that are asked again.
const REMEMBERED_MAX: usize = 64;

/// What is known of one node's questions.
#[derive(Debug, Default)]
struct Questions {
    open: Vec<u64>,
    // Sent again as they are: minting dealing keys twice for one question would waste them.
    answered: VecDeque<(u64, Vec<u8>)>,
}

/// What is to be done about a question.
enum Step {
    Work,
    Repeat(Vec<u8>),
    Drop,
}

impl Questions {
    fn ask(&mut self, number: u64) -> Step {
        if let Some((_, message)) = self.answered.iter().find(|(known, _)| *known == number) {
            return Step::Repeat(message.clone());
        }
        if self.open.len() >= OPEN_MAX || self.open.contains(&number) {
            return Step::Drop;
        }
        self.open.push(number);
        Step::Work
    }

    /// Remembers an answer, unless it is as good when it is made again.
    fn answer(&mut self, number: u64, message: Option<Vec<u8>>) {
        self.open.retain(|open| *open != number);
        let Some(message) = message else { return };
        if self.answered.len() >= REMEMBERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back((number, message));
    }
}

impl<E: Clock + CryptoRng + Spawner, S: Store> Node<E, S> {
    /// Answers what other nodes ask, and takes their answers.
    pub(super) async fn serve(
        self: SharedNode<E, S>,
        runtime: E,
        mut incoming: mpsc::Receiver<(NodeId, Vec<u8>)>,
        outgoing: mpsc::Sender<Outgoing>,
    ) {
        // Only members are connected, so there are as many entries as nodes.
        let questions: Arc<Mutex<BTreeMap<NodeId, Questions>>> = Arc::default();
        while let Some((from, bytes)) = incoming.recv().await {
            let (number, ask): (u64, Ask) = match Message::decode(&bytes) {
                Ok(Message::Answer(number, answer)) => {
                    self.asker.answered(from, number, *answer);
                    continue;
                }
                Ok(Message::Ask(number, ask)) => (number, *ask),
                Ok(_) => {
                    tracing::debug!(%from, "not a message for this link");
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%from, %error, "a message was not taken");
                    continue;
                }
            };
            let step = super::lock(&questions).entry(from).or_default().ask(number);
            match step {
                Step::Drop => {}
                Step::Repeat(message) => {
                    // The queue is closed only when the node shuts down.
                    let _ = outgoing.send((vec![from], message)).await;
                }
                Step::Work => {
                    let (node, questions, outgoing) = (Arc::clone(&self), Arc::clone(&questions), outgoing.clone());
                    runtime.child("answer").spawn(move |_| async move {
                        let answer: Answer = node.answer(from, ask).await;
                        // Large, and read from what does not change.
                        let is_piece = matches!(answer, Answer::Snapshot(_));
                        let message = Message::Answer(number, Box::new(answer)).encode();
                        let kept = (!is_piece).then(|| message.clone());
                        super::lock(&questions).entry(from).or_default().answer(number, kept);
                        let _ = outgoing.send((vec![from], message)).await;
                    });
                }
            }
        }
    }
}
