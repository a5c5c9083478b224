//! What makes a candidate block invalid.

mod pool;

use super::*;
use crate::{endorse, testing::*};
use dmdl_types::{
    block::Block,
    checkpoint::{Checkpoint, CheckpointError},
    evidence::Evidence,
    genesis::EpochConfig,
    id::{BlockDigest, ConfigDigest, Epoch, Height, NodeId, NoteCommitment, TransactionId},
    invocation::{Access, Invocation, Medical, SystemItem},
    limits,
    transaction::{EndorsedTransaction, SystemTransaction, TransactionError},
};

fn initial() -> Invocation {
    Invocation::Medical(Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None })
}

fn evidence(len: usize) -> SystemItem {
    SystemItem::Evidence(Box::new(Evidence::Votes { proof: vec![0; len] }))
}

fn next_config() -> ConfigDigest {
    genesis().epoch_config(Epoch::new(1)).digest()
}

fn verdict(ledger: &Ledger, block: &Block) -> Result<(), BlockFault> {
    check(block, &ledger.domain(), &config(), next_config(), &Checked::default())
}

/// A transaction with an expiry of its own choice.
fn expiring(ledger: &mut Ledger, expires: u64) -> EndorsedTransaction {
    let mut body = ledger.body(&owner(1), initial());
    body.expires = Height::new(expires);
    endorse(body, &owner(1))
}

fn system_expiring(ledger: &mut Ledger, org: u8, expires: u64) -> SystemTransaction {
    let mut body = ledger.system(org, vec![evidence(1)]).body;
    body.expires = Height::new(expires);
    SystemTransaction::sign(body, &node(org))
}

fn id(endorsed: &EndorsedTransaction) -> TransactionId {
    endorsed.transaction.body.id()
}

/// A ledger with two blocks, a candidate for the third with a bit of everything, and the checkpoint it carries.
fn candidate() -> (Ledger, Block, Checkpoint) {
    let mut ledger = Ledger::new();
    let transaction = ledger.transaction(&owner(1), initial());
    let checkpoint = ledger.execute(vec![transaction], vec![]).checkpoint.unwrap();
    ledger.empty();
    let transactions = vec![ledger.transaction(&owner(1), initial()), ledger.transaction(&owner(2), initial())];
    let system = vec![ledger.system(1, vec![evidence(1)]), ledger.system(2, vec![evidence(1)])];
    let mut block = ledger.block(transactions, system);
    block.header.checkpoint = Some(cosigned(checkpoint, &[3, 4]));
    (ledger, block, checkpoint)
}

#[test]
fn a_block_that_keeps_every_rule_is_valid() {
    let (ledger, block, _) = candidate();
    verdict(&ledger, &block).unwrap();
    let empty = Ledger::new();
    verdict(&empty, &empty.block(vec![], vec![])).unwrap();
}

type Change = Box<dyn Fn(&mut Block, &mut Ledger, Checkpoint)>;
type Expected = fn(&BlockFault) -> bool;

fn row(
    name: &'static str,
    expected: Expected,
    change: impl Fn(&mut Block, &mut Ledger, Checkpoint) + 'static,
) -> (&'static str, Expected, Change) {
    (name, expected, Box::new(change))
}

fn of_transaction(fault: &BlockFault, expected: impl Fn(&TransactionError) -> bool) -> bool {
    matches!(fault, BlockFault::Transaction(error) if expected(error))
}

fn of_checkpoint(fault: &BlockFault, expected: impl Fn(&CheckpointError) -> bool) -> bool {
    matches!(fault, BlockFault::Checkpoint(error) if expected(error))
}

