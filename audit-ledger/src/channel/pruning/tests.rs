//! What stays of blocks that go, and which of them do.

use super::*;
use crate::testing::*;
use dmdl_policies::templates::Template;
use dmdl_types::{
    governance::{Change, Governance},
    invocation::Authority,
};

/// Lets the channel's blocks go, by the word of three organisations.
fn decide(ledger: &mut Ledger) {
    let call = |call| Invocation::Governance(call);
    let proposed = ledger.call(&admin(1), call(Governance::Propose { changes: vec![Change::PruneBlocks] }));
    for org in [2, 3] {
        ledger.call(&admin(org), call(Governance::Approve { proposal: proposed.transaction }));
    }
}

/// Every transaction of people that a channel over this ledger has, after it kept what it keeps of each block; with
/// whether it has it still.
fn kept(ledger: &Ledger) -> Vec<(Transaction, bool)> {
    let channel = channel_over(ledger.store.clone(), ledger.executor.founding().clone());
    let mut all = Vec::new();
    for block in &ledger.blocks {
        channel.keep_signed(block).unwrap();
        for transaction in block.body.transactions.iter().map(|endorsed| endorsed.transaction.clone()) {
            let signed = channel.signed(transaction.body.id()).unwrap();
            assert!(signed.is_none() || signed.as_ref() == Some(&transaction), "it is as it was signed");
            all.push((transaction, signed.is_some()));
        }
    }
    all
}

fn opened_once() -> Ledger {
    let mut ledger = Ledger::new();
    let record =
        ledger.active_record(&owner(1), &Deal { policy: Some(policy(Template::ResearchAuto)), ..Deal::default() });
    let grant = ledger.granted(&researcher(2), record, terms(30, 9));
    ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    ledger
}

#[test]
fn what_people_signed_stays_without_its_block_but_for_decryptions() {
    let mut ledger = opened_once();
    decide(&mut ledger);
    let mut decryptions = 0;
    for (transaction, is_kept) in kept(&ledger) {
        let is_decryption = matches!(transaction.body.invocation, Invocation::Access(Access::Decrypt { .. }));
        assert_eq!(is_kept, !is_decryption, "{:?}", transaction.body.invocation);
        decryptions += usize::from(is_decryption);
    }
    assert_eq!(decryptions, 1);
}

#[test]
fn a_channel_that_keeps_its_blocks_keeps_nothing_twice() {
    let ledger = opened_once();
    let all = kept(&ledger);
    assert!(!all.is_empty() && all.iter().all(|(_, is_kept)| !is_kept));
    let channel = channel_over(ledger.store.clone(), ledger.executor.founding().clone());
    assert_eq!(channel.pruned_below().unwrap(), None);
}

#[test]
fn blocks_go_behind_a_snapshot_and_behind_the_last_epochs() {
    let below = |snapshot: Option<u64>, epoch| super::below(snapshot.map(Height::new), Epoch::new(epoch), 10).get();
    assert_eq!(below(None, 1000), 0, "nobody could join");
    assert_eq!(below(Some(500), 1000), 500);
    assert_eq!(below(Some(9000), 1000), (1000 - EPOCHS_KEPT) * 10);
    assert_eq!(below(Some(15), EPOCHS_KEPT), 0, "somebody may be behind by as much");
    assert_eq!(below(Some(15), EPOCHS_KEPT + 1), 10);
}

#[test]
fn whoever_is_far_behind_is_told_once_when_more_say_so_than_may_lie() {
    let config = genesis().epoch_config(Epoch::new(0));
    let mut ahead = Ahead::default();
    assert!(!ahead.hear(node_id(9), &config), "a stranger");
    assert!(!ahead.hear(node_id(1), &config));
    assert!(!ahead.hear(node_id(1), &config), "one voice, however often");
    assert!(ahead.hear(node_id(2), &config));
    assert!(!ahead.hear(node_id(3), &config), "it is said once");
}
