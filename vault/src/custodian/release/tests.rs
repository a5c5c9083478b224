//! Each clause of the release rule, alone and in every combination.

use super::*;
use crate::{
    custodian::tests::{custodian_context, domain, public, signer},
    keys::tests::weak_keys,
    seal::tests::altered_share_contexts,
};
use dmdl_types::{
    custody::GrantView,
    id::{ChannelId, DealingId, Height, NetworkId, ShareIndex},
    secret::Secret32,
};

const TIP: u64 = 1_800_000_000_000;

/// An ask as it comes to the rule.
#[derive(Clone)]
struct Ask {
    rule: ReleaseRule,
    asked: TransactionId,
    view: ReleaseView,
    held: Option<ShareContext>,
    clock: UnixMillis,
}

impl Ask {
    fn check(&self) -> Result<ReleasePermit, ReleaseError> {
        self.rule.check(self.asked, &self.view, self.held.as_ref(), self.clock)
    }

    fn decryption(&mut self) -> &mut AllowedDecryption {
        self.view.decryption.as_mut().unwrap()
    }

    fn grant(&mut self) -> &mut GrantView {
        self.decryption().grant.as_mut().unwrap()
    }

    fn share(&mut self) -> &mut ShareView {
        self.view.share.as_mut().unwrap()
    }
}

/// An ask for which every clause holds.
fn good() -> Ask {
    let (dealing, share) = custodian_context();
    let asked = TransactionId::new([7; 32]);
    let grant =
        GrantView { grant: GrantId::new([8; 32]), uses_max: 3, ends: UnixMillis::new(TIP + 60_000), revoked: false };
    let decryption = AllowedDecryption {
        transaction: asked,
        time: UnixMillis::new(TIP - 1_000),
        requester: public(0x21),
        grant: Some(grant),
        use_number: UseNumber::new(3),
        opening_key: Some(crate::keys::x25519_public(&Secret32::new([9; 32]))),
    };
    let view = ReleaseView {
        network: domain().network,
        channel: domain().channel,
        tip: Height::new(40),
        tip_time: UnixMillis::new(TIP),
        conflict_seen: false,
        decryption: Some(decryption),
        share: Some(ShareView { share, commitments: dealing.commitments().as_bytes().to_vec(), erased: false }),
        key_active: true,
        suspended: false,
    };
    let limits = ReleaseLimits::of_channel(2_000, 4_000, 1);
    let rule = ReleaseRule { pinned: domain(), me: share.custodian, limits };
    Ask { rule, asked, view, held: Some(share), clock: UnixMillis::new(TIP + 500) }
}

fn refused(break_it: impl FnOnce(&mut Ask)) -> ReleaseError {
    let mut ask = good();
    break_it(&mut ask);
    ask.check().unwrap_err()
}

fn record() -> RecordId {
    custodian_context().1.data.record
}

#[test]
fn a_permit_is_bound_to_what_the_ledger_says() {
    let ask = good();
    let permit = ask.check().unwrap();
    let expected = ReleaseContext {
        share: custodian_context().1,
        transaction: ask.asked,
        requester: public(0x21),
        opening_key: crate::keys::x25519_public(&Secret32::new([9; 32])),
    };
    assert_eq!(*permit.context(), expected);
    assert_eq!(permit.grant, Some(GrantId::new([8; 32])));
    assert_eq!(permit.until, UnixMillis::new(TIP + 60_000));
}

#[test]
fn clause_1_another_network_or_channel_is_refused() {
    assert_eq!(refused(|ask| ask.view.network = NetworkId::new([0xaa; 32])), ReleaseError::OtherLedger);
    assert_eq!(refused(|ask| ask.view.channel = ChannelId::new([0xaa; 32])), ReleaseError::OtherLedger);
}

#[test]
fn clause_1_a_share_of_another_network_or_channel_is_refused() {
    for alter in [
        |data: &mut DataContext| data.network = NetworkId::new([0xaa; 32]),
        |data: &mut DataContext| data.channel = ChannelId::new([0xaa; 32]),
    ] {
        let refusal = refused(|ask| {
            alter(&mut ask.share().share.data);
            ask.held = Some(ask.share().share);
        });
        assert_eq!(refusal, ReleaseError::OtherLedger);
    }
}

#[test]
fn clause_2_after_a_conflict_nothing_is_released() {
    assert_eq!(refused(|ask| ask.view.conflict_seen = true), ReleaseError::ConflictSeen);
}

#[test]
fn clause_3_what_was_not_executed_and_allowed_here_is_refused() {
    let asked = good().asked;
    assert_eq!(refused(|ask| ask.view.decryption = None), ReleaseError::NotAllowed { asked });
    assert_eq!(
        refused(|ask| ask.decryption().transaction = TransactionId::new([0xaa; 32])),
        ReleaseError::NotAllowed { asked }
    );
}