#[test]
fn every_fault_of_a_block_is_found() {
    use BlockFault::{
        CheckpointHeight, Configuration, Doubled, Expiry, NotEndorsed, NotMember, ParentSigners, TooLarge, WrongContext,
    };
    let rows = [
        row(
            "another network",
            |f| matches!(f, WrongContext),
            |b, _, _| {
                b.header.domain.network = dmdl_types::id::NetworkId::new([1; 32]);
            },
        ),
        row(
            "another channel",
            |f| matches!(f, WrongContext),
            |b, _, _| {
                b.header.domain.channel = dmdl_types::id::ChannelId::new([1; 32]);
            },
        ),
        row("another configuration", |f| matches!(f, Configuration), |b, _, _| b.header.config = next_config()),
        row(
            "another next configuration",
            |f| matches!(f, Configuration),
            |b, _, _| {
                b.header.next_config = config().digest();
            },
        ),
        row(
            "the parent's signers",
            |f| matches!(f, ParentSigners),
            |b, _, _| {
                b.header.parent_signers = vec![0b1_0111];
            },
        ),
        row(
            "a transaction that is too large",
            |f| matches!(f, TooLarge("transaction")),
            |b, l, _| {
                let policy = rules(&" ".repeat(limits::TRANSACTION_BYTES));
                let record = dmdl_types::id::RecordId::new([1; 32]);
                let call = Invocation::Access(Access::SetPolicy { record, policy });
                b.body.transactions.push(l.transaction(&owner(1), call));
            },
        ),
        row(
            "a system transaction that is too large",
            |f| matches!(f, TooLarge("system transaction")),
            |b, l, _| {
                b.body.system = vec![l.system(1, vec![evidence(limits::SYSTEM_TRANSACTION_BYTES)])];
            },
        ),
        row(
            "too many transactions",
            |f| matches!(f, TooLarge("transactions")),
            |b, l, _| {
                let len = dmdl_types::codec::encode(&b.body.transactions[0]).len();
                for _ in 0..limits::BLOCK_TRANSACTIONS_BYTES / len {
                    b.body.transactions.push(l.transaction(&owner(1), initial()));
                }
            },
        ),
        row(
            "too many system transactions",
            |f| matches!(f, TooLarge("system")),
            |b, l, _| {
                b.body.system = (1..=5).map(|_| l.system(1, vec![evidence(60_000)])).collect();
            },
        ),
        row(
            "a changed transaction",
            |f| of_transaction(f, |e| matches!(e, TransactionError::Signature(_))),
            |b, _, _| {
                b.body.transactions[0].transaction.body.nonce[0] ^= 1;
            },
        ),
        row(
            "a transaction of another channel",
            |f| of_transaction(f, |e| matches!(e, TransactionError::WrongContext)),
            {
                |b, l, _| {
                    let mut body = l.body(&owner(1), initial());
                    body.domain.channel = dmdl_types::id::ChannelId::new([1; 32]);
                    b.body.transactions[1] = endorse(body, &owner(1));
                }
            },
        ),
        row(
            "a forged endorsement",
            |f| of_transaction(f, |e| matches!(e, TransactionError::Endorsement(_))),
            |b, _, _| {
                b.body.transactions[0].endorsements[1].height = Height::new(5);
            },
        ),
        row(
            "endorsed by one organisation",
            |f| matches!(f, NotEndorsed(_)),
            |b, l, _| {
                let body = l.body(&owner(1), initial());
                b.body.transactions[0] = endorse_by(body, &owner(1), &[3]);
            },
        ),
        row(
            "endorsed by an outsider too",
            |f| matches!(f, NotEndorsed(_)),
            |b, l, _| {
                let body = l.body(&owner(1), initial());
                b.body.transactions[0] = endorse_by(body, &owner(1), &[1, 2, 99]);
            },
        ),
        row(
            "a transaction twice",
            |f| matches!(f, Doubled(_)),
            |b, _, _| {
                b.body.transactions[1] = b.body.transactions[0].clone();
            },
        ),
        row(
            "a transaction twice, endorsed by others",
            |f| matches!(f, Doubled(_)),
            |b, _, _| {
                let body = b.body.transactions[0].transaction.body.clone();
                b.body.transactions[1] = endorse_by(body, &owner(1), &[3, 4]);
            },
        ),
        row("an expired transaction", |f| matches!(f, Expiry(_)), |b, l, _| b.body.transactions[0] = expiring(l, 2)),
        row(
            "a transaction that expires too late",
            |f| matches!(f, Expiry(_)),
            |b, l, _| {
                b.body.transactions[0] = expiring(l, 3 + limits::EXPIRY_BLOCKS + 1);
            },
        ),
        row(
            "an expired system transaction",
            |f| matches!(f, Expiry(_)),
            |b, l, _| {
                b.body.system[0] = system_expiring(l, 1, 2);
            },
        ),
        row(
            "a system transaction that never expires",
            |f| matches!(f, Expiry(_)),
            |b, l, _| {
                b.body.system[0] = system_expiring(l, 1, u64::MAX);
            },
        ),
        row(
            "a system transaction of a stranger",
            |f| matches!(f, NotMember(_)),
            |b, l, _| {
                b.body.system[0] = l.system(99, vec![evidence(1)]);
            },
        ),
        row(
            "two system transactions of one node",
            |f| matches!(f, NotMember(_)),
            |b, l, _| {
                b.body.system[1] = l.system(1, vec![evidence(2)]);
            },
        ),
        row(
            "a system transaction without items",
            |f| of_transaction(f, |e| matches!(e, TransactionError::TooMany(_))),
            |b, l, _| b.body.system[0] = l.system(1, vec![]),
        ),
        row("a forged system transaction", |f| of_transaction(f, |e| matches!(e, TransactionError::Signature(_))), {
            |b, _, _| b.body.system[0].body.items.push(evidence(1))
        }),
        row(
            "a checkpoint of this height",
            |f| matches!(f, CheckpointHeight),
            |b, _, c| {
                b.header.checkpoint = Some(cosigned(Checkpoint { height: Height::new(3), ..c }, &[1, 2]));
            },
        ),
        row(
            "a checkpoint of one organisation",
            |f| of_checkpoint(f, |e| matches!(e, CheckpointError::TooFewOrgs { .. })),
            |b, _, c| b.header.checkpoint = Some(cosigned(c, &[1])),
        ),
        row(
            "a checkpoint by a stranger",
            |f| of_checkpoint(f, |e| matches!(e, CheckpointError::UnknownCosigner { .. })),
            |b, _, c| b.header.checkpoint = Some(cosigned(c, &[1, 2, 99])),
        ),
        row("a checkpoint of another channel", |f| of_checkpoint(f, |e| matches!(e, CheckpointError::OtherChannel)), {
            |b, _, c| {
                let channel = dmdl_types::id::ChannelId::new([1; 32]);
                b.header.checkpoint = Some(cosigned(Checkpoint { channel, ..c }, &[1, 2]));
            }
        }),
    ];
    for (name, expected, change) in rows {
        let (mut ledger, mut block, checkpoint) = candidate();
        change(&mut block, &mut ledger, checkpoint);
        let fault = verdict(&ledger, &block).expect_err(name);
        assert!(expected(&fault), "{name}: {fault}");
    }
}

