//! Who is let in to work, and how much at a time: what is too much is refused at once, at the door, so that what is let in
//! takes no longer than on an idle gateway.
//!
//! Requests have a quota a key and a share of the places ([`places`]). Transactions have a quota an author and places of
//! their own, as many as the network orders without delay ([`window`]).
//!
//! # Source
//! docs/adr/0015-admission.md

mod places;
mod window;

pub(crate) use places::{Full, Holder, Place, Places};

use super::{RealNode, error::ApiError, limits::Limits};
use crate::node::{Final, GatewayError};
use dmdl_audit_ledger::endorse::{Quota, QuotaExceeded};
use dmdl_types::{codec, sign::PublicKey, transaction::Transaction};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, task::JoinSet};
use window::Window;

/// Bytes of a transaction that take a place: nearly all take one.
const PLACE_BYTES: usize = 4 * 1024;
/// How long a transaction keeps its places when it does not become final: longer than anybody may wait for it.
const KEPT: Duration = Duration::from_secs(40);

/// What a gateway has room for.
#[derive(Debug)]
pub(crate) struct Admission {
    /// All quotas here count from then on: nobody sets this clock.
    begun: Instant,
    /// Signed requests of a key.
    requests: Mutex<Quota>,
    /// For requests that are neither uploads nor transactions.
    pub(super) work: Places,
    /// For parts of payloads.
    pub(super) uploads: Places,
    /// Transactions of an author.
    authors: Mutex<Quota>,
    window: Mutex<Window>,
    on_their_way: Places,
    /// Transactions go on when those who handed them in hang up.
    tasks: Mutex<JoinSet<()>>,
}

/// A transaction that is let in.
#[derive(Debug)]
pub(super) struct Ticket {
    _place: Place,
}

/// What an operator sees of the transactions here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) window: usize,
    pub(super) on_their_way: usize,
    pub(super) idle: Duration,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        let begun = Instant::now();
        let window = Window::new(limits.transactions, begun);
        Self {
            begun,
            requests: Mutex::new(Quota::new(limits.burst, limits.per_second)),
            work: Places::new(limits.in_flight),
            uploads: Places::new(limits.uploads),
            authors: Mutex::new(Quota::new(limits.author_burst, limits.author_per_second)),
            on_their_way: Places::new(window.size()),
            window: Mutex::new(window),
            tasks: Mutex::default(),
        }
    }

    /// Counts a signed request of a key.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(super) fn request(&self, key: PublicKey) -> Result<(), ApiError> {
        lock(&self.requests).take(key, self.begun.elapsed()).map_err(|exceeded| {
            ApiError::new(429, "rate_limited", "this key sends too many requests").retry_after(seconds(exceeded))
        })
    }

    /// Whether anybody's transaction would be let in now.
    ///
    /// # Errors
    /// 503 `overloaded`.
    pub(super) fn check_any(&self) -> Result<(), ApiError> {
        if self.on_their_way.is_full() { Err(refused(Full::All)) } else { Ok(()) }
    }

    /// Whether a transaction of an author would be let in now. Asked before anything is spent on one, and before its
    /// signature is verified: it takes nothing.
    ///
    /// # Errors
    /// As [`Self::transaction`].
    pub(super) fn check(&self, node: &RealNode, holder: &Holder, author: PublicKey) -> Result<(), ApiError> {
        self.on_their_way.check(holder).map_err(refused)?;
        // It would be refused by the pool in the end, after others have worked for it.
        if node.channel().is_pool_full() {
            return Err(refused(Full::All));
        }
        lock(&self.authors).check(author, self.begun.elapsed()).map_err(over_quota)
    }

    /// Lets a transaction in whose author has signed it.
    ///
    /// # Errors
    /// 429 `quota` and `busy`, 503 `overloaded`.
    pub(super) fn transaction(&self, holder: &Holder, transaction: &Transaction) -> Result<Ticket, ApiError> {
        let count = codec::encode(transaction).len().div_ceil(PLACE_BYTES);
        let place = self.on_their_way.take(holder, count).map_err(refused)?;
        if let Some(author) = transaction.body.authors.first() {
            lock(&self.authors).take(*author, self.begun.elapsed()).map_err(over_quota)?;
        }
        Ok(Ticket { _place: place })
    }

    /// Has a transaction ordered, and waits until it is final or `patience` is over. It keeps its places until it is final,
    /// whoever waits for it.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub(super) async fn order(
        self: &Arc<Self>,
        node: RealNode,
        transaction: Transaction,
        patience: Duration,
        ticket: Ticket,
    ) -> Result<Final, GatewayError> {
        let (id, began, lost) = (transaction.body.id(), Instant::now(), node.channel().turns_lost());
        let (tell, told) = oneshot::channel();
        let admission = Arc::clone(self);
        let ordering = async move {
            let ordered = node.submit(transaction, patience).await;
            let is_late = matches!(ordered, Err(GatewayError::NotFinal(_)));
            // What is refused says nothing of how long the network takes.
            let counts = is_late || matches!(ordered, Ok(_) | Err(GatewayError::NotEndorsed { .. }));
            // Whoever asked may have gone.
            let _ = tell.send(ordered);
            if is_late {
                let _ = node.wait_final(id, KEPT.saturating_sub(began.elapsed())).await;
            }
            if counts && node.channel().turns_lost() == lost {
                admission.ended(began);
            }
            drop(ticket);
        };
        {
            let mut tasks = lock(&self.tasks);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(ordering);
        }
        // Ended without an answer only when the gateway stops.
        told.await.unwrap_or(Err(GatewayError::NotFinal(id)))
    }

    fn ended(&self, began: Instant) {
        let mut window = lock(&self.window);
        window.ended(began, Instant::now(), self.on_their_way.count());
        self.on_their_way.set_most(window.size());
    }

    /// Leaves transactions to the network; nothing here holds a node any more.
    pub(super) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }

    pub(super) fn figures(&self) -> Figures {
        let window = lock(&self.window);
        Figures { window: window.size(), on_their_way: self.on_their_way.count(), idle: window.idle() }
    }
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        match full {
            Full::All => Self::new(503, "overloaded", "this gateway has all the work that it can; try again"),
            Full::Share => {
                Self::new(429, "busy", "this key, or its organisation, has its share of the work here; try again")
            }
        }
    }
}

fn refused(full: Full) -> ApiError {
    match full {
        Full::All => ApiError::new(503, "overloaded", "as many transactions are on their way as can be; try again"),
        full => full.into(),
    }
}

fn over_quota(exceeded: QuotaExceeded) -> ApiError {
    ApiError::new(429, "quota", exceeded).retry_after(seconds(exceeded))
}

fn seconds(exceeded: QuotaExceeded) -> u64 {
    exceeded.retry_after_ms.div_ceil(1000).max(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Consistent after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
