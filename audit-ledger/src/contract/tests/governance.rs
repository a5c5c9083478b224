//! Changes of the channel: who may propose and approve, and when they hold.

use crate::{
    contract::assignment,
    testing::*,
    world::{AddressRow, PersonRow, PersonStatus, ProposalRow, ProposalState, PrunesBlocks},
};
use dmdl_types::{
    access::ReasonCode::{self, *},
    event::{Action, Event, Verdict},
    genesis::{Member, NodeRoles, Person, Role},
    governance::{Change, Governance},
    id::{DisplayName, Epoch, TransactionId},
    invocation::{Invocation, Membership},
    sign::SigningKey,
};

const EPOCH_BLOCKS: u64 = 12;

fn ledger() -> Ledger {
    let mut genesis = genesis();
    genesis.channel.epoch_blocks = EPOCH_BLOCKS;
    Ledger::of(genesis)
}

fn call(ledger: &mut Ledger, author: &SigningKey, call: Governance) -> Event {
    ledger.call(author, Invocation::Governance(call))
}

fn refused(code: ReasonCode) -> (Verdict, Option<ReasonCode>) {
    (Verdict::Rejected, Some(code))
}

/// Proposes as organisation 1's admin.
fn propose(ledger: &mut Ledger, changes: Vec<Change>) -> TransactionId {
    let event = call(ledger, &admin(1), Governance::Propose { changes });
    assert_eq!(told(&event), (Verdict::Applied, None));
    assert_eq!(event.action, Action::Propose);
    event.transaction
}

fn approve(ledger: &mut Ledger, org: u8, proposal: TransactionId) -> (Verdict, Option<ReasonCode>) {
    told(&call(ledger, &admin(org), Governance::Approve { proposal }))
}

/// Organisation 5's node and its first admin.
fn joining() -> Vec<Change> {
    let member =
        Member { node: node_id(5), cosigning_key: cosigner(5).public(), org: org_id(5), roles: NodeRoles::ALL };
    let name = DisplayName::new("admin").unwrap();
    let person = Person { key: admin(5).public(), org: org_id(5), name, role: Role::Admin };
    vec![Change::AddNode { member, address: "five.example:7401".to_owned() }, Change::AddPerson { person }]
}

fn state(ledger: &Ledger, proposal: TransactionId) -> ProposalState {
    ledger.row::<ProposalRow>(&proposal).unwrap().state
}

/// Lives on until the given epoch has begun.
fn live_until(ledger: &mut Ledger, epoch: u64) {
    while ledger.height().next().get() / EPOCH_BLOCKS < epoch {
        ledger.empty();
    }
}

fn members(ledger: &Ledger, epoch: u64) -> usize {
    ledger.executor.epoch_config(Epoch::new(epoch)).unwrap().unwrap().members.len()
}

#[test]
fn what_a_quorum_of_organisations_approves_holds_from_the_epoch_after_the_next() {
    let mut ledger = ledger();
    let proposal = propose(&mut ledger, joining());
    assert_eq!(approve(&mut ledger, 2, proposal), (Verdict::Applied, None));
    assert_eq!(state(&ledger, proposal), ProposalState::Open, "two of four are no quorum");
    assert_eq!(approve(&mut ledger, 3, proposal), (Verdict::Applied, None));
    assert_eq!(state(&ledger, proposal), ProposalState::Accepted { from: Epoch::new(2) });
    assert_eq!(approve(&mut ledger, 4, proposal), refused(AlreadyDecided));

    live_until(&mut ledger, 2);
    assert_eq!([0, 1, 2, 3].map(|epoch| members(&ledger, epoch)), [4, 4, 5, 5]);
    let config = ledger.executor.epoch_config(Epoch::new(2)).unwrap().unwrap();
    assert!(config.qualified.contains(&node_id(5)), "who has done nothing yet takes turns");
    assert_eq!(ledger.row::<AddressRow>(&node_id(5)).unwrap().0, "five.example:7401");
    // Its admin is there at once, and enrols the others.
    let enrol = |org: u8, person: &SigningKey| {
        let name = DisplayName::new("somebody").unwrap();
        Membership::Enrol { person: Person { key: person.public(), org: org_id(org), name, role: Role::Owner } }
    };
    let event = ledger.call(&admin(5), Invocation::Membership(enrol(5, &owner(5))));
    assert_eq!(event.outcome.verdict, Verdict::Applied);
    live_until(&mut ledger, 4);
}

#[test]
fn two_proposals_of_one_epoch_hold_together() {
    let mut ledger = ledger();
    let first = propose(&mut ledger, joining());
    let rules = dmdl_types::genesis::ChannelConfig { endorsements: 3, ..ledger.executor.founding().channel.clone() };
    let second = propose(&mut ledger, vec![Change::SetRules { rules }]);
    for org in [2, 3] {
        approve(&mut ledger, org, first);
        approve(&mut ledger, org, second);
    }
    live_until(&mut ledger, 2);
    let config = ledger.executor.epoch_config(Epoch::new(2)).unwrap().unwrap();
    assert_eq!((config.members.len(), config.channel.endorsements), (5, 3));
}

