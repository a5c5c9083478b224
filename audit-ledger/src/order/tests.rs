//! What makes a candidate block invalid, and what the pool makes blocks of.

use super::*;
use crate::{endorse, testing::*};
use dmdl_types::{
    block::Block,
    checkpoint::{Checkpoint, CheckpointError},
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
    SystemItem::Evidence { kind: 1, bytes: vec![0; len] }
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
    use BlockFault::*;
    let rows = [
        row("another network", |f| matches!(f, WrongContext), |b, _, _| {
            b.header.domain.network = dmdl_types::id::NetworkId::new([1; 32]);
        }),
        row("another channel", |f| matches!(f, WrongContext), |b, _, _| {
            b.header.domain.channel = dmdl_types::id::ChannelId::new([1; 32]);
        }),
        row("another configuration", |f| matches!(f, Configuration), |b, _, _| b.header.config = next_config()),
        row("another next configuration", |f| matches!(f, Configuration), |b, _, _| {
            b.header.next_config = config().digest();
        }),
        row("the parent's signers", |f| matches!(f, NotEmpty("parent_signers")), |b, _, _| {
            b.header.parent_signers = vec![7];
        }),
        row("a transaction that is too large", |f| matches!(f, TooLarge("transaction")), |b, l, _| {
            let policy = rules(&" ".repeat(limits::TRANSACTION_BYTES));
            let record = dmdl_types::id::RecordId::new([1; 32]);
            let call = Invocation::Access(Access::SetPolicy { record, policy });
            b.body.transactions.push(l.transaction(&owner(1), call));
        }),
        row("a system transaction that is too large", |f| matches!(f, TooLarge("system transaction")), |b, l, _| {
            b.body.system = vec![l.system(1, vec![evidence(limits::SYSTEM_TRANSACTION_BYTES)])];
        }),
        row("too many transactions", |f| matches!(f, TooLarge("transactions")), |b, l, _| {
            let len = dmdl_types::codec::encode(&b.body.transactions[0]).len();
            for _ in 0..limits::BLOCK_TRANSACTIONS_BYTES / len {
                b.body.transactions.push(l.transaction(&owner(1), initial()));
            }
        }),
        row("too many system transactions", |f| matches!(f, TooLarge("system")), |b, l, _| {
            b.body.system = (1..=5).map(|_| l.system(1, vec![evidence(60_000)])).collect();
        }),
        row("a changed transaction", |f| of_transaction(f, |e| matches!(e, TransactionError::Signature(_))), |b, _, _| {
            b.body.transactions[0].transaction.body.nonce[0] ^= 1;
        }),
        row("a transaction of another channel", |f| of_transaction(f, |e| matches!(e, TransactionError::WrongContext)), {
            |b, l, _| {
                let mut body = l.body(&owner(1), initial());
                body.domain.channel = dmdl_types::id::ChannelId::new([1; 32]);
                b.body.transactions[1] = endorse(body, &owner(1));
            }
        }),
        row("a forged endorsement", |f| of_transaction(f, |e| matches!(e, TransactionError::Endorsement(_))), |b, _, _| {
            b.body.transactions[0].endorsements[1].height = Height::new(5);
        }),
        row("endorsed by one organisation", |f| matches!(f, NotEndorsed(_)), |b, l, _| {
            let body = l.body(&owner(1), initial());
            b.body.transactions[0] = endorse_by(body, &owner(1), &[3]);
        }),
        row("endorsed by an outsider too", |f| matches!(f, NotEndorsed(_)), |b, l, _| {
            let body = l.body(&owner(1), initial());
            b.body.transactions[0] = endorse_by(body, &owner(1), &[1, 2, 99]);
        }),
        row("a transaction twice", |f| matches!(f, Doubled(_)), |b, _, _| {
            b.body.transactions[1] = b.body.transactions[0].clone();
        }),
        row("a transaction twice, endorsed by others", |f| matches!(f, Doubled(_)), |b, _, _| {
            let body = b.body.transactions[0].transaction.body.clone();
            b.body.transactions[1] = endorse_by(body, &owner(1), &[3, 4]);
        }),
        row("an expired transaction", |f| matches!(f, Expiry(_)), |b, l, _| b.body.transactions[0] = expiring(l, 2)),
        row("a transaction that expires too late", |f| matches!(f, Expiry(_)), |b, l, _| {
            b.body.transactions[0] = expiring(l, 3 + limits::EXPIRY_BLOCKS + 1);
        }),
        row("an expired system transaction", |f| matches!(f, Expiry(_)), |b, l, _| {
            b.body.system[0] = system_expiring(l, 1, 2);
        }),
        row("a system transaction that never expires", |f| matches!(f, Expiry(_)), |b, l, _| {
            b.body.system[0] = system_expiring(l, 1, u64::MAX);
        }),
        row("a system transaction of a stranger", |f| matches!(f, NotMember(_)), |b, l, _| {
            b.body.system[0] = l.system(99, vec![evidence(1)]);
        }),
        row("two system transactions of one node", |f| matches!(f, NotMember(_)), |b, l, _| {
            b.body.system[1] = l.system(1, vec![evidence(2)]);
        }),
        row("a system transaction without items", |f| of_transaction(f, |e| matches!(e, TransactionError::TooMany(_))), {
            |b, l, _| b.body.system[0] = l.system(1, vec![])
        }),
        row("a forged system transaction", |f| of_transaction(f, |e| matches!(e, TransactionError::Signature(_))), {
            |b, _, _| b.body.system[0].body.items.push(evidence(1))
        }),
        row("a checkpoint of this height", |f| matches!(f, CheckpointHeight), |b, _, c| {
            b.header.checkpoint = Some(cosigned(Checkpoint { height: Height::new(3), ..c }, &[1, 2]));
        }),
        row("a checkpoint of one organisation", |f| of_checkpoint(f, |e| matches!(e, CheckpointError::TooFewOrgs { .. })), {
            |b, _, c| b.header.checkpoint = Some(cosigned(c, &[1]))
        }),
        row("a checkpoint by a stranger", |f| of_checkpoint(f, |e| matches!(e, CheckpointError::UnknownCosigner { .. })), {
            |b, _, c| b.header.checkpoint = Some(cosigned(c, &[1, 2, 99]))
        }),
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
    for (expires, valid) in
        [(0, false), (1, true), (1 + limits::EXPIRY_BLOCKS, true), (2 + limits::EXPIRY_BLOCKS, false), (u64::MAX, false)]
    {
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
    let mut forged = good;
    forged.transaction.signatures[0] = forged.endorsements[0].signature;
    assert!(checked.transaction(&forged, &domain).is_err());
    let system = ledger.system(1, vec![evidence(1)]);
    assert_eq!(checked.system(&system, &domain), Ok(system.id()));
    let mut forged = system;
    forged.signature = dmdl_types::sign::Signature::new([0; 64]);
    assert!(checked.system(&forged, &domain).is_err());
}

mod pool {
    use super::*;

    fn parent() -> BlockDigest {
        BlockDigest::new([7; 32])
    }

    fn ids(block: &dmdl_types::block::Body) -> Vec<TransactionId> {
        block.transactions.iter().map(id).collect()
    }

    fn filled(ledger: &mut Ledger, count: usize) -> (Pool, Vec<EndorsedTransaction>) {
        let mut pool = Pool::default();
        let transactions: Vec<_> = (0..count).map(|_| ledger.transaction(&owner(1), initial())).collect();
        for transaction in &transactions {
            assert_eq!(pool.insert(id(transaction), transaction.clone()), Ok(true));
        }
        (pool, transactions)
    }

    #[test]
    fn the_oldest_come_first_and_each_once() {
        let mut ledger = Ledger::new();
        let (mut pool, transactions) = filled(&mut ledger, 5);
        assert_eq!(pool.insert(id(&transactions[2]), transactions[2].clone()), Ok(false));
        assert_eq!(pool.len(), 5);
        let body = pool.body(parent(), Height::new(1), Height::new(0));
        assert_eq!(body.transactions, transactions);
    }

    #[test]
    fn a_block_of_the_pool_is_valid_whatever_was_put_in() {
        let mut ledger = Ledger::new();
        let mut pool = Pool::default();
        for expires in [0, 1, 50, 1 + limits::EXPIRY_BLOCKS, 2 + limits::EXPIRY_BLOCKS, u64::MAX] {
            let transaction = expiring(&mut ledger, expires);
            pool.insert(id(&transaction), transaction).unwrap();
            for org in 1..=2 {
                let system = system_expiring(&mut ledger, org, expires);
                pool.insert_system(system.id(), system);
            }
        }
        let body = pool.body(parent(), Height::new(1), Height::new(0));
        assert_eq!((body.transactions.len(), body.system.len()), (3, 2));
        let block = ledger.block(body.transactions, body.system);
        verdict(&ledger, &block).unwrap();
    }

    #[test]
    fn a_transaction_that_no_block_could_hold_is_not_let_in() {
        let (mut ledger, checked) = (Ledger::new(), Checked::default());
        let domain = ledger.domain();
        let record = dmdl_types::id::RecordId::new([1; 32]);
        let policy = rules(&" ".repeat(limits::TRANSACTION_BYTES));
        let large = ledger.transaction(&owner(1), Invocation::Access(Access::SetPolicy { record, policy }));
        assert!(matches!(checked.transaction(&large, &domain), Err(TransactionError::Decode(_))));
        let large = ledger.system(1, vec![evidence(limits::SYSTEM_TRANSACTION_BYTES)]);
        assert!(matches!(checked.system(&large, &domain), Err(TransactionError::Decode(_))));
    }

    #[test]
    fn a_full_pool_says_so_and_takes_again_when_it_has_room() {
        let mut ledger = Ledger::new();
        let mut pool = Pool::default();
        let mut transaction = ledger.transaction(&owner(1), initial());
        let name = |n: u64| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            TransactionId::new(id)
        };
        for n in 0..20_000 {
            assert_eq!(pool.insert(name(n), transaction.clone()), Ok(true), "{n}");
        }
        assert_eq!(pool.insert(name(20_000), transaction.clone()), Err(Busy { retry_after_ms: 500 }));
        assert_eq!(pool.insert(name(7), transaction.clone()), Ok(false), "what is there is no overload");
        // Bytes are bounded as well.
        let mut pool = Pool::default();
        let policy = rules(&" ".repeat(60_000));
        let record = dmdl_types::id::RecordId::new([1; 32]);
        transaction.transaction.body.invocation = Invocation::Access(Access::SetPolicy { record, policy });
        let taken = (0..20_000).take_while(|n| pool.insert(name(*n), transaction.clone()).is_ok()).count();
        assert!((500..600).contains(&taken), "{taken}");
    }

    #[test]
    fn what_an_ancestor_has_is_not_proposed_again_and_what_a_fork_has_is() {
        let mut ledger = Ledger::new();
        let (mut pool, transactions) = filled(&mut ledger, 3);
        let [a, b, c] = [0, 1, 2].map(|i| id(&transactions[i]));
        let left = ledger.block(vec![transactions[0].clone()], vec![]);
        let mut right = ledger.block(vec![transactions[1].clone()], vec![]);
        right.header.view = dmdl_types::id::View::new(9);
        let mut child = ledger.block(vec![transactions[2].clone()], vec![]);
        child.header.parent = left.digest();
        child.header.height = Height::new(2);
        for block in [&left, &right, &child] {
            pool.observe(block.digest(), block);
        }
        let executed = Height::new(0);
        let after = |pool: &Pool, parent: &Block| ids(&pool.body(parent.digest(), Height::new(2), executed));
        assert_eq!(after(&pool, &left), [b, c]);
        assert_eq!(after(&pool, &right), [a, c]);
        assert_eq!(after(&pool, &child), [b]);
        assert!(pool.is_ready(child.digest(), executed));
        // The left one becomes final: what only the fork had still waits.
        pool.settle(&left);
        assert_eq!(pool.len(), 2);
        assert_eq!(ids(&pool.body(child.digest(), Height::new(3), Height::new(1))), [b]);
        assert_eq!(ids(&pool.body(left.digest(), Height::new(2), Height::new(1))), [b, c]);
    }

    #[test]
    fn an_ancestor_that_is_executed_holds_nothing_back() {
        let mut ledger = Ledger::new();
        let (mut pool, transactions) = filled(&mut ledger, 1);
        let block = ledger.block(transactions.clone(), vec![]);
        pool.observe(block.digest(), &block);
        assert!(!pool.is_ready(block.digest(), Height::new(0)));
        assert!(pool.is_ready(block.digest(), Height::new(1)));
    }

    #[test]
    fn only_what_the_next_block_may_hold_makes_a_proposer_hurry() {
        let mut ledger = Ledger::new();
        let mut pool = Pool::default();
        for expires in [3, u64::MAX] {
            let transaction = expiring(&mut ledger, expires);
            pool.insert(id(&transaction), transaction).unwrap();
        }
        let system = ledger.system(1, vec![evidence(1)]);
        pool.insert_system(system.id(), system);
        assert!(pool.is_ready(parent(), Height::new(2)));
        assert!(!pool.is_ready(parent(), Height::new(3)));
        assert!(pool.body(parent(), Height::new(4), Height::new(3)).transactions.is_empty());
    }

    #[test]
    fn what_was_executed_or_has_expired_is_let_go() {
        let mut ledger = Ledger::new();
        let (mut pool, transactions) = filled(&mut ledger, 2);
        let late = expiring(&mut ledger, 1);
        pool.insert(id(&late), late).unwrap();
        let (done, waits) = (ledger.system(1, vec![evidence(1)]), ledger.system(1, vec![evidence(2)]));
        let gone = system_expiring(&mut ledger, 2, 1);
        for system in [&done, &waits, &gone] {
            assert!(pool.insert_system(system.id(), system.clone()));
        }
        assert!(!pool.insert_system(done.id(), done.clone()));
        pool.settle(&ledger.block(vec![transactions[0].clone()], vec![done.clone()]));
        let body = pool.body(parent(), Height::new(2), Height::new(1));
        assert_eq!((body.transactions, body.system), (vec![transactions[1].clone()], vec![waits]));
        assert_eq!(pool.len(), 1);
        assert!(!pool.is_empty());
        // Its place is free again.
        assert!(pool.insert_system(done.id(), done));
    }

    #[test]
    fn a_block_has_one_system_transaction_of_a_node_and_a_node_takes_no_more_than_its_share() {
        let mut ledger = Ledger::new();
        let mut pool = Pool::default();
        let first = ledger.system(1, vec![evidence(1)]);
        assert!(pool.insert_system(first.id(), first.clone()));
        let of_another = ledger.system(2, vec![evidence(1)]);
        assert!(pool.insert_system(of_another.id(), of_another.clone()));
        for n in 2..=65 {
            let more = ledger.system(1, vec![evidence(1)]);
            assert_eq!(pool.insert_system(more.id(), more), n <= 64, "{n}");
        }
        let body = pool.body(parent(), Height::new(1), Height::new(0));
        assert_eq!(body.system.len(), 2);
        assert!(body.system.contains(&first) && body.system.contains(&of_another), "the oldest of each");
    }

    #[test]
    fn a_block_of_a_full_pool_fits_its_limits() {
        let mut ledger = Ledger::new();
        let mut pool = Pool::default();
        let record = dmdl_types::id::RecordId::new([1; 32]);
        for _ in 0..15 {
            let call = Invocation::Access(Access::SetPolicy { record, policy: rules(&" ".repeat(50_000)) });
            let transaction = ledger.transaction(&owner(1), call);
            pool.insert(id(&transaction), transaction).unwrap();
        }
        for org in 1..=4 {
            let system = ledger.system(org, vec![evidence(65_000)]);
            pool.insert_system(system.id(), system);
        }
        let body = pool.body(parent(), Height::new(1), Height::new(0));
        assert_eq!((body.transactions.len(), body.system.len()), (13, 4));
        let block = ledger.block(body.transactions, body.system);
        verdict(&ledger, &block).unwrap();
        assert!(dmdl_types::codec::encode(&block).len() <= limits::BLOCK_BYTES);
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
