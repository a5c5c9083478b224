//! What the pool makes blocks of.

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
    let body = pool.body(parent(), Height::new(1), Height::new(0), &config());
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
    let body = pool.body(parent(), Height::new(1), Height::new(0), &config());
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
    assert!(pool.is_full());
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
    let after = |pool: &Pool, parent: &Block| ids(&pool.body(parent.digest(), Height::new(2), executed, &config()));
    assert_eq!(after(&pool, &left), [b, c]);
    assert_eq!(after(&pool, &right), [a, c]);
    assert_eq!(after(&pool, &child), [b]);
    assert!(pool.is_ready(child.digest(), executed, &config()));
    // The left one becomes final: what only the fork had still waits.
    pool.settle(&left);
    assert_eq!(pool.len(), 2);
    assert_eq!(ids(&pool.body(child.digest(), Height::new(3), Height::new(1), &config())), [b]);
    assert_eq!(ids(&pool.body(left.digest(), Height::new(2), Height::new(1), &config())), [b, c]);
}

#[test]
fn an_ancestor_that_is_executed_holds_nothing_back() {
    let mut ledger = Ledger::new();
    let (mut pool, transactions) = filled(&mut ledger, 1);
    let block = ledger.block(transactions.clone(), vec![]);
    pool.observe(block.digest(), &block);
    assert!(!pool.is_ready(block.digest(), Height::new(0), &config()));
    assert!(pool.is_ready(block.digest(), Height::new(1), &config()));
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
    assert!(pool.is_ready(parent(), Height::new(2), &config()));
    assert!(!pool.is_ready(parent(), Height::new(3), &config()));
    assert!(pool.body(parent(), Height::new(4), Height::new(3), &config()).transactions.is_empty());
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
    let body = pool.body(parent(), Height::new(2), Height::new(1), &config());
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
    let body = pool.body(parent(), Height::new(1), Height::new(0), &config());
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
    let body = pool.body(parent(), Height::new(1), Height::new(0), &config());
    assert_eq!((body.transactions.len(), body.system.len()), (12, 4));
    let block = ledger.block(body.transactions, body.system);
    verdict(&ledger, &block).unwrap();
    assert!(dmdl_types::codec::encode(&block).len() <= limits::BLOCK_BYTES);
}

/// The configuration without an organisation's node.
fn without(org: u8) -> EpochConfig {
    let mut config = config();
    config.members.retain(|member| member.node != node_id(org));
    config
}

#[test]
fn what_those_who_have_left_endorsed_or_said_is_in_no_block_and_is_let_go_as_the_epoch_begins() {
    let mut ledger = Ledger::new();
    let (mut pool, transactions) = filled(&mut ledger, 1);
    let endorser = transactions[0].endorsements[0].endorser;
    let org = (1..=4).find(|org| node_id(*org) == endorser).unwrap();
    let (leaves, stays) = (ledger.system(org, vec![evidence(1)]), ledger.system(org % 4 + 1, vec![evidence(1)]));
    for system in [&leaves, &stays] {
        assert!(pool.insert_system(system.id(), system.clone()));
    }
    let left = without(org);
    let begins = |pool: &Pool| {
        assert!(!pool.is_ready(parent(), Height::new(0), &left));
        let body = pool.body(parent(), Height::new(1), Height::new(0), &left);
        assert_eq!((body.transactions, body.system), (vec![], vec![stays.clone()]));
    };
    begins(&pool);
    pool.begin(&config());
    assert_eq!(pool.len(), 1, "nobody has left");
    pool.begin(&left);
    begins(&pool);
    assert!(pool.is_empty());
    // Endorsed anew, it has a place.
    assert_eq!(pool.insert(id(&transactions[0]), transactions[0].clone()), Ok(true));
    assert!(pool.insert_system(leaves.id(), leaves));
}
