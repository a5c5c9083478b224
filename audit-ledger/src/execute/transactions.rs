//! One block's transactions, one after the other.

use super::{ExecuteError, Executor};
use crate::{
    contract::{self, Context, Effect, action_of, system_action_of},
    log,
    store::{Store, StoreError},
    world::{PersonRow, World},
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    block::Block,
    custody::CustodyEvent,
    event::{Action, Event, Outcome, Verdict},
    genesis::EpochConfig,
    id::{OrgId, TransactionId},
    planted,
    sign::PublicKey,
    transaction::{EndorsedTransaction, SystemTransaction},
};
use std::collections::BTreeSet;

/// What a block's transactions led to.
#[derive(Debug, Default)]
pub(super) struct Done {
    ids: BTreeSet<TransactionId>,
    pub(super) events: Vec<Event>,
    pub(super) custody: Vec<CustodyEvent>,
}

/// Runs the transactions of a block, in its order: people's first, then nodes'.
pub(super) fn run<S: Store>(
    world: &mut World<S>,
    executor: &Executor<S>,
    config: &EpochConfig,
    block: &Block,
) -> Result<Done, ExecuteError> {
    let ctx = Context {
        domain: executor.domain,
        single_org_demo: executor.founding.single_org_demo,
        config,
        height: block.header.height,
        time: block.header.time,
        transaction: TransactionId::new([0; 32]),
        math: executor.math,
        policies: &executor.policies,
    };
    let mut done = Done::default();
    for endorsed in &block.body.transactions {
        person(world, &ctx, endorsed, &mut done)?;
    }
    for system in &block.body.system {
        node(world, &ctx, system, &mut done)?;
    }
    Ok(done)
}

fn person<S: Store>(
    world: &mut World<S>,
    ctx: &Context<'_>,
    endorsed: &EndorsedTransaction,
    done: &mut Done,
) -> Result<(), StoreError> {
    let body = &endorsed.transaction.body;
    let id = body.id();
    if !first_time(world, done, id)? {
        return Ok(());
    }
    let ctx = Context { transaction: id, ..*ctx };
    let actor = body.authors.first().copied().unwrap_or(PublicKey::new([0; 32]));
    let action = action_of(&body.invocation);
    let effect = if body.expires < ctx.height {
        expired(action)
    } else {
        attempt(world, |world| contract::invoke(world, &ctx, &body.authors, &body.invocation))?
    };
    let org = world.get::<PersonRow>(&actor)?.map(|row| row.person.org);
    done.add(&ctx, 0, action, actor, org, effect);
    Ok(())
}

fn node<S: Store>(
    world: &mut World<S>,
    ctx: &Context<'_>,
    system: &SystemTransaction,
    done: &mut Done,
) -> Result<(), StoreError> {
    let id = system.id();
    if !first_time(world, done, id)? {
        return Ok(());
    }
    let ctx = Context { transaction: id, ..*ctx };
    let member = ctx.config.member(system.body.node);
    for (position, item) in system.body.items.iter().enumerate() {
        let action = system_action_of(item);
        let effect = if system.body.expires < ctx.height {
            expired(action)
        } else if action == Action::Evidence && !contract::admit_evidence(world, &ctx, system.body.node)? {
            rejected(ReasonCode::QuotaExceeded)
        } else {
            attempt(world, |world| contract::apply_system(world, &ctx, system.body.node, item))?
        };
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        done.add(&ctx, position, action, system.body.node.key(), member.map(|m| m.org.clone()), effect);
    }
    Ok(())
}

/// Runs one call on a world of its own, and keeps its changes unless it was refused.
fn attempt<S: Store>(
    world: &mut World<S>,
    call: impl FnOnce(&mut World<&crate::store::Overlay<S>>) -> Result<Effect, StoreError>,
) -> Result<Effect, StoreError> {
    let mut inner = world.transaction();
    let effect = call(&mut inner)?;
    if effect.holds {
        let changes = inner.into_changes();
        world.keep(changes);
    }
    Ok(effect)
}

fn expired(action: Action) -> Effect {
    let verdict = match action {
        Action::Request | Action::Decrypt => Verdict::Deny,
        _ => Verdict::Rejected,
    };
    refused(verdict, ReasonCode::TransactionExpired)
}

fn rejected(code: ReasonCode) -> Effect {
    refused(Verdict::Rejected, code)
}

fn refused(verdict: Verdict, code: ReasonCode) -> Effect {
    let outcome = Outcome::of(verdict, Reason::code(code));
    Effect { outcome, about: contract::About::default(), custody: Vec::new(), holds: false }
}

/// Whether a transaction comes for the first time. Whatever was executed has its event in the log for ever, on a node
/// that joined by a snapshot, too.
fn first_time<S: Store>(world: &World<S>, done: &mut Done, id: TransactionId) -> Result<bool, StoreError> {
    let before = log::position(world.overlay(), id, 0)?.is_some() && !planted!("replays-forgotten");
    Ok(!before && done.ids.insert(id))
}

impl Done {
    fn add(
        &mut self,
        ctx: &Context<'_>,
        item: u32,
        action: Action,
        actor: PublicKey,
        org: Option<OrgId>,
        effect: Effect,
    ) {
        let about = effect.about;
        self.events.push(Event {
            height: ctx.height,
            time: ctx.time,
            transaction: ctx.transaction,
            item,
            action,
            actor,
            org,
            record: about.record,
            version: about.version,
            subject: about.subject,
            shares: about.shares,
            purpose: about.purpose,
            policy: about.policy,
            refers_to: about.refers_to,
            outcome: effect.outcome,
        });
        self.custody.extend(effect.custody);
    }
}
