//! The tasks of a node: what comes from other nodes, and what its own executor says.

use super::{
    GATHERING, Node, SharedNode, lock,
    message::{Answer, Ask, Message, Refused},
};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    channel::Notice,
    execute::Executed,
    store::{Store, StoreError},
};
use dmdl_types::{genesis::NodeRoles, id::NodeId, invocation::SystemItem};
use rand_core::CryptoRng;
use tokio::sync::mpsc;

/// Blocks between two looks at what the custodian may throw away.
const TIDY_EVERY: u64 = 64;

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Takes what other nodes gossip.
    pub(super) async fn hear(self: SharedNode<E, S>, mut incoming: mpsc::Receiver<(NodeId, Vec<Vec<u8>>)>) {
        while let Some((from, packet)) = incoming.recv().await {
            for bytes in packet {
                let taken = match Message::decode(&bytes) {
                    Ok(Message::Transaction(endorsed)) => {
                        self.verifier.heard(from, *endorsed).await.map_err(|_| "the node stops".to_owned())
                    }
                    Ok(Message::System(system)) => {
                        self.channel.submit_system(*system).map(drop).map_err(|e| e.to_string())
                    }
                    // One that comes early cannot be verified yet: it is believed of its own node alone.
                    Ok(Message::Cosignature(_, cosignature)) if cosignature.node != from => {
                        Err("a cosignature of another node".to_owned())
                    }
                    Ok(Message::Cosignature(checkpoint, cosignature)) => {
                        self.channel.cosign(*checkpoint, cosignature).map_err(|e| e.to_string())
                    }
                    Ok(Message::Ask(..) | Message::Answer(..)) => Err("not a message for this link".to_owned()),
                    Err(error) => Err(error.to_string()),
                };
                if let Err(error) = taken {
                    tracing::debug!(%from, %error, "a message was not taken");
                }
            }
        }
    }

    /// Whether a node may ask something: a member everything, and who comes with the next epoch what was before it.
    fn may_ask(&self, from: NodeId, ask: &Ask) -> Result<bool, StoreError> {
        let config = self.channel.config()?;
        if config.member(from).is_some() {
            return Ok(true);
        }
        let next = self.channel.epoch_config(config.epoch.next())?;
        let comes = next.is_some_and(|next| next.member(from).is_some());
        Ok(comes && matches!(ask, Ask::Snapshot(_) | Ask::Transaction(_)))
    }

    /// Answers one question.
    pub(super) async fn answer(&self, from: NodeId, ask: Ask) -> Answer {
        if !self.may_ask(from, &ask).unwrap_or(false) {
            return Answer::Refused(Refused::new("role", "only members may ask"));
        }
        let result = match ask {
            Ask::Endorse(transaction, passed_over, seen) => match self.verifier.authored(*transaction).await {
                // What is not valid is found again by the audit, which says why.
                Ok((transaction, _)) => {
                    self.endorse(&transaction, passed_over, seen).await.map(|e| Answer::Endorsed(Box::new(e)))
                }
                Err(_) => Err(Refused::new("unavailable", "the node stops")),
            },
            Ask::DealingKeys(dealer, count) => self.mint_dealing_keys(dealer, count).map(Answer::DealingKeys),
            Ask::Keep(record, version, sealed) => self.keep(record, version, sealed).await.map(|()| Answer::Kept),
            Ask::Release(decryption) => self.release_share(decryption).await.map(Answer::Released),
            Ask::KeepRemark(remark) => self.keep_remark(*remark).await.map(|_| Answer::Kept),
            Ask::Remark(transaction) => self.own_remark(transaction).map(Answer::Remark),
            Ask::KeepTitle(title) => self.take_title(*title).await,
            Ask::Snapshot(question) => self.give(&question).await,
            Ask::Titles(after) => Ok(Answer::Titles(self.own_titles(after))),
            Ask::PartShare(record, version, plan) => {
                self.share_of_part(from, (record, version), plan).map(Answer::PartShare)
            }
            Ask::Transaction(id) => self.own_transaction(id).await.map(|own| Answer::Transaction(own.map(Box::new))),
        };
        result.unwrap_or_else(Answer::Refused)
    }

    /// Does what an executed block asks of this node.
    pub(super) async fn notice(self: SharedNode<E, S>, mut notices: mpsc::Receiver<Notice>) {
        while let Some(notice) = notices.recv().await {
            match notice {
                Notice::Executed(executed) => self.executed(&executed).await,
                Notice::Accused(evidence) => {
                    tracing::warn!("another node is at fault; the evidence goes to the ledger");
                    lock(&self.outbox).push(SystemItem::Evidence(evidence));
                }
            }
            self.flush_outbox().await;
        }
    }

    /// Sends what has gathered for the ledger: what comes within a moment goes together.
    pub(super) async fn tell(self: SharedNode<E, S>) {
        loop {
            self.outbox_due.notified().await;
            self.runtime.sleep(GATHERING).await;
            self.flush_outbox().await;
        }
    }

    async fn executed(&self, executed: &Executed) {
        // What was said once may not have come to all, or they restarted since: it is said again with each
        // block until enough are known to agree.
        let due = match executed.checkpoint {
            Some(checkpoint) => Some(checkpoint),
            None => self.channel.uncosigned().unwrap_or_else(|error| {
                tracing::error!(%error, "the newest checkpoint cannot be read");
                None
            }),
        };
        let roles = self.roles().unwrap_or_else(|error| {
            tracing::error!(%error, "the channel's configuration cannot be read");
            NodeRoles::default()
        });
        if let Some(checkpoint) = due.as_ref().filter(|_| roles.committer) {
            let seconds = executed.tip.time.get() / 1000;
            let cosignature = self.cosigning.sign(checkpoint, self.id(), seconds);
            let message = Message::Cosignature(Box::new(*checkpoint), cosignature);
            match (self.channel.cosign(*checkpoint, cosignature), self.channel.config()) {
                (Ok(()), Ok(config)) => self.broadcast(&config, &message).await,
                (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "cannot cosign"),
            }
        }
        self.custody_events(&executed.custody);
        self.forget_titles(executed);
        self.keep_proof().await;
        if executed.tip.height.get().is_multiple_of(TIDY_EVERY) {
            self.tidy_custody();
        }
    }
}
