//! What proves a fault, what does not, and what a proved one leads to.

use super::{
    LAG,
    town::{Conduct, Town},
};
use crate::{endorse::TRANSACTION_BYTES_MAX, testing::*};
use dmdl_types::{
    access::ReasonCode,
    block::{Block, Header},
    checkpoint::Checkpoint,
    codec,
    event::Verdict,
    evidence::Evidence,
    id::{Epoch, Height, NoteCommitment, View},
    invocation::{Access, Invocation, Medical, SystemItem},
    limits,
    mdca::PerDuty,
    transaction::{Endorsement, Transaction},
};

fn item(evidence: Evidence) -> SystemItem {
    SystemItem::Evidence(Box::new(evidence))
}

/// What becomes of evidence that organisation `by` shows.
fn shown(ledger: &mut Ledger, by: u8, evidence: Evidence) -> (Verdict, Option<ReasonCode>) {
    told(&ledger.tell(by, item(evidence)))
}

const COUNTED: (Verdict, Option<ReasonCode>) = (Verdict::Applied, None);
const REFUTED: (Verdict, Option<ReasonCode>) = (Verdict::Rejected, Some(ReasonCode::EvidenceRefuted));
const KNOWN: (Verdict, Option<ReasonCode>) = (Verdict::Rejected, Some(ReasonCode::Duplicate));

/// A ledger of one block with an event, its header, and the checkpoint after it.
fn lived() -> (Ledger, Header, Checkpoint) {
    let mut ledger = Ledger::new();
    let call = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
    let transaction = ledger.transaction(&owner(1), Invocation::Medical(call));
    let checkpoint = ledger.execute(vec![transaction], Vec::new()).checkpoint.unwrap();
    let header = ledger.blocks[1].header.clone();
    (ledger, header, checkpoint)
}

fn votes(header: &Header, org: u8) -> Evidence {
    Evidence::Votes { proof: equivocation(header, org, &config()) }
}

/// A block of organisation `org` in its own turn that breaks a rule, with that organisation's vote.
fn proposal(ledger: &Ledger, org: u8, broken: impl Fn(&mut Block)) -> Evidence {
    let mut block = ledger.block(Vec::new(), Vec::new());
    let turn = config().qualified.iter().position(|node| *node == node_id(org)).unwrap() as u64;
    block.header.view = View::new(turn + 1 + 4 * block.header.view.get());
    block.header.primary = node_id(org);
    broken(&mut block);
    block.header.body = block.body.digest();
    Evidence::Proposal { vote: notarize_vote(&block.header, org, &config()), block: codec::encode(&block) }
}

fn endorsed(ledger: &Ledger, transaction: Transaction, org: u8) -> Evidence {
    let endorsement =
        Endorsement::sign(&node(org), &ledger.domain(), transaction.digest(), ledger.height(), Vec::new());
    Evidence::Endorsement { transaction: Box::new(transaction), endorsement }
}

fn cosigned(checkpoint: Checkpoint, org: u8) -> Evidence {
    Evidence::Cosignature { checkpoint, cosignature: cosignature(&checkpoint, org) }
}

fn signed(ledger: &mut Ledger, change: impl Fn(&mut dmdl_types::transaction::TransactionBody)) -> Transaction {
    let call = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
    let mut body = ledger.body(&owner(1), Invocation::Medical(call));
    change(&mut body);
    body.sign(&[&owner(1)])
}

#[test]
fn a_fault_counts_once_whoever_shows_it() {
    let (mut ledger, header, checkpoint) = lived();
    let lie = Checkpoint { state: [9; 32], ..checkpoint };
    let unsigned = Transaction { signatures: Vec::new(), ..signed(&mut ledger, |_| {}) };
    let cases = [
        votes(&header, 3),
        proposal(&ledger, 3, |block| block.header.parent_signers.push(0)),
        endorsed(&ledger, unsigned, 3),
        cosigned(lie, 3),
    ];
    for evidence in cases {
        assert_eq!(shown(&mut ledger, 1, evidence.clone()), COUNTED, "{evidence:?}");
        assert_eq!(shown(&mut ledger, 2, evidence), KNOWN);
    }
    let row: crate::world::FaultsRow = ledger.row(&(Epoch::new(0), node_id(3))).unwrap();
    assert_eq!(row.faults, PerDuty { endorsing: 1, committing: 1, ordering: 2 });
    assert!(row.bytes.endorsing > 0 && row.bytes.committing > 0 && row.bytes.ordering > 0);
    assert!(ledger.row::<crate::world::FaultsRow>(&(Epoch::new(0), node_id(1))).is_none());
}

