//! What a custodian is told by its own node, and nothing else decides a release.

use super::*;
use crate::testing::*;
use dmdl_policies::templates::Template;
use dmdl_types::{
    event::Verdict,
    id::UseNumber,
    invocation::{Access, Invocation, Medical, Membership},
};

const V1: RecordVersion = RecordVersion::new(1);

/// A ledger on which researcher 2 has used a grant of owner 1's record once.
struct Opened {
    ledger: Ledger,
    record: RecordId,
    grant: GrantId,
    decryption: TransactionId,
}

fn opened(custodians: Vec<u8>) -> Opened {
    let mut ledger = Ledger::new();
    let deal = Deal { policy: Some(policy(Template::ResearchAuto)), custodians, ..Deal::default() };
    let record = ledger.active_record(&owner(1), &deal);
    let grant = ledger.granted(&researcher(2), record, terms(30, 2));
    let keys = ledger.opening_keys(&[1, 2, 3]);
    let call = Access::Decrypt { record, version: V1, authority: Authority::Grant(grant), keys };
    assert_eq!(ledger.access(&researcher(2), call).outcome.verdict, Verdict::Allow);
    let decryption = ledger.last_transaction();
    Opened { ledger, record, grant, decryption }
}

fn view(ledger: &Ledger, custodian: u8, id: TransactionId) -> ReleaseView {
    let channel = channel_over(ledger.store.clone(), genesis().founding());
    channel.release_view(node_id(custodian), id).unwrap()
}

#[test]
fn an_allowed_decryption_is_shown_with_the_custodians_own_share_and_key() {
    let Opened { ledger, record, grant, decryption } = opened(vec![3, 2, 1]);
    let row: DecryptionRow = ledger.row(&decryption).unwrap();
    let ends = ledger.row::<GrantRow>(&grant).unwrap().ends;
    for (custodian, index) in [(3, 1), (2, 2), (1, 3)] {
        let view = view(&ledger, custodian, decryption);
        let tip = ledger.executor.tip();
        assert_eq!((view.tip, view.tip_time, view.conflict_seen), (tip.height, tip.time, false));
        assert_eq!((view.key_active, view.suspended), (true, false));
        let shown = view.decryption.unwrap();
        assert_eq!((shown.transaction, shown.time), (decryption, tip.time));
        assert_eq!((shown.requester, shown.use_number), (researcher(2).public(), UseNumber::new(1)));
        assert_eq!(shown.grant, Some(GrantView { grant, uses_max: 2, ends, revoked: false }));
        let listed = row.keys.iter().find(|key| key.custodian == node_id(custodian));
        assert_eq!(shown.opening_key, listed.map(|key| key.key));
        let share = view.share.unwrap();
        assert_eq!((share.share.data.record, share.share.data.version), (record, V1));
        assert_eq!((share.share.custodian, share.share.index.get()), (node_id(custodian), index));
        assert_eq!((share.share.k, share.share.n, share.erased), (2, 3, false));
        assert_eq!(share.commitments, ledger.version_row(record, V1).commitments);
    }
    let stranger = view(&ledger, 4, decryption);
    assert_eq!(stranger.share, None);
    assert_eq!(stranger.decryption.unwrap().opening_key, None);
}

#[test]
fn what_was_ordered_and_not_allowed_is_no_decryption() {
    let Opened { mut ledger, record, grant, decryption } = opened(vec![1, 2, 3, 4]);
    let none = |ledger: &Ledger, name: &str| {
        let id = ledger.last_transaction();
        assert_ne!(id, decryption);
        assert!(crate::log::position(&ledger.store, id, 0).unwrap().is_some(), "{name}: it is in the log");
        assert_eq!(view(ledger, 2, id).decryption, None, "{name}");
    };
    ledger.access(&owner(1), Access::SetPolicy { record, policy: policy(Template::Closed) });
    none(&ledger, "a change of policy");
    let denied = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(denied.outcome.verdict, Verdict::Deny);
    none(&ledger, "denied by the policy");
    ledger.access(&owner(1), Access::Revoke { grant });
    let refused = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(refused.outcome.verdict, Verdict::Deny);
    none(&ledger, "under a revoked grant");
    assert_eq!(view(&ledger, 2, TransactionId::new([1; 32])).decryption, None, "never ordered");
}

#[test]
fn what_ends_a_right_is_seen_in_the_next_view() {
    let key = researcher(2).public();
    let of = |change: &dyn Fn(&mut Opened)| {
        let mut opened = opened(vec![1, 2, 3, 4]);
        change(&mut opened);
        view(&opened.ledger, 2, opened.decryption)
    };
    let revoked = of(&|o| drop(o.ledger.access(&owner(1), Access::Revoke { grant: o.grant })));
    assert!(revoked.decryption.unwrap().grant.unwrap().revoked);
    let erased = of(&|o| drop(o.ledger.access(&owner(1), Access::Erase { record: o.record })));
    assert!(erased.share.unwrap().erased);
    let suspended = of(&|o| drop(o.ledger.call(&admin(2), Invocation::Membership(Membership::Suspend { key }))));
    assert!(suspended.suspended && suspended.key_active);
    let left = of(&|o| drop(o.ledger.call(&admin(2), Invocation::Membership(Membership::Revoke { key }))));
    assert!(!left.key_active);
}

#[test]
fn an_owners_right_to_open_ends_with_the_ownership() {
    let Opened { mut ledger, record, .. } = opened(vec![1, 2, 3, 4]);
    ledger.decrypt(&owner(1), record, Authority::Owner);
    let own = ledger.last_transaction();
    assert_eq!(view(&ledger, 2, own).decryption.unwrap().grant, None);
    ledger.medical(&owner(1), Medical::Transfer { record, to: owner(3).public() });
    assert_eq!(view(&ledger, 2, own).decryption, None);
}