#[test]
fn clause_4_a_use_beyond_the_grant_is_refused() {
    for number in [0, 4, u32::MAX] {
        let number = UseNumber::new(number);
        assert_eq!(refused(|ask| ask.decryption().use_number = number), ReleaseError::UsedUp { number, max: 3 });
    }
}

#[test]
fn clause_5_a_revoked_grant_is_refused() {
    let grant = GrantId::new([8; 32]);
    assert_eq!(refused(|ask| ask.grant().revoked = true), ReleaseError::GrantRevoked { grant });
}

#[test]
fn clause_6_an_inactive_key_is_refused() {
    assert_eq!(refused(|ask| ask.view.key_active = false), ReleaseError::KeyInactive);
}

#[test]
fn clause_7_a_suspended_requester_is_refused() {
    assert_eq!(refused(|ask| ask.view.suspended = true), ReleaseError::RequesterSuspended);
}

#[test]
fn clause_8_a_node_that_is_no_custodian_refuses() {
    assert_eq!(refused(|ask| ask.view.share = None), ReleaseError::NotCustodian);
    let other = refused(|ask| {
        ask.share().share.custodian = NodeId::new([0xaa; 32]);
        ask.held = Some(ask.share().share);
    });
    assert_eq!(other, ReleaseError::NotCustodian);
}

#[test]
fn clause_9_an_erased_record_is_refused() {
    assert_eq!(refused(|ask| ask.share().erased = true), ReleaseError::RecordErased { record: record() });
}

#[test]
fn clause_10_without_a_share_of_the_current_epoch_nothing_is_released() {
    assert_eq!(refused(|ask| ask.held = None), ReleaseError::NotHeld { record: record() });
    let (zero, one) = (ShareEpoch::new(0), ShareEpoch::new(1));
    assert_eq!(
        refused(|ask| ask.share().share.epoch = one),
        ReleaseError::OtherEpoch { record: record(), held: zero, current: one }
    );
    assert_eq!(
        refused(|ask| ask.held.as_mut().unwrap().epoch = one),
        ReleaseError::OtherEpoch { record: record(), held: one, current: zero }
    );
}

#[test]
fn clause_11_a_held_share_that_differs_anywhere_from_the_ledgers_is_refused() {
    let held = good().held.unwrap();
    let others: Vec<_> = altered_share_contexts(&held).into_iter().filter(|other| other.epoch == held.epoch).collect();
    assert_eq!(others.len(), 9);
    for other in others {
        assert_eq!(refused(|ask| ask.held = Some(other)), ReleaseError::OtherShare { record: record() }, "{other:?}");
    }
}

#[test]
fn clause_12_after_the_release_window_nothing_is_released() {
    let ended = UnixMillis::new(TIP - 1);
    let time = UnixMillis::new(TIP - 1 - RELEASE_WINDOW_MS);
    assert_eq!(refused(|ask| ask.decryption().time = time), ReleaseError::WindowEnded { ended });
    // An owner, too; and not a millisecond early.
    let mut owner = good();
    owner.decryption().grant = None;
    owner.decryption().time = time;
    assert_eq!(owner.check().unwrap_err(), ReleaseError::WindowEnded { ended });
    owner.decryption().time = UnixMillis::new(TIP - RELEASE_WINDOW_MS);
    assert_eq!(owner.check().unwrap().until, UnixMillis::new(TIP));
}

#[test]
fn clause_13_after_the_grants_end_nothing_is_released() {
    let ended = UnixMillis::new(TIP - 1);
    assert_eq!(refused(|ask| ask.grant().ends = ended), ReleaseError::GrantEnded { ended });
    let mut last = good();
    last.grant().ends = UnixMillis::new(TIP);
    assert_eq!(last.check().unwrap().until, UnixMillis::new(TIP));
}

#[test]
fn clause_14_a_clock_behind_the_ledger_refuses() {
    let behind = UnixMillis::new(TIP - CLOCK_BOUND_MS - 1);
    assert_eq!(refused(|ask| ask.clock = behind), ReleaseError::ClockBehind { lag_ms: CLOCK_BOUND_MS + 1 });
    let mut bound = good();
    bound.clock = UnixMillis::new(TIP - CLOCK_BOUND_MS);
    assert!(bound.check().is_ok());
}