#[test]
fn what_no_honest_node_signs_is_no_evidence_against_one() {
    let (mut ledger, header, checkpoint) = lived();
    let good = signed(&mut ledger, |_| {});
    let by_another = {
        let mut evidence = endorsed(&ledger, Transaction { signatures: Vec::new(), ..good.clone() }, 2);
        let Evidence::Endorsement { endorsement, .. } = &mut evidence else { unreachable!() };
        endorsement.endorser = node_id(3);
        evidence
    };
    // Endorsed as it should be, and its author's signature replaced afterwards.
    let replaced = {
        let mut evidence = endorsed(&ledger, good.clone(), 3);
        let Evidence::Endorsement { transaction, .. } = &mut evidence else { unreachable!() };
        transaction.signatures[0] = dmdl_types::sign::Signature::new([7; 64]);
        evidence
    };
    let of_another_primary = {
        let mut evidence = proposal(&ledger, 3, |block| block.header.parent_signers.push(0));
        let Evidence::Proposal { vote, block } = &mut evidence else { unreachable!() };
        // Others vote for a block before they know whether it keeps the rules.
        *vote = notarize_vote(&codec::decode::<Block>(block, limits::BLOCK_BYTES).unwrap().header, 2, &config());
        evidence
    };
    let lie = Checkpoint { state: [9; 32], ..checkpoint };
    let signed_as_another = Evidence::Cosignature { checkpoint: lie, cosignature: cosignature(&checkpoint, 3) };
    let cases = [
        ("a vote alone", Evidence::Votes { proof: notarize_vote(&header, 3, &config()) }),
        (
            "the same vote twice",
            Evidence::Votes {
                proof: [vec![7], notarize_vote(&header, 3, &config()), notarize_vote(&header, 3, &config())].concat(),
            },
        ),
        ("nothing", Evidence::Votes { proof: Vec::new() }),
        ("a block that keeps the rules", proposal(&ledger, 3, |_| {})),
        ("somebody else's vote for it", of_another_primary),
        ("a block without its vote", Evidence::Proposal { vote: Vec::new(), block: vec![1, 2, 3] }),
        ("an endorsement of what keeps the rules", endorsed(&ledger, good, 3)),
        ("an endorsement of something else", replaced),
        ("another node's endorsement", by_another),
        ("a cosignature of what is agreed", cosigned(checkpoint, 3)),
        ("a signature on something else", signed_as_another),
        ("a height without a checkpoint", cosigned(Checkpoint { height: Height::new(0), ..lie }, 3)),
    ];
    for (name, evidence) in cases {
        assert_eq!(shown(&mut ledger, 1, evidence), REFUTED, "{name}");
    }
    assert!(ledger.row::<crate::world::FaultsRow>(&(Epoch::new(0), node_id(3))).is_none());
}

#[test]
fn every_rule_that_holds_in_any_state_binds_its_endorser() {
    let (mut ledger, ..) = lived();
    let far = Height::new(ledger.height().get() + limits::EXPIRY_BLOCKS + 50);
    let long = {
        let call = Access::SetPolicy {
            record: dmdl_types::id::RecordId::new([1; 32]),
            policy: rules(&" ".repeat(limits::POLICY_BYTES)),
        };
        let mut body = ledger.body(&owner(1), Invocation::Access(call));
        body.authors = vec![owner(1).public(); 1 + TRANSACTION_BYTES_MAX / 64];
        body.sign(&[&owner(1)])
    };
    let cases = [
        (
            "of another channel",
            signed(&mut ledger, |body| body.domain.channel = dmdl_types::id::ChannelId::new([1; 32])),
        ),
        ("of nobody", signed(&mut ledger, |body| body.authors.clear())),
        ("by somebody else", signed(&mut ledger, |body| body.authors = vec![owner(2).public()])),
        ("expired", signed(&mut ledger, |body| body.expires = Height::new(0))),
        ("for ever", signed(&mut ledger, |body| body.expires = far)),
        ("too long", long),
    ];
    for (name, transaction) in cases {
        let evidence = endorsed(&ledger, transaction, 3);
        assert_eq!(shown(&mut ledger, 1, evidence), COUNTED, "{name}");
    }
}

