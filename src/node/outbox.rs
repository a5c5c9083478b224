//! What this node has to tell the ledger, batched.
//!
//! Items wait until the node's last system transaction is in a block, so that a node has one at a
//! time. What a crash loses here is found again: the custodian's store knows which shares are not
//! acknowledged and which releases are not marked on the ledger.

use dmdl_types::{
    codec,
    id::{Height, NodeId, TransactionId},
    invocation::SystemItem,
    limits,
    sign::{Domain, SigningKey},
    transaction::{SystemBody, SystemTransaction},
};
use std::collections::VecDeque;

/// Blocks until a system transaction that was not ordered is made again.
const EXPIRES_AFTER: u64 = 64;
/// Most items that wait; beyond that the oldest are dropped and found again later.
const ITEMS_MAX: usize = 10_000;

/// Items that wait, and the transaction that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<SystemItem>,
    sent: Option<Sent>,
}

/// What a flush found.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// Items that the ledger has executed.
    pub heard: Vec<SystemItem>,
    /// What is to be ordered next.
    pub send: Option<SystemTransaction>,
}

#[derive(Debug)]
struct Sent {
    id: TransactionId,
    expires: Height,
    items: Vec<SystemItem>,
}

impl Outbox {
    /// Adds an item, unless the same one waits already.
    pub(crate) fn push(&mut self, item: SystemItem) {
        let on_its_way = self.sent.as_ref().is_some_and(|sent| sent.items.contains(&item));
        if on_its_way || self.waiting.contains(&item) {
            return;
        }
        if self.waiting.len() >= ITEMS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(item);
    }

    /// What the ledger has heard since, and what is to be sent now: called after each block and each
    /// new item.
    ///
    /// `executed` says whether a transaction has been executed.
    pub(crate) fn flush(
        &mut self,
        domain: Domain,
        signer: &SigningKey,
        tip: Height,
        nonce: [u8; 16],
        executed: impl Fn(TransactionId) -> bool,
    ) -> Flushed {
        let mut heard = Vec::new();
        if let Some(sent) = self.sent.take() {
            if executed(sent.id) {
                heard = sent.items;
            } else if tip <= sent.expires {
                self.sent = Some(sent);
                return Flushed { heard, send: None };
            } else {
                // It was never ordered: its items go first.
                for item in sent.items.into_iter().rev() {
                    self.waiting.push_front(item);
                }
            }
        }
        self.waiting.retain(|item| !heard.contains(item));
        let mut items = Vec::new();
        let mut left = limits::SYSTEM_TRANSACTION_BYTES - 1024;
        while items.len() < limits::SYSTEM_ITEMS {
            let Some(len) = self.waiting.front().map(|item| codec::encode(item).len()) else { break };
            let Some(rest) = left.checked_sub(len) else { break };
            left = rest;
            items.extend(self.waiting.pop_front());
        }
        if items.is_empty() {
            return Flushed { heard, send: None };
        }
        let expires = Height::new(tip.get().saturating_add(EXPIRES_AFTER));
        let node = NodeId::of_key(signer.public());
        let body = SystemBody { domain, node, nonce, expires, items: items.clone() };
        let system = SystemTransaction::sign(body, signer);
        self.sent = Some(Sent { id: system.id(), expires, items });
        Flushed { heard, send: Some(system) }
    }
}