#[test]
fn clause_15_a_stale_tip_refuses() {
    let late = UnixMillis::new(TIP + STALENESS_MIN_MS + 1);
    assert_eq!(refused(|ask| ask.clock = late), ReleaseError::TipStale { age_ms: STALENESS_MIN_MS + 1 });
    assert_eq!(refused(|ask| ask.clock = UnixMillis::new(u64::MAX)), ReleaseError::TipStale { age_ms: u64::MAX - TIP });
    let mut limit = good();
    limit.clock = UnixMillis::new(TIP + STALENESS_MIN_MS);
    assert!(limit.check().is_ok());
}

#[test]
fn clause_16_without_a_listed_key_nothing_is_released() {
    let asked = good().asked;
    assert_eq!(refused(|ask| ask.decryption().opening_key = None), ReleaseError::NoOpeningKey { asked });
}

#[test]
fn clause_17_a_weak_key_is_refused() {
    let weak = weak_keys();
    assert!(weak.len() >= 12);
    for key in weak {
        let refusal = refused(|ask| ask.decryption().opening_key = Some(key));
        assert!(matches!(refusal, ReleaseError::BadOpeningKey(_)), "{key:?}: {refusal}");
    }
}

#[test]
fn clause_18_commitments_of_another_dealing_are_refused() {
    for break_it in [
        |commitments: &mut Vec<[u8; 32]>| commitments.swap(0, 1),
        |commitments: &mut Vec<[u8; 32]>| commitments.truncate(1),
        |commitments: &mut Vec<[u8; 32]>| commitments.clear(),
        |commitments: &mut Vec<[u8; 32]>| commitments[1] = [0xff; 32],
    ] {
        let refusal = refused(|ask| break_it(&mut ask.share().commitments));
        assert!(matches!(refusal, ReleaseError::BadCommitments(_)), "{refusal}");
    }
}

#[test]
fn clause_18_a_share_that_is_not_the_committed_one_is_not_sealed() {
    let rng = &mut crate::custodian::tests::rng(1);
    for bad in crate::custodian::tests::bad_shares() {
        let refusal = good().check().unwrap().seal(rng, bad, &signer(2)).unwrap_err();
        assert!(matches!(refusal, ReleaseError::NotCommitted(_) | ReleaseError::NotSealed(_)), "{refusal}");
    }
    let good_share = crate::custodian::tests::good_share();
    let other_signer = good().check().unwrap().seal(rng, good_share, &signer(1)).unwrap_err();
    assert_eq!(other_signer, ReleaseError::NotSealed(SealError::OtherCustodian));
}

/// Every way to break one clause, for the combinations.
const BREAKAGES: [fn(&mut Ask); 16] = [
    |ask| ask.view.network = NetworkId::new([0xaa; 32]),
    |ask| ask.view.conflict_seen = true,
    |ask| ask.asked = TransactionId::new([0xaa; 32]),
    |ask| ask.decryption().use_number = UseNumber::new(4),
    |ask| ask.grant().revoked = true,
    |ask| ask.view.key_active = false,
    |ask| ask.view.suspended = true,
    |ask| ask.rule.me = NodeId::new([0xaa; 32]),
    |ask| ask.share().erased = true,
    |ask| ask.share().share.epoch = ShareEpoch::new(1),
    |ask| ask.share().share.index = ShareIndex::new(3),
    |ask| ask.decryption().time = UnixMillis::new(0),
    |ask| ask.grant().ends = UnixMillis::new(TIP - 1),
    |ask| ask.clock = UnixMillis::new(TIP - 3_000),
    |ask| ask.decryption().opening_key = Some([0; 32]),
    |ask| ask.share().share.dealing = DealingId::new([0xaa; 32]),
];

#[test]
fn a_permit_exists_exactly_when_no_clause_is_broken() {
    let good = good();
    for mask in 0..1_u32 << BREAKAGES.len() {
        let mut ask = good.clone();
        for (i, break_it) in BREAKAGES.iter().enumerate() {
            if mask >> i & 1 == 1 {
                break_it(&mut ask);
            }
        }
        assert_eq!(ask.check().is_ok(), mask == 0, "{mask:016b}");
    }
}

#[test]
fn only_what_may_pass_by_itself_says_so() {
    assert!(refused(|ask| ask.view.decryption = None).may_pass());
    assert!(refused(|ask| ask.clock = UnixMillis::new(0)).may_pass());
    assert!(!refused(|ask| ask.grant().revoked = true).may_pass());
    assert!(!refused(|ask| ask.share().erased = true).may_pass());
}

#[test]
fn staleness_follows_the_channel_and_has_a_floor() {
    assert_eq!(ReleaseLimits::of_channel(2_000, 4_000, 1).staleness_ms, 10_000);
    assert_eq!(ReleaseLimits::of_channel(2_000, 4_000, 5).staleness_ms, 26_000);
    assert_eq!(ReleaseLimits::of_channel(10, 10, 0).staleness_ms, STALENESS_MIN_MS);
}