#[test]
fn only_faults_of_this_epoch_and_the_last_count() {
    let mut town = Town::new(4, 11);
    let header = town.ledger.blocks[0].header.clone();
    let of_epoch_0 = Header { epoch: Epoch::new(0), view: View::new(3), ..header };
    for _ in 0..2 {
        town.live_epoch(|_| Conduct::WELL);
    }
    assert_eq!(shown(&mut town.ledger, 1, votes(&of_epoch_0, 3)), REFUTED);
    let of_epoch_1 = Header { epoch: Epoch::new(1), ..of_epoch_0 };
    assert_eq!(shown(&mut town.ledger, 1, votes(&of_epoch_1, 3)), COUNTED);
    assert_eq!(town.faults(3).faults.ordering, 1);
}

#[test]
fn evidence_has_a_quota_by_who_shows_it() {
    let (mut ledger, header, _) = lived();
    let false_ones: Vec<SystemItem> =
        (0..limits::EVIDENCE_PER_EPOCH).map(|_| item(Evidence::Votes { proof: vec![1] })).collect();
    let system = ledger.system(2, false_ones);
    let done = ledger.execute(Vec::new(), vec![system]);
    assert!(done.events.iter().all(|event| told(event) == REFUTED));
    let quota = (Verdict::Rejected, Some(ReasonCode::QuotaExceeded));
    assert_eq!(shown(&mut ledger, 2, votes(&header, 3)), quota, "even a true one");
    assert_eq!(shown(&mut ledger, 1, votes(&header, 3)), COUNTED, "others still may");
}

/// Organisation 1 does `wrong` once in each of epochs 2 to 5; returns in which epochs it may propose.
fn wrong_for_a_while(wrong: impl Fn(&mut Town) -> Evidence) -> Vec<bool> {
    let mut town = Town::new(4, 13);
    for epoch in 0..14 {
        town.live_epoch(|_| Conduct::WELL);
        if (1..5).contains(&epoch) {
            town.live_view(&|_| Conduct::WELL, Vec::new());
            let evidence = wrong(&mut town);
            // Whoever is first in turn orders it; all that noticed show it.
            let told = (2..=4).map(|org| (org, item(evidence.clone()))).collect();
            town.live_view(&|_| Conduct::WELL, told);
        }
    }
    town.assert_alike();
    println!("{}", town.table());
    super::epochs_in(&town, 1)
}

#[test]
fn whoever_is_proved_at_fault_is_out_for_the_epochs_that_the_specification_names() {
    let config_of = |town: &Town| town.config(town.epoch());
    let equivocates = wrong_for_a_while(|town| {
        let header = town.ledger.blocks.last().unwrap().header.clone();
        Evidence::Votes { proof: equivocation(&header, 1, &config_of(town)) }
    });
    let endorses_wrongly = wrong_for_a_while(|town| {
        let transaction = signed(&mut town.ledger, |body| body.authors.clear());
        endorsed(&town.ledger, transaction, 1)
    });
    let cosigns_wrongly = wrong_for_a_while(|town| {
        let block = town.ledger.executor.newest_checkpoint().unwrap().unwrap();
        cosigned(Checkpoint { root: [6; 32], ..block }, 1)
    });
    for (name, epochs) in
        [("equivocates", equivocates), ("endorses wrongly", endorses_wrongly), ("cosigns wrongly", cosigns_wrongly)]
    {
        let shown: String = epochs.iter().map(|qualified| if *qualified { 'x' } else { '.' }).collect();
        println!("{name}: {shown}");
        // Faults in epochs 2 to 5: out from 4 on, at least to 7, and back after four epochs of good conduct at most.
        let out: Vec<u64> = (0..).zip(&epochs).filter(|(_, qualified)| !**qualified).map(|(epoch, _)| epoch).collect();
        assert_eq!(out.first(), Some(&(2 + LAG)), "{name}: {shown}");
        let last = *out.last().unwrap();
        assert!((5 + LAG..=5 + LAG + 3).contains(&last), "{name}: {shown}");
        assert_eq!(out.len() as u64, last - (2 + LAG) + 1, "{name} came back and fell out again: {shown}");
    }
}
