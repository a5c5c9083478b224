//! `governance`: changes of the channel, proposed by an organisation and approved by a quorum of them.
//!
//! What is accepted in epoch e holds from e + 2 on: each committee is certified by the one before.
//!
//! # Source
//! docs/spec/governance.md

use super::{Call, Stop};
use crate::{
    store::{Reader, StoreError},
    world::{self, AddressRow, PendingRow, PersonRow, PersonStatus, ProposalRow, ProposalState, PrunesBlocks},
};
use dmdl_types::{
    access::ReasonCode,
    event::Outcome,
    genesis::{EpochConfig, Role},
    governance::{Change, Governance, apply},
    id::{OrgId, TransactionId},
    sign::PublicKey,
};
use std::collections::BTreeSet;

pub(super) fn invoke<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    invocation: &Governance,
) -> Result<Outcome, Stop> {
    call.require(author, &[Role::Admin])?;
    let org = &author.person.org;
    if !organisations(call.ctx.config).contains(org) {
        return Err(ReasonCode::Role.into());
    }
    match invocation {
        Governance::Propose { changes } => propose(call, org, changes)?,
        Governance::Approve { proposal } => approve(call, org, *proposal)?,
        Governance::Withdraw { proposal } => withdraw(call, org, *proposal)?,
    }
    Ok(Outcome::applied())
}

fn propose<R: Reader>(call: &mut Call<'_, R>, org: &OrgId, changes: &[Change]) -> Result<(), Stop> {
    outcome_of(call, changes)?;
    let row = ProposalRow {
        changes: changes.to_vec(),
        proposer: org.clone(),
        proposed: call.ctx.time,
        approvals: Vec::new(),
        state: ProposalState::Open,
    };
    settle(call, call.ctx.transaction, row, org)
}

fn approve<R: Reader>(call: &mut Call<'_, R>, org: &OrgId, id: TransactionId) -> Result<(), Stop> {
    let row = open(call, id)?;
    settle(call, id, row, org)
}

fn withdraw<R: Reader>(call: &mut Call<'_, R>, org: &OrgId, id: TransactionId) -> Result<(), Stop> {
    let mut row = open(call, id)?;
    if row.proposer != *org {
        return Err(ReasonCode::Role.into());
    }
    row.state = ProposalState::Withdrawn;
    call.world.put(&id, &row);
    Ok(())
}

fn open<R: Reader>(call: &mut Call<'_, R>, id: TransactionId) -> Result<ProposalRow, Stop> {
    call.about.refers_to = Some(id);
    let row: ProposalRow = call.world.get(&id)?.ok_or(ReasonCode::UnknownProposal)?;
    if row.state == ProposalState::Open { Ok(row) } else { Err(ReasonCode::AlreadyDecided.into()) }
}

/// Adds an organisation's approval, and makes the changes once a quorum of those in the channel has approved.
fn settle<R: Reader>(call: &mut Call<'_, R>, id: TransactionId, mut row: ProposalRow, org: &OrgId) -> Result<(), Stop> {
    let Err(place) = row.approvals.binary_search(org) else { return Err(ReasonCode::Duplicate.into()) };
    row.approvals.insert(place, org.clone());
    // Who has left since has no say.
    let members = organisations(call.ctx.config);
    let approving = row.approvals.iter().filter(|org| members.contains(*org)).count();
    if approving >= call.ctx.config.approvals_needed() {
        let next = outcome_of(call, &row.changes)?;
        call.world.put(&(), &PendingRow { members: next.members, channel: next.channel });
        row.changes.iter().try_for_each(|change| make(call, change))?;
        row.state = ProposalState::Accepted { from: call.ctx.config.epoch.next().next() };
    }
    call.world.put(&id, &row);
    Ok(())
}

/// What would come of the changes, on top of what is accepted and has not begun.
fn outcome_of<R: Reader>(call: &Call<'_, R>, changes: &[Change]) -> Result<EpochConfig, Stop> {
    let next = call.ctx.config.epoch.next();
    let decided = call.world.get::<EpochConfig>(&next)?;
    let mut base =
        decided.ok_or_else(|| StoreError::Corrupt(format!("the configuration of epoch {next} is missing")))?;
    if let Some(pending) = call.world.get::<PendingRow>(&())? {
        base = pending.onto(base);
    }
    let outcome = apply(&base, changes, call.ctx.single_org_demo).map_err(|_| ReasonCode::ProposalUnfit)?;
    for change in changes {
        if let Change::AddNode { member, .. } = change {
            for key in [member.node.key(), member.cosigning_key] {
                unused(call, &key)?;
            }
        }
        if let Change::AddPerson { person } = change {
            unused(call, &person.key)?;
            let node_key = |key| outcome.members.iter().any(|m| m.node.key() == key || m.cosigning_key == key);
            if node_key(person.key) {
                return Err(ReasonCode::IdReuse.into());
            }
        }
    }
    Ok(outcome)
}

/// A key that a person has or had is nobody else's.
fn unused<R: Reader>(call: &Call<'_, R>, key: &PublicKey) -> Result<(), Stop> {
    if call.world.has::<PersonRow>(key)? { Err(ReasonCode::IdReuse.into()) } else { Ok(()) }
}

/// What a change does at once, beside the configuration.
fn make<R: Reader>(call: &mut Call<'_, R>, change: &Change) -> Result<(), Stop> {
    match change {
        Change::AddNode { member, address } => call.world.put(&member.node, &AddressRow(address.clone())),
        Change::AddPerson { person } => {
            let row = PersonRow { person: person.clone(), status: PersonStatus::Active, enrolled_by: None };
            call.world.put(&person.key, &row);
        }
        Change::RemoveOrg { org } => revoke_people(call, org)?,
        Change::PruneBlocks => call.world.put(&(), &PrunesBlocks),
        Change::RemoveNode { .. } | Change::SetRoles { .. } | Change::SetRules { .. } => {}
    }
    Ok(())
}

fn revoke_people<R: Reader>(call: &mut Call<'_, R>, org: &OrgId) -> Result<(), StoreError> {
    const PAGE: usize = 256;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = world::scan::<PersonRow>(call.world.overlay(), &(), after.as_deref(), PAGE)?;
        let last = page.len() < PAGE;
        for (key, mut row) in page {
            if row.person.org == *org {
                row.status = PersonStatus::Revoked;
                call.world.put(&row.person.key.clone(), &row);
            }
            after = Some(key);
        }
        if last {
            return Ok(());
        }
    }
}

/// The organisations that run a node.
fn organisations(config: &EpochConfig) -> BTreeSet<&OrgId> {
    config.members.iter().map(|member| &member.org).collect()
}
