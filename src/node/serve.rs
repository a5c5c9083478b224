//! Answers to other nodes: the questions of each packet in a task of their own and all at once, so that a slow one holds up
//! nobody.

use super::{
    Node, SharedNode,
    ask::Outgoing,
    message::{Ask, Message},
};
use commonware_runtime::{Clock, Spawner};
use dmdl_audit_ledger::store::Store;
use dmdl_types::id::NodeId;
use futures::{StreamExt as _, stream::FuturesUnordered};
use rand_core::CryptoRng;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc;

/// Questions of one node that are worked on at a time; further ones are dropped, and asked again.
const OPEN_MAX: usize = 64;
/// The same of transactions that it wants endorsed, which are short and come in crowds.
const ENDORSING_MAX: usize = 1024;
/// Answers that are remembered for one node, for questions that are asked again.
const REMEMBERED_MAX: usize = 64;

/// What is known of one node's questions.
#[derive(Debug, Default)]
struct Questions {
    open: BTreeSet<u64>,
    endorsing: BTreeSet<u64>,
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
    fn ask(&mut self, number: u64, endorses: bool) -> Step {
        if let Some((_, message)) = self.answered.iter().find(|(known, _)| *known == number) {
            return Step::Repeat(message.clone());
        }
        if self.open.contains(&number) || self.endorsing.contains(&number) {
            return Step::Drop;
        }
        let (open, most) = if endorses { (&mut self.endorsing, ENDORSING_MAX) } else { (&mut self.open, OPEN_MAX) };
        if open.len() >= most {
            return Step::Drop;
        }
        open.insert(number);
        Step::Work
    }

    /// Remembers an answer, unless it is as good when it is made again.
    fn answer(&mut self, number: u64, message: Option<Vec<u8>>) {
        self.open.remove(&number);
        self.endorsing.remove(&number);
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
        mut incoming: mpsc::Receiver<(NodeId, Vec<Vec<u8>>)>,
        outgoing: mpsc::Sender<Outgoing>,
    ) {
        // Only members are connected, so there are as many entries as nodes.
        let questions: Arc<Mutex<BTreeMap<NodeId, Questions>>> = Arc::default();
        while let Some((from, packet)) = incoming.recv().await {
            // A number comes once in a packet, or an answer would be sent as often as it is asked for.
            let mut asked = BTreeMap::new();
            for bytes in packet {
                match Message::decode(&bytes) {
                    Ok(Message::Answer(number, answer)) => self.asker.answered(from, number, *answer),
                    Ok(Message::Ask(number, ask)) => drop(asked.insert(number, *ask)),
                    Ok(_) => tracing::debug!(%from, "not a message for this link"),
                    Err(error) => tracing::debug!(%from, %error, "a message was not taken"),
                }
            }
            let mut work = Vec::with_capacity(asked.len());
            for (number, ask) in asked {
                let endorses = matches!(ask, Ask::Endorse(..));
                let step = super::lock(&questions).entry(from).or_default().ask(number, endorses);
                match step {
                    Step::Drop => {}
                    Step::Repeat(message) => {
                        // The queue is closed only when the node shuts down.
                        let _ = outgoing.send((vec![from], message)).await;
                    }
                    Step::Work => work.push((number, ask)),
                }
            }
            if work.is_empty() {
                continue;
            }
            let (node, questions, outgoing) = (Arc::clone(&self), Arc::clone(&questions), outgoing.clone());
            runtime.child("answers").spawn(move |_| async move {
                let answers = work.into_iter().map(|(number, ask)| {
                    let (node, questions, outgoing) = (&node, &questions, &outgoing);
                    async move {
                        let answer = node.answer(from, ask).await;
                        let keep = !answer.is_as_good_again();
                        let message = Message::Answer(number, Box::new(answer)).encode();
                        let kept = keep.then(|| message.clone());
                        super::lock(questions).entry(from).or_default().answer(number, kept);
                        let _ = outgoing.send((vec![from], message)).await;
                    }
                });
                answers.collect::<FuturesUnordered<_>>().collect::<()>().await;
            });
        }
    }
}
