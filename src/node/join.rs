//! Joining a channel by a snapshot: who is asked, and how long.
//!
//! It happens before the node of the channel exists, so there is one question at a time, and nothing else is answered.
//! What is believed is decided in [`snapshot`]; a member that cheats or fails costs its own time and no more.

use super::{
    Node, PATIENCE,
    message::{Answer, Ask, MESSAGE_BYTES, Message, Refused},
};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    mdca::Post,
    snapshot::{self, JoinError, Joining, Progress, VerifiedSnapshot},
    store::{Store, StoreError},
};
use dmdl_types::{
    codec,
    genesis::{Founding, quorum},
    id::NodeId,
    snapshot::{Offer, Part, Question},
};
use rand_core::CryptoRng;
use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    time::Duration,
};

/// How long members may take to say whether they have a snapshot: they may have to be dialled first.
const OFFERS_PATIENCE: Duration = Duration::from_secs(10);
/// A question is sent again after this long.
const AGAIN_AFTER: Duration = Duration::from_millis(600);
/// How long one member may take to hand over a whole snapshot.
const WHOLE_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Why a member's snapshot was not taken over.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("it does not answer")]
    Silent,
    #[error("it takes too long")]
    Slow,
}

/// What came of asking for a snapshot.
#[derive(Debug)]
pub enum Joined<S> {
    /// The newest one that somebody has.
    By(VerifiedSnapshot<S>),
    /// Nobody needs one: enough others have none, and so they have all blocks.
    FromTheFirstBlock,
    /// Too few others answered, or what they gave does not verify.
    Unanswered,
}

/// Takes over the newest snapshot that another node has, into a store that `empty` makes for each try.
///
/// `others` are asked, whoever they are, since none of them is believed; the fence of `requests` must let them through.
///
/// # Errors
/// [`StoreError`] when the own store fails.
pub async fn join<E, S>(
    runtime: &mut E,
    founding: &Founding,
    others: &[NodeId],
    requests: &mut Post,
    mut empty: impl FnMut() -> Result<S, StoreError>,
) -> Result<Joined<S>, StoreError>
where
    E: Clock + CryptoRng,
    S: Store,
{
    // Random, so that nobody takes a question for one that this node asked before.
    let number = runtime.next_u64();
    let mut line = Line { runtime, requests, heard: VecDeque::new(), number };
    // As many as there must be to have an honest one among them, if this node is one of those that may fail.
    let needed = quorum(others.len() + 1).saturating_sub(1);
    let heard = line.offers(others, needed).await;
    let nobody_has = heard.len() >= needed && heard.values().all(Option::is_none);
    let mut offers: Vec<(NodeId, Offer)> = heard.into_iter().filter_map(|(node, offer)| Some((node, offer?))).collect();
    offers.sort_by_key(|(_, offer)| std::cmp::Reverse(offer.header.height));
    for (node, offer) in offers {
        let height = offer.header.height;
        match line.fetch(node, founding, offer, empty()?).await {
            Ok(snapshot) => {
                tracing::info!(%node, %height, "joined by a snapshot");
                return Ok(Joined::By(snapshot));
            }
            Err(FetchError::Join(JoinError::Store(error))) => return Err(error),
            Err(error) => tracing::warn!(%node, %height, %error, "a snapshot was not taken over"),
        }
    }
    Ok(if nobody_has { Joined::FromTheFirstBlock } else { Joined::Unanswered })
}

/// The link to the other members, as long as nothing else uses it.
struct Line<'a, E> {
    runtime: &'a E,
    requests: &'a mut Post,
    /// What came with what was looked at last.
    heard: VecDeque<(NodeId, Vec<u8>)>,
    number: u64,
}

