//! The rule of time, kept where a vote can still be withheld: a validator notarizes a block once the block's time has come.
//!
//! A clock never makes a block invalid: a validator whose clock is behind waits until it is not. It waits before its first
//! vote and never after: what a quorum has notarized was timely by the clocks of a quorum, and is certified by all alike.
//! If each looked at its own clock again then, some would be bound to a block that the others wait with, and with more wrong
//! clocks than nodes may be faulty nobody could vote any more, in this view or the next, until the block's time has come.
//!
//! # Source
//! docs/spec/block.md, "Rules"; docs/adr/0019-time-before-the-vote.md

use super::{
    block::{Context, EngineBlock},
    ledger::Ledger,
    timing::CLOCK_BOUND_MS,
};
use commonware_consensus::{
    Automaton, CertifiableAutomaton, Handoff,
    marshal::{
        core::{DigestFallback, Mailbox},
        standard::Standard,
    },
    simplex::scheme::ed25519::Scheme,
    types::Round,
};
use commonware_cryptography::sha256::Digest;
use commonware_macros::select;
use commonware_runtime::{Clock, Metrics, Spawner};
use commonware_utils::channel::{fallible::OneshotExt as _, oneshot};
use dmdl_types::id::UnixMillis;
use std::{sync::Arc, time::Duration};

/// The longest that a too early block sleeps before the clock is read again.
const CLOCK_RECHECK: Duration = Duration::from_secs(1);

/// Answers as `inner` does, but notarizes no block before its time.
pub(super) struct Timely<E, A, L> {
    runtime: Arc<E>,
    inner: A,
    ledger: L,
    chain: Mailbox<Scheme, Standard<EngineBlock>>,
}

impl<E, A, L> Timely<E, A, L> {
    pub(super) fn new(runtime: E, inner: A, ledger: L, chain: Mailbox<Scheme, Standard<EngineBlock>>) -> Self {
        Self { runtime: Arc::new(runtime), inner, ledger, chain }
    }
}

impl<E, A: Clone, L: Clone> Clone for Timely<E, A, L> {
    fn clone(&self) -> Self {
        let (runtime, inner) = (Arc::clone(&self.runtime), self.inner.clone());
        Self { runtime, inner, ledger: self.ledger.clone(), chain: self.chain.clone() }
    }
}

impl<E, A, L> Automaton for Timely<E, A, L>
where
    E: Clock + Metrics + Spawner,
    A: Automaton<Context = Context, Digest = Digest>,
    L: Ledger,
{
    type Context = Context;
    type Digest = Digest;

    async fn propose(&mut self, context: Context) -> oneshot::Receiver<Digest> {
        self.inner.propose(context).await
    }

    async fn verify(&mut self, context: Context, digest: Digest) -> oneshot::Receiver<bool> {
        // The last block of an epoch, proposed once more, was timely when it was proposed first.
        if digest == context.parent.1 {
            return self.inner.verify(context, digest).await;
        }
        let block = self.chain.subscribe_by_digest(digest, DigestFallback::Wait);
        let verdict = self.inner.verify(context, digest).await;
        let (mut sender, receiver) = oneshot::channel();
        let ledger = self.ledger.clone();
        self.runtime.child("timely").spawn(move |runtime| async move {
            let timely = async {
                let is_valid = verdict.await.ok()?;
                if is_valid {
                    wait_for_clock(&runtime, &ledger, block.await.ok()?.inner().header().time).await;
                }
                Some(is_valid)
            };
            // Where there is no verdict the engine has given the question up; an answer would bind.
            select! {
                _ = sender.closed() => {},
                verdict = timely => if let Some(verdict) = verdict {
                    sender.send_lossy(verdict);
                },
            }
        });
        receiver
    }
}

impl<E, A, L> CertifiableAutomaton for Timely<E, A, L>
where
    E: Clock + Metrics + Spawner,
    A: CertifiableAutomaton<Context = Context, Digest = Digest>,
    L: Ledger,
{
    async fn prepare(&mut self, context: Context) -> oneshot::Receiver<Handoff<Digest>> {
        self.inner.prepare(context).await
    }

    async fn certify(&mut self, round: Round, digest: Digest) -> oneshot::Receiver<bool> {
        self.inner.certify(round, digest).await
    }
}

async fn wait_for_clock(runtime: &impl Clock, ledger: &impl Ledger, time: UnixMillis) {
    loop {
        let ahead = time.since_ms(ledger.now().plus_ms(CLOCK_BOUND_MS));
        if ahead == 0 {
            return;
        }
        runtime.sleep(Duration::from_millis(ahead).min(CLOCK_RECHECK)).await;
    }
}
