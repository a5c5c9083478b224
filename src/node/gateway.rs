//! What a node does for people: endorsement, ordering, and asking the custodians.
//!
//! A gateway is trusted with nothing. It cannot change a transaction, invent an outcome or read a
//! share; it can only fail to help, and then another gateway will.

use super::{
    Node, PATIENCE,
    ask::AskError,
    endorse::EXECUTED,
    message::{Answer, Ask, Message, Refused},
};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    audit::{self, ExportError},
    channel::SubmitError,
    endorse, log,
    store::{Store, StoreError},
};
use dmdl_types::{
    bundle::Bundle,
    codec,
    custody::{DealingKey, SealedBytes},
    event::Event,
    genesis::EpochConfig,
    id::{Epoch, NodeId, OrgId, RecordId, RecordVersion, TransactionId},
    index_proof::HeadKey,
    sign::PublicKey,
    transaction::{EndorsedTransaction, Endorsement, Transaction, TransactionError},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use rand_core::CryptoRng;
use std::{collections::BTreeSet, pin::pin, time::Duration};

/// An endorser that has not answered after this long is slow: the next one is asked beside it.
const SLOW_AFTER: Duration = Duration::from_millis(250);

/// How often the others are told of what is not ordered yet: gossip can be lost, and this node need not propose.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Why a gateway could not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Endorsers refused; the first refusal is given.
    #[error("not endorsed: {0}")]
    Refused(Refused),
    /// Too few endorsers answered.
    #[error("only {got} of {needed} organisations endorsed in time; try again")]
    NotEndorsed {
        /// How many did.
        got: usize,
        /// How many must.
        needed: usize,
    },
    /// The pool did not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It was not final in time; it may still become final.
    #[error("transaction `{0}` was not final in time; it may still become final")]
    NotFinal(TransactionId),
    /// Another node did not answer.
    #[error("node `{node}`: {source}")]
    Ask {
        /// Which.
        node: NodeId,
        /// Why.
        source: AskError,
    },
    /// Another node refused.
    #[error("node `{node}` refused: {refused}")]
    NodeRefused {
        /// Which.
        node: NodeId,
        /// Why.
        refused: Refused,
    },
    /// No bundle or receipt could be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A transaction that was executed, with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Final {
    /// The transaction.
    pub transaction: TransactionId,
    /// Where its leaf stands in the audit log.
    pub position: u64,
    /// What became of it.
    pub event: Event,
}