#[test]
fn an_expiry_is_allowed_from_this_height_to_the_limit() {
    for (expires, valid) in [
        (0, false),
        (1, true),
        (1 + limits::EXPIRY_BLOCKS, true),
        (2 + limits::EXPIRY_BLOCKS, false),
        (u64::MAX, false),
    ] {
        let mut ledger = Ledger::new();
        let transaction = expiring(&mut ledger, expires);
        let block = ledger.block(vec![transaction], vec![]);
        assert_eq!(verdict(&ledger, &block).is_ok(), valid, "{expires}");
    }
}

#[test]
fn what_was_checked_once_is_not_trusted_in_another_form() {
    let (mut ledger, checked) = (Ledger::new(), Checked::default());
    let domain = ledger.domain();
    let good = ledger.transaction(&owner(1), initial());
    assert_eq!(checked.transaction(&good, &domain), Ok(id(&good)));
    assert_eq!(checked.transaction(&good, &domain), Ok(id(&good)));
    let mut forged = good.clone();
    forged.endorsements[0].signature = forged.endorsements[1].signature;
    assert!(checked.transaction(&forged, &domain).is_err());
    let mut forged = good.clone();
    forged.transaction.signatures[0] = forged.endorsements[0].signature;
    assert!(checked.transaction(&forged, &domain).is_err());
    assert!(checked.authored(&good.transaction, &domain).is_ok());
    assert!(checked.authored(&forged.transaction, &domain).is_err());
    let other = ledger.transaction(&owner(1), initial());
    assert!(checked.endorsement(&good.endorsements[0], good.transaction.digest(), &domain));
    assert!(!checked.endorsement(&good.endorsements[0], other.transaction.digest(), &domain));
    let mut forged = other;
    forged.endorsements = good.endorsements;
    assert!(checked.transaction(&forged, &domain).is_err());
    let system = ledger.system(1, vec![evidence(1)]);
    assert_eq!(checked.system(&system, &domain), Ok(system.id()));
    let mut forged = system;
    forged.signature = dmdl_types::sign::Signature::new([0; 64]);
    assert!(checked.system(&forged, &domain).is_err());
}

#[test]
fn of_many_that_come_together_each_is_judged_by_itself() {
    let (mut ledger, checked) = (Ledger::new(), Checked::default());
    let domain = ledger.domain();
    let mut batch: Vec<_> = (0..5).map(|_| ledger.transaction(&owner(1), initial())).collect();
    batch[1].endorsements[0].signature = batch[2].endorsements[0].signature;
    batch[3].transaction.signatures[0] = batch[2].transaction.signatures[0];
    for _ in 0..2 {
        let good = [true, false, true, false, true];
        assert_eq!(checked.transactions(&batch, &domain).iter().map(Result::is_ok).collect::<Vec<_>>(), good);
        let transactions: Vec<_> = batch.iter().map(|endorsed| &endorsed.transaction).collect();
        let good = [true, true, true, false, true];
        assert_eq!(checked.authored_all(&transactions, &domain).iter().map(Result::is_ok).collect::<Vec<_>>(), good);
    }
}

#[test]
fn the_rule_of_endorsement_counts_organisations() {
    let two_of_one = {
        let mut config = config();
        let merged = config.members[0].org.clone();
        config.members[1].org = merged;
        config
    };
    let mut ledger = Ledger::new();
    let nodes: Vec<NodeId> = two_of_one.members[..2].iter().map(|member| member.node).collect();
    let orgs: Vec<u8> = (1..=4).filter(|org| nodes.contains(&node_id(*org))).collect();
    let body = ledger.body(&owner(1), initial());
    let endorsed = endorse_by(body, &owner(1), &orgs);
    let satisfied = |config: &EpochConfig| endorse::satisfied(config, &endorsed.endorsements);
    assert!(satisfied(&config()));
    assert!(!satisfied(&two_of_one));
}
