//! The audit log that all nodes share, and the rules that it keeps.

use dmdl_audit_ledger::{
    store::MemoryStore,
    world::{self, GrantRow, RecordRow},
};
use dmdl_types::{
    event::{Action, Event, Verdict},
    id::{GrantId, TransactionId},
    sign::PublicKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// The audit log that all nodes share, and what it says so far.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) released: BTreeSet<(PublicKey, TransactionId)>,
    /// Whether there is a node of which faults may be proved.
    has_liar: bool,
    once: BTreeSet<(TransactionId, u32)>,
    allowed: BTreeSet<TransactionId>,
    pub(crate) uses: BTreeMap<GrantId, BTreeSet<u32>>,
    revoked: BTreeSet<GrantId>,
}

impl Log {
    /// An empty log of a run in which there is a node of which faults may be proved, or none.
    pub(crate) fn new(has_liar: bool) -> Self {
        Self { has_liar, ..Self::default() }
    }

    /// Takes an event that a node has: one that another node had before, or the next one.
    pub(crate) fn take(&mut self, at: u64, event: Event, store: &MemoryStore) {
        let at = usize::try_from(at).unwrap();
        if let Some(known) = self.events.get(at) {
            assert_eq!(*known, event, "two logs differ at {at}");
            return;
        }
        assert_eq!(self.events.len(), at);
        if let Some(before) = self.events.last() {
            let later = (event.height, event.time) > (before.height, before.time);
            let together = (event.height, event.time) == (before.height, before.time);
            assert!(together || (later && event.time > before.time), "event {at} is out of time");
        }
        assert!(self.once.insert((event.transaction, event.item)), "transaction {} has two events", event.transaction);
        self.rules(&event, store);
        self.events.push(event);
    }

    fn rules(&mut self, event: &Event, store: &MemoryStore) {
        let outcome = &event.outcome;
        match (event.action, outcome.verdict) {
            (Action::Decrypt, Verdict::Allow) => {
                self.allowed.insert(event.transaction);
                self.decryption(event, store);
            }
            (Action::RevokeGrant, Verdict::Applied) => {
                self.revoked.extend(outcome.grant);
            }
            // Whom it names, the rows of its epoch say.
            (Action::Evidence, _) if self.has_liar => {}
            (Action::Evidence, _) => panic!("a node that follows the rules is accused: {event:?}"),
            (Action::Complain | Action::ComplainPart, _) => {
                panic!("a dealer that follows the rules is accused: {event:?}")
            }
            (Action::Release, verdict) => {
                let decryption = event.refers_to.expect("a release is of a decryption");
                assert!(self.allowed.contains(&decryption), "a release of {decryption} is marked without ALLOW");
                if verdict == Verdict::Applied {
                    self.released.insert((event.actor, decryption));
                }
            }
            _ => {}
        }
    }

    fn decryption(&mut self, event: &Event, store: &MemoryStore) {
        let Some(grant) = event.outcome.grant else {
            let record: RecordRow = world::read(store, &event.record.unwrap()).unwrap().unwrap();
            assert_eq!(record.owner, event.actor, "without a grant, only an owner opens");
            return;
        };
        assert!(!self.revoked.contains(&grant), "revoked grant {grant} allowed {}", event.transaction);
        let row: GrantRow = world::read(store, &grant).unwrap().unwrap();
        assert_eq!((Some(row.record), row.requester), (event.record, event.actor), "a grant is for one and for one");
        let uses = self.uses.entry(grant).or_default();
        let number = event.outcome.use_number.unwrap().get();
        assert!(uses.insert(number), "use {number} of grant {grant} was made twice");
        assert!(uses.len() <= usize::try_from(row.terms.uses).unwrap(), "grant {grant} was used too often");
        assert!((1..=row.terms.uses).contains(&number), "grant {grant} has no use {number}");
    }
}