/// What became of a transaction that waits to be ordered.
enum Ordered {
    Final(Box<Final>),
    /// Its endorsers have left the channel, or endorse no more: others must.
    Outdated,
}

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Has a transaction endorsed and ordered, and waits until it is executed here.
    ///
    /// # Errors
    /// [`GatewayError`]; after [`GatewayError::NotFinal`] the transaction may still become final, and
    /// submitting the same one again does no harm.
    pub async fn submit(&self, transaction: Transaction, patience: Duration) -> Result<Final, GatewayError> {
        let id = transaction.body.id();
        if let Some(done) = self.find(id)? {
            return Ok(done);
        }
        // Looked at here, because a message of any size cannot even be sent.
        let got = codec::encode(&transaction).len();
        if got > endorse::TRANSACTION_BYTES_MAX {
            let detail =
                format!("the transaction has {got} bytes; at most {} are allowed", endorse::TRANSACTION_BYTES_MAX);
            return Err(GatewayError::Refused(Refused::new("too_long", detail)));
        }
        loop {
            let epoch = self.channel.current_epoch();
            // Who asks two gateways may be late at one of them: what became of it counts, not who ordered it.
            let endorsed = match self.endorsed(transaction.clone()).await {
                Err(GatewayError::Refused(refused)) if refused.code == EXECUTED => {
                    return self.wait_final(id, patience).await;
                }
                endorsed => endorsed?,
            };
            match self.channel.submit(endorsed.clone()) {
                // An endorser has left meanwhile.
                Err(SubmitError::NotEndorsed) if self.channel.current_epoch() != epoch => continue,
                Err(SubmitError::Executed) => return self.wait_final(id, patience).await,
                taken => taken?,
            };
            match self.ordered(id, endorsed, epoch, patience).await? {
                Some(Ordered::Final(done)) => return Ok(*done),
                Some(Ordered::Outdated) => {}
                None => return Err(GatewayError::NotFinal(id)),
            }
        }
    }

    /// Tells the others of a transaction that was endorsed in `epoch`, until it is executed here or needs other
    /// endorsers; none when neither happens in time.
    async fn ordered(
        &self,
        id: TransactionId,
        endorsed: EndorsedTransaction,
        mut epoch: Epoch,
        patience: Duration,
    ) -> Result<Option<Ordered>, StoreError> {
        let message = Message::Transaction(Box::new(endorsed.clone()));
        let mut look = || {
            if let Some(done) = self.find(id)? {
                return Ok(Some(Ordered::Final(Box::new(done))));
            }
            let now = self.channel.current_epoch();
            if now == epoch {
                return Ok(None);
            }
            epoch = now;
            // The pools have let go of what endorsers of before have endorsed.
            let outdated = !endorse::satisfied(&*self.channel.config()?, &endorsed.endorsements);
            Ok(outdated.then_some(Ordered::Outdated))
        };
        let mut left = patience;
        loop {
            // Told once even where nobody waits: this node may order nothing itself.
            self.broadcast(&*self.channel.config()?, &message).await;
            let slice = left.min(SAY_AGAIN_AFTER);
            if let Some(ordered) = self.when(slice, &mut look).await? {
                return Ok(Some(ordered));
            }
            left -= slice;
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Waits until a transaction is executed here.
    ///
    /// # Errors
    /// [`GatewayError::NotFinal`] when that does not happen in time.
    pub async fn wait_final(&self, id: TransactionId, patience: Duration) -> Result<Final, GatewayError> {
        self.when(patience, || self.find(id)).await?.ok_or(GatewayError::NotFinal(id))
    }

    /// Verifies the authors' signatures, together with those of others that have just come.
    ///
    /// # Errors
    /// [`GatewayError::Refused`] when one of them is not valid.
    pub async fn authored(&self, transaction: Transaction) -> Result<Transaction, GatewayError> {
        let closed = |_| GatewayError::Ask { node: self.id(), source: AskError::Closed };
        let (transaction, verdict) = self.verifier.authored(transaction).await.map_err(closed)?;
        match verdict {
            Ok(_) => Ok(transaction),
            Err(error) => Err(GatewayError::Refused(Refused::new("tx_invalid", error))),
        }
    }

    fn find(&self, id: TransactionId) -> Result<Option<Final>, StoreError> {
        Ok(self.channel.event_of(id)?.map(|(position, event)| Final { transaction: id, position, event }))
    }

    /// Gathers endorsements: asks as many of the panel as are needed, and the next one for each that
    /// fails or is slow.
    async fn endorsed(&self, transaction: Transaction) -> Result<EndorsedTransaction, GatewayError> {
        let config = self.channel.config()?;
        let id = transaction.body.id();
        let needed = usize::from(config.channel.endorsements);
        let mut panel = endorse::panel(&config, id, config.epoch).into_iter();
        let mut asked = FuturesUnordered::new();
        let mut endorsements: Vec<Endorsement> = Vec::new();
        let (mut passed_over, mut refusal) = (Vec::new(), None);
        loop {
            let got = organisations(&config, &endorsements);
            if got >= needed {
                endorsements.sort_by_key(|e| e.endorser);
                let endorsed = EndorsedTransaction { transaction: transaction.clone(), endorsements };
                let (endorsed, verdict) = self.verify(endorsed).await?;
                match verdict {
                    Ok(_) => return Ok(endorsed),
                    Err(TransactionError::Endorsement(node)) => {
                        // As if it had not answered: the next one is asked.
                        endorsements = endorsed.endorsements;
                        endorsements.retain(|endorsement| endorsement.endorser != node);
                        passed_over.push(node);
                        continue;
                    }
                    Err(error) => return Err(GatewayError::Refused(Refused::new("tx_invalid", error))),
                }
            }
            while asked.len() + got < needed {
                let Some(node) = panel.next() else { break };
                asked.push(self.ask_endorser(node, transaction.clone(), passed_over.clone()));
            }
            let answer = tokio::select! {
                biased;
                answer = asked.next() => answer,
                () = self.runtime.sleep(SLOW_AFTER), if panel.len() > 0 => {
                    // One that is down must not cost the whole patience; a late answer still counts.
                    let next = panel.next();
                    asked.extend(next.map(|node| self.ask_endorser(node, transaction.clone(), passed_over.clone())));
                    continue;
                }
            };
            match answer {
                Some((_, Ok(endorsement))) => endorsements.push(endorsement),
                Some((node, Err(refused))) => {
                    passed_over.push(node);
                    refusal = refusal.or(refused);
                }
                None => {
                    return Err(match refusal {
                        Some(refused) => GatewayError::Refused(refused),
                        None => GatewayError::NotEndorsed { got, needed },
                    });
                }
            }
        }
    }

    async fn verify(
        &self,
        endorsed: EndorsedTransaction,
    ) -> Result<(EndorsedTransaction, Result<TransactionId, TransactionError>), GatewayError> {
        let closed = |_| GatewayError::Ask { node: self.id(), source: AskError::Closed };
        self.verifier.endorsed(endorsed).await.map_err(closed)
    }

    /// Asks one endorser, itself included. What comes back is not verified yet.
    async fn ask_endorser(
        &self,
        node: NodeId,
        transaction: Transaction,
        passed_over: Vec<NodeId>,
    ) -> (NodeId, Result<Endorsement, Option<Refused>>) {
        let seen = self.channel.tip().height;
        if node == self.id() {
            return (node, self.endorse(&transaction, passed_over, seen).await.map_err(Some));
        }
        let ask = Ask::Endorse(Box::new(transaction), passed_over, seen);
        let answer = self.asker.ask(&self.runtime, node, ask, PATIENCE).await;
        let result = match answer {
            Ok(Answer::Endorsed(e)) if e.endorser == node => Ok(*e),
            Ok(Answer::Refused(refused)) => Err(Some(refused)),
            _ => Err(None),
        };
        (node, result)
    }

    /// One-time dealing keys of a custodian, for one dealer to use.
    ///
    /// # Errors
    /// [`GatewayError`] when the custodian does not answer or refuses.
    ///
    /// # Security
    /// The caller verifies each key's signature: a gateway's own key would receive the share.
    pub async fn dealing_keys(
        &self,
        custodian: NodeId,
        dealer: PublicKey,
        count: u16,
    ) -> Result<Vec<DealingKey>, GatewayError> {
        match self.ask_custodian(custodian, Ask::DealingKeys(dealer, count)).await? {
            Answer::DealingKeys(keys) => Ok(keys),
            answer => Err(unexpected(custodian, answer)),
        }
    }

    /// Hands a sealed share to its custodian; nothing of it is kept here.
    ///
    /// # Errors
    /// [`GatewayError`] when the custodian does not answer or refuses.
    pub async fn deliver(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
        sealed: SealedBytes,
    ) -> Result<(), GatewayError> {
        match self.ask_custodian(custodian, Ask::Keep(record, version, sealed)).await? {
            Answer::Kept => Ok(()),
            answer => Err(unexpected(custodian, answer)),
        }
    }

    /// Asks a custodian to release its share for a decryption: a transaction id, and nothing else.
    ///
    /// # Errors
    /// [`GatewayError`] when the custodian does not answer or refuses.
    pub async fn release(&self, custodian: NodeId, decryption: TransactionId) -> Result<Vec<u8>, GatewayError> {
        match self.ask_custodian(custodian, Ask::Release(decryption)).await? {
            Answer::Released(bytes) => Ok(bytes),
            answer => Err(unexpected(custodian, answer)),
        }
    }

    pub(super) async fn ask_custodian(&self, node: NodeId, ask: Ask) -> Result<Answer, GatewayError> {
        if node == self.id() {
            return Ok(self.answer(node, ask).await);
        }
        let answer = self.asker.ask(&self.runtime, node, ask, PATIENCE).await;
        answer.map_err(|source| GatewayError::Ask { node, source })
    }

    /// A bundle of everything, or of what concerns one record, actor or subject, that covers at least
    /// the first `size` leaves.
    ///
    /// # Errors
    /// [`GatewayError::Export`] when no final checkpoint covers them in time.
    pub async fn export(&self, filter: Option<HeadKey>, size: u64, patience: Duration) -> Result<Bundle, GatewayError> {
        let mut over = pin!(self.runtime.sleep(patience));
        loop {
            let executed = self.channel.executed_next();
            let covered = self.channel.tip().anchor.is_some_and(|anchor| anchor.checkpoint.size >= size);
            if covered && let Some(chain) = self.chain.get() {
                match audit::export(&self.channel, chain, filter).await {
                    Err(ExportError::NothingFinal | ExportError::NoHistory) => {}
                    result => return Ok(result?),
                }
            }
            tokio::select! {
                biased;
                () = executed => {}
                () = &mut over => return Err(ExportError::NothingFinal.into()),
            }
        }
    }

    /// How many leaves the audit log has here.
    #[must_use]
    pub fn log_size(&self) -> u64 {
        self.channel.tip().size
    }

    /// The events from a position on, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn events(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let mut events = Vec::new();
        for position in (from..self.log_size()).take(limit) {
            events.extend(log::event(self.channel.store(), position)?.map(|event| (position, event)));
        }
        Ok(events)
    }
}

fn organisations(config: &EpochConfig, endorsements: &[Endorsement]) -> usize {
    let orgs: BTreeSet<&OrgId> =
        endorsements.iter().filter_map(|e| config.member(e.endorser)).map(|member| &member.org).collect();
    orgs.len()
}

fn unexpected(node: NodeId, answer: Answer) -> GatewayError {
    let refused = match answer {
        Answer::Refused(refused) => refused,
        _ => Refused::new("protocol", "the answer does not fit the question"),
    };
    GatewayError::NodeRefused { node, refused }
}