#[test]
fn that_blocks_may_go_is_decided_like_other_changes_and_holds_at_once() {
    let mut ledger = ledger();
    let proposal = propose(&mut ledger, vec![Change::PruneBlocks]);
    approve(&mut ledger, 2, proposal);
    assert_eq!(ledger.row::<PrunesBlocks>(&()), None, "two of four are no quorum");
    approve(&mut ledger, 3, proposal);
    assert_eq!(ledger.row::<PrunesBlocks>(&()), Some(PrunesBlocks));
    live_until(&mut ledger, 2);
    let config = ledger.executor.epoch_config(Epoch::new(2)).unwrap().unwrap();
    assert_eq!(config.channel, ledger.executor.founding().channel, "it is no rule of consensus");
}

#[test]
fn what_does_not_fit_any_more_is_not_made() {
    let mut ledger = ledger();
    let (first, second) = (propose(&mut ledger, joining()), propose(&mut ledger, joining()));
    for org in [2, 3] {
        assert_eq!(approve(&mut ledger, org, first), (Verdict::Applied, None));
    }
    assert_eq!(approve(&mut ledger, 2, second), (Verdict::Applied, None));
    assert_eq!(approve(&mut ledger, 3, second), refused(ProposalUnfit));
    assert_eq!(state(&ledger, second), ProposalState::Open, "and leaves no trace");
}

#[test]
fn nobody_but_admins_of_organisations_in_the_channel_has_a_say() {
    let mut ledger = ledger();
    for person in [owner(1), researcher(1), committee(1)] {
        let event = call(&mut ledger, &person, Governance::Propose { changes: joining() });
        assert_eq!(told(&event), refused(Role));
    }
    let proposal = propose(&mut ledger, joining());
    for org in [2, 3] {
        approve(&mut ledger, org, proposal);
    }
    let event = call(&mut ledger, &admin(5), Governance::Propose { changes: joining() });
    assert_eq!(told(&event), refused(Role), "its node is no member before epoch 2");
}

#[test]
fn an_organisation_has_one_approval_however_many_admins_it_has() {
    let mut ledger = ledger();
    let second = signer(99);
    let name = DisplayName::new("second").unwrap();
    let person = Person { key: second.public(), org: org_id(1), name, role: Role::Admin };
    ledger.call(&admin(1), Invocation::Membership(Membership::Enrol { person }));
    let proposal = propose(&mut ledger, joining());
    assert_eq!(approve(&mut ledger, 1, proposal), refused(Duplicate));
    assert_eq!(told(&call(&mut ledger, &second, Governance::Approve { proposal })), refused(Duplicate));
}

#[test]
fn a_proposal_is_taken_back_by_its_own_organisation() {
    let mut ledger = ledger();
    let proposal = propose(&mut ledger, joining());
    assert_eq!(told(&call(&mut ledger, &admin(2), Governance::Withdraw { proposal })), refused(Role));
    assert_eq!(told(&call(&mut ledger, &admin(1), Governance::Withdraw { proposal })), (Verdict::Applied, None));
    assert_eq!(approve(&mut ledger, 2, proposal), refused(AlreadyDecided));
    let unknown = TransactionId::new([1; 32]);
    assert_eq!(approve(&mut ledger, 2, unknown), refused(UnknownProposal));
}

#[test]
fn a_proposal_that_breaks_a_rule_or_uses_a_known_key_is_refused() {
    let mut ledger = ledger();
    let unfit = vec![Change::RemoveOrg { org: org_id(4) }];
    assert_eq!(told(&call(&mut ledger, &admin(1), Governance::Propose { changes: unfit })), refused(ProposalUnfit));
    let mut reused = joining();
    let Change::AddPerson { person } = &mut reused[1] else { unreachable!() };
    person.key = owner(1).public();
    assert_eq!(told(&call(&mut ledger, &admin(1), Governance::Propose { changes: reused })), refused(IdReuse));
    let mut reused = joining();
    let Change::AddNode { member, .. } = &mut reused[0] else { unreachable!() };
    member.cosigning_key = owner(1).public();
    assert_eq!(told(&call(&mut ledger, &admin(1), Governance::Propose { changes: reused })), refused(IdReuse));
    let mut reused = joining();
    let Change::AddPerson { person } = &mut reused[1] else { unreachable!() };
    person.key = node(5).public();
    assert_eq!(told(&call(&mut ledger, &admin(1), Governance::Propose { changes: reused })), refused(IdReuse));
}

#[test]
fn an_organisation_that_leaves_takes_its_people_with_it_at_once_and_its_nodes_in_time() {
    let mut ledger = ledger();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let changes = [joining(), vec![Change::RemoveOrg { org: org_id(4) }]].concat();
    let proposal = propose(&mut ledger, changes);
    for org in [2, 3] {
        approve(&mut ledger, org, proposal);
    }
    let row: PersonRow = ledger.row(&researcher(4).public()).unwrap();
    assert_eq!(row.status, PersonStatus::Revoked);
    assert_eq!(told(&ledger.request(&researcher(4), record, terms(1, 1))), (Verdict::Deny, Some(KeyRevoked)));
    assert_eq!(members(&ledger, 1), 4);
    live_until(&mut ledger, 2);
    let config = ledger.executor.epoch_config(Epoch::new(2)).unwrap().unwrap();
    assert!(config.member(node_id(4)).is_none() && config.member(node_id(5)).is_some());
    // What it keeps for records of before is still its to release: shares do not move by themselves.
    let version = ledger.version_row(record, dmdl_types::id::RecordVersion::new(1));
    let data = dmdl_types::context::DataContext {
        network: ledger.domain().network,
        channel: ledger.domain().channel,
        record,
        version: dmdl_types::id::RecordVersion::new(1),
    };
    assert!(assignment(&data, &version, node_id(4)).is_some());
    live_until(&mut ledger, 4);
}
