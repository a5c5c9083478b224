//! People: what they do at whichever node answers, and what they were told.

use super::{
    checks::Glance,
    cluster::{Cluster, Runtime},
};
use commonware_runtime::{Clock as _, Supervisor as _};
use dmdl::{
    client::{Client, Trust},
    node::{Final, SharedNode},
};
use dmdl_audit_ledger::{
    log,
    store::{MemoryStore, Reader},
    world::{self, GrantRow},
};
use dmdl_types::{
    event::{Action, Event, Verdict},
    id::{NodeId, RecordId, TransactionId},
    secret::Secret32,
    sign::SigningKey,
};
use std::{cell::RefCell, collections::BTreeMap, fmt::Display, time::Duration};

/// How long a gateway may take for one thing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long somebody goes on trying one thing: longer than everything that goes wrong in a run.
const GIVES_UP_AFTER: Duration = Duration::from_secs(600);

pub(crate) type SimClient = Client<SharedNode<Runtime, MemoryStore>, Runtime>;

/// What people were told and may hold the network to.
#[derive(Default)]
pub(crate) struct Told {
    /// Outcomes that a gateway called final.
    pub(crate) finals: RefCell<Vec<Final>>,
    /// Decryptions that a gateway called denied.
    pub(crate) denied: RefCell<Vec<TransactionId>>,
    /// Shares that a custodian handed out, as they came.
    pub(crate) shares: RefCell<BTreeMap<(NodeId, TransactionId), Vec<u8>>>,
    /// Records whose owner saw them become active.
    pub(crate) active: RefCell<Vec<RecordId>>,
}

impl Told {
    pub(crate) fn is_final(&self, done: &Final) {
        self.finals.borrow_mut().push(done.clone());
    }
}

/// Somebody with a key, who turns to another node when one does not help.
pub(crate) struct Person<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) told: &'a Told,
    pub(crate) seed: [u8; 32],
    pub(crate) home: usize,
}

impl Person<'_> {
    pub(crate) fn key(&self) -> SigningKey {
        SigningKey::from_seed(Secret32::new(self.seed))
    }

    /// Tries until something succeeds, at one node after the other; a node that crashes takes its
    /// answer with it.
    pub(crate) async fn insist<T, E: Display>(&self, what: &str, act: impl AsyncFn(&SimClient) -> Result<T, E>) -> T {
        let mut last = String::from("no node was up");
        let runtime = self.cluster.runtime();
        let deadline = runtime.current() + GIVES_UP_AFTER;
        for seat in (0..self.cluster.nodes()).cycle().skip(self.home) {
            if runtime.current() > deadline {
                break;
            }
            match self.attempt(seat, &act).await {
                Some(Ok(done)) => return done,
                Some(Err(error)) => last = error.to_string(),
                None => {}
            }
            runtime.sleep(Duration::from_millis(150)).await;
        }
        panic!("nobody could {what}: {last}; {}", self.cluster.stands().await)
    }

    /// Tries once at one node; none when it is down or crashes meanwhile.
    pub(crate) async fn attempt<T, E>(
        &self,
        seat: usize,
        act: impl AsyncFn(&SimClient) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let up = &self.cluster.seats[seat % self.cluster.nodes()].up;
        let changed = up.changed();
        let node = up.get()?;
        let rng = self.cluster.runtime().child("person");
        let client = Client::new(Trust::new(self.cluster.genesis.founding()), self.key(), node, rng, PATIENCE);
        tokio::select! {
            biased;
            () = changed => None,
            done = act(&client) => Some(done),
        }
    }

    /// Asks every custodian for its share of a decryption, and holds each to what it said before.
    ///
    /// Returns how many gave one.
    pub(crate) async fn ask_shares(&self, decryption: TransactionId) -> usize {
        let mut given = 0;
        // Who has left keeps its shares, and gives them as long as its ledger is new enough: that is its own affair.
        for seat in self.cluster.founders().filter(|seat| seat.member.get() && !seat.excused.get()) {
            let (custodian, store) = (seat.id(), seat.store());
            let ask = async |client: &SimClient| client.gateway().release(custodian, decryption).await;
            for gateway in self.home..self.home + self.cluster.nodes() {
                let (revoked, before) = (is_revoked(&store, decryption), Glance::at(seat));
                match self.attempt(gateway, ask).await {
                    Some(Ok(share)) => {
                        assert!(!revoked, "custodian {custodian} knew that the grant of {decryption} was revoked");
                        if let (Some(before), Some(after)) = (before, Glance::at(seat)) {
                            before.assert_may_release(&after, custodian, self.cluster.nodes());
                        }
                        self.note_share(custodian, &store, decryption, share);
                        given += 1;
                        break;
                    }
                    Some(Err(_)) => break,
                    None => {}
                }
            }
        }
        given
    }

    /// INVARIANT: a share that left has its ALLOW in the log of the node that let it go, and asked
    /// again it is the same share.
    /// `store` is the one that it had when it was asked: it may have lost that since.
    fn note_share(&self, custodian: NodeId, store: &MemoryStore, decryption: TransactionId, share: Vec<u8>) {
        assert!(is_allowed(store, decryption), "custodian {custodian} gave a share for {decryption} without ALLOW");
        let mut shares = self.told.shares.borrow_mut();
        let first = shares.entry((custodian, decryption)).or_insert_with(|| share.clone());
        assert!(*first == share, "custodian {custodian} gave two different answers for {decryption}");
    }
}

/// Whether a store's log says that a decryption was allowed.
pub(crate) fn is_allowed(store: &impl Reader, decryption: TransactionId) -> bool {
    let allows = |event: Event| event.action == Action::Decrypt && event.outcome.verdict == Verdict::Allow;
    event(store, decryption).is_some_and(allows)
}

/// Whether a store's state says that the grant of a decryption is revoked.
pub(crate) fn is_revoked(store: &impl Reader, decryption: TransactionId) -> bool {
    let grant = event(store, decryption).and_then(|event| event.outcome.grant);
    let row: Option<GrantRow> = grant.and_then(|grant| world::read(store, &grant).unwrap());
    row.is_some_and(|row| row.revoked)
}

fn event(store: &impl Reader, transaction: TransactionId) -> Option<Event> {
    let position = log::position(store, transaction, 0).unwrap()?;
    log::event(store, position).unwrap()
}