impl<E: Clock> Line<'_, E> {
    /// What members offer, or that they have nothing, as soon as `needed` of them have answered.
    async fn offers(&mut self, others: &[NodeId], needed: usize) -> BTreeMap<NodeId, Option<Offer>> {
        let mut heard: BTreeMap<NodeId, Option<Offer>> = BTreeMap::new();
        let (runtime, first) = (self.runtime, self.number.wrapping_add(1));
        let mut over = pin!(runtime.sleep(OFFERS_PATIENCE));
        while heard.len() < needed {
            self.say(others, Question::Newest).await;
            let mut again = pin!(runtime.sleep(AGAIN_AFTER));
            while heard.len() < needed {
                tokio::select! {
                    biased;
                    answer = self.hear(first) => match answer {
                        Some((from, Part::Newest(offer))) if others.contains(&from) => {
                            heard.insert(from, offer.map(|offer| *offer));
                        }
                        Some(_) => {}
                        None => return heard,
                    },
                    () = &mut over => return heard,
                    () = &mut again => break,
                }
            }
        }
        heard
    }

    /// Takes over what one member offers.
    async fn fetch<S: Store>(
        &mut self,
        node: NodeId,
        founding: &Founding,
        offer: Offer,
        store: S,
    ) -> Result<VerifiedSnapshot<S>, FetchError> {
        let runtime = self.runtime;
        let mut over = pin!(runtime.sleep(WHOLE_PATIENCE));
        let mut joining = Joining::begin(founding, offer, store)?;
        loop {
            let answer = tokio::select! {
                biased;
                () = &mut over => return Err(FetchError::Slow),
                answer = self.ask(node, joining.question()) => answer.ok_or(FetchError::Silent)?,
            };
            match joining.take(answer)? {
                Progress::More(next) => joining = next,
                Progress::Done(snapshot) => return Ok(snapshot),
            }
        }
    }

    /// Asks one member; none when it does not answer in time.
    async fn ask(&mut self, node: NodeId, question: Question) -> Option<Part> {
        let (runtime, first) = (self.runtime, self.number.wrapping_add(1));
        let mut over = pin!(runtime.sleep(PATIENCE));
        loop {
            self.say(&[node], question.clone()).await;
            let mut again = pin!(runtime.sleep(AGAIN_AFTER));
            loop {
                tokio::select! {
                    biased;
                    answer = self.hear(first) => match answer {
                        Some((from, part)) if from == node => return Some(part),
                        Some(_) => {}
                        None => return None,
                    },
                    () = &mut over => return None,
                    () = &mut again => break,
                }
            }
        }
    }

    /// Sends a question under the next number.
    async fn say(&mut self, nodes: &[NodeId], question: Question) {
        self.number = self.number.wrapping_add(1);
        let message = Message::Ask(self.number, Box::new(Ask::Snapshot(question))).encode();
        // Closed only when the node shuts down, which `hear` notices.
        let _ = self.requests.outgoing.send((nodes.to_vec(), message)).await;
    }

    /// The next answer to a question that was first sent under this number; none when the node shuts down.
    async fn hear(&mut self, first: u64) -> Option<(NodeId, Part)> {
        let sent = self.number.wrapping_sub(first);
        loop {
            let Some((from, bytes)) = self.heard.pop_front() else {
                let (from, packet) = self.requests.incoming.recv().await?;
                self.heard.extend(packet.into_iter().map(|bytes| (from, bytes)));
                continue;
            };
            match Message::decode(&bytes) {
                Ok(Message::Answer(of, answer)) if of.wrapping_sub(first) <= sent => match *answer {
                    Answer::Snapshot(part) => return Some((from, *part)),
                    answer => tracing::debug!(%from, ?answer, "not a piece of a snapshot"),
                },
                // Whoever asks something asks again, when there is somebody to answer.
                Ok(_) => {}
                Err(error) => tracing::debug!(%from, %error, "a message was not taken"),
            }
        }
    }
}

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Sees to it that the newest snapshot can be read without this node.
    pub(super) async fn keep_proof(&self) {
        let Some(chain) = self.chain.get() else { return };
        if let Err(error) = snapshot::keep_proof(&self.channel, chain).await {
            tracing::warn!(%error, "the proof of a snapshot was not kept, and a backup would not have it");
        }
    }

    /// Answers a node that joins.
    pub(super) async fn give(&self, question: &Question) -> Result<Answer, Refused> {
        let starting = || Refused::new("unavailable", "this node is starting");
        let chain = self.chain.get().ok_or_else(starting)?;
        let part = snapshot::answer(&self.channel, chain, question).await;
        let part = part.map_err(|error| Refused::new("unavailable", error))?;
        // Nobody would take a longer message, and a much longer one cannot even be sent.
        if codec::encode(&part).len() > MESSAGE_BYTES - 1024 {
            return Err(Refused::new("too_long", "a row of the snapshot is too long for one message"));
        }
        Ok(Answer::Snapshot(Box::new(part)))
    }
}

#[cfg(test)]
mod tests;
