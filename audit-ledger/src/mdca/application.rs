//! Answers the engine's questions about blocks out of the ledger. Whether a block's time has come is asked elsewhere, before
//! the first vote ([`Timely`](super::timely::Timely)): what this answers is the same at every node.

use super::{
    block::{Context, EngineBlock},
    ledger::{Ledger, Turn},
};
use commonware_consensus::{
    Application as EngineApplication, marshal::ancestry::Ancestry, simplex::scheme::ed25519::Scheme,
};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_runtime::{Clock, Metrics, Spawner};
use std::{future::poll_fn, pin::Pin};

#[derive(Clone)]
pub(super) struct Application<L> {
    ledger: L,
}

impl<L> Application<L> {
    pub(super) const fn new(ledger: L) -> Self {
        Self { ledger }
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

    async fn verify(&mut self, _: (E, Context), mut ancestry: impl Ancestry<EngineBlock>) -> bool {
        let (Some(block), Some(parent)) = (next(&mut ancestry).await, next(&mut ancestry).await) else {
            // No parent means that the engine gave up this question; an answer would bind.
            return std::future::pending().await;
        };
        if block.header().time <= parent.header().time || block.header().domain != parent.header().domain {
            return false;
        }
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
