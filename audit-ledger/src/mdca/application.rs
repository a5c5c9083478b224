//! Answers the engine's questions about blocks out of the ledger, and adds the rules of time.

use super::{
    block::{Context, EngineBlock},
    ledger::{Ledger, Turn},
    timing::CLOCK_BOUND_MS,
};
use commonware_consensus::{
    Application as EngineApplication, marshal::ancestry::Ancestry, simplex::scheme::ed25519::Scheme,
};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_runtime::{Clock, Metrics, Spawner};
use dmdl_types::id::UnixMillis;
use std::{future::poll_fn, pin::Pin, time::Duration};

/// The longest that a too early block sleeps before the clock is read again.
const CLOCK_RECHECK: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Application<L> {
    ledger: L,
}

impl<L> Application<L> {
    pub(super) const fn new(ledger: L) -> Self {
        Self { ledger }
    }
}

impl<L: Ledger> Application<L> {
    /// A clock never makes a block invalid: a validator whose clock is behind waits until it is not.
    async fn wait_for_clock(&self, runtime: &impl Clock, time: UnixMillis) {
        loop {
            let ahead = time.since_ms(self.ledger.now().plus_ms(CLOCK_BOUND_MS));
            if ahead == 0 {
                return;
            }
            runtime.sleep(Duration::from_millis(ahead).min(CLOCK_RECHECK)).await;
        }
    }
}

impl<E, L> EngineApplication<E> for Application<L>
where
    E: Clock + Metrics + Spawner,
    L: Ledger,
{
    type SigningScheme = Scheme;
    type Context = Context;
    type Block = EngineBlock;
    type Input = ();

    async fn propose(
        &mut self,
        (_, context): (E, Context),
        mut ancestry: impl Ancestry<EngineBlock>,
        (): (),
    ) -> Option<Digested<EngineBlock>> {
        let parent = next(&mut ancestry).await?;
        let turn = Turn::new(&context, &parent, self.ledger.now());
        let block = self.ledger.propose(turn.clone(), parent).await?;
        // The others would refuse it, so it must not leave this node.
        if !repeats(&block, &turn) {
            tracing::error!(height = %turn.height, view = %turn.view, "the ledger built a block for another turn");
            return None;
        }
        let digest = block.digest();
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(&mut self, (runtime, _): (E, Context), mut ancestry: impl Ancestry<EngineBlock>) -> bool {
        let (Some(block), Some(parent)) = (next(&mut ancestry).await, next(&mut ancestry).await) else {
            // No parent means that the engine gave up this question; an answer would bind.
            return std::future::pending().await;
        };
        if block.header().time <= parent.header().time || block.header().domain != parent.header().domain {
            return false;
        }
        self.wait_for_clock(&runtime, block.header().time).await;
        self.ledger.verify(block, parent).await
    }
}

async fn next<A: Ancestry<EngineBlock>>(ancestry: &mut A) -> Option<EngineBlock> {
    let block = poll_fn(|cx| Pin::new(&mut *ancestry).poll_next(cx)).await?;
    Some(block.inner().clone())
}

fn repeats(block: &EngineBlock, turn: &Turn) -> bool {
    let header = block.header();
    header.height == turn.height
        && header.epoch == turn.epoch
        && header.view == turn.view
        && header.parent_view == turn.parent_view
        && header.primary == turn.primary
        && header.parent == turn.parent
        && header.time >= turn.time
}
