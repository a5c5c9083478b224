//! Shares come in: acknowledged, complained of, or refused.

use super::*;
use crate::seal::{Registered, Verdict, judge_dealt, open_dealt};
use dmdl_types::custody::CustodyEvent;

fn accept(custodian: &mut Tested, sent: &Sent) -> Result<SystemItem, AcceptError> {
    custodian.accept(&mut rng(6), &[sent.arrival()]).unwrap().remove(0)
}

fn acknowledgement(sent: &Sent) -> SystemItem {
    let ShareContext { data, epoch, dealing, .. } = sent.assignment.share;
    SystemItem::Acknowledge { record: data.record, version: data.version, epoch, dealing }
}

fn secret_of(item: &SystemItem) -> [u8; 32] {
    match item {
        SystemItem::Complaint { dealing_secret, .. } => *dealing_secret,
        other => panic!("not a complaint: {other:?}"),
    }
}

fn secret_exists(custodian: &Tested, key: &DealingKey) -> bool {
    custodian.keys.get(KeyName::of_dealing_key(&key.key)).unwrap().is_some()
}

#[test]
fn minted_keys_are_signed_and_their_secrets_survive_a_crash() {
    let mut custodian = custodian();
    let keys = custodian.mint(&mut rng(5), DEALER, 3, NOW).unwrap();
    let restarted = custodian.restarted();
    for key in &keys {
        assert!(key.verify(&domain(), DEALER));
        let secret = restarted.keys.get(KeyName::of_dealing_key(&key.key)).unwrap().unwrap();
        assert_eq!(x25519_public(&secret), key.key);
    }
}

#[test]
fn keys_are_not_handed_out_before_their_secrets_are_durable() {
    for writes in 0..2 {
        let mut custodian = custodian();
        custodian.fail_after(writes);
        assert!(matches!(custodian.mint(&mut rng(5), DEALER, 1, NOW), Err(MintError::Store(_))), "{writes}");
    }
}

#[test]
fn keys_that_wait_are_limited_until_old_ones_are_retired() {
    let mut custodian = custodian();
    let old = custodian.mint(&mut rng(5), DEALER, DEALING_KEYS_MAX, NOW).unwrap();
    let refused = custodian.mint(&mut rng(6), DEALER, 1, NOW);
    assert!(matches!(refused, Err(MintError::TooMany { waiting: DEALING_KEYS_MAX, wanted: 1 })));
    assert_eq!(custodian.retire(&mut rng(7), NOW).unwrap(), 0);
    assert_eq!(custodian.retire(&mut rng(7), NOW.plus_ms(1)).unwrap(), DEALING_KEYS_MAX);
    assert!(!secret_exists(&custodian, &old[0]));
    let sent = honest(3, old[0]);
    assert_eq!(accept(&mut custodian, &sent), Err(AcceptError::UnknownKey));
    assert!(custodian.mint(&mut rng(8), DEALER, 1, NOW).is_ok());
}

#[test]
fn a_good_share_is_acknowledged_and_its_dealing_secret_destroyed() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let sent = honest(3, key);
    assert!(secret_exists(&custodian, &key));
    assert_eq!(accept(&mut custodian, &sent), Ok(acknowledgement(&sent)));
    assert!(!secret_exists(&custodian, &key), "a kept copy of the sealed share would still open");
    assert_eq!(custodian.pending(10).unwrap(), [acknowledgement(&sent)]);
    assert_eq!(custodian.held(None, 10).unwrap(), [sent.assignment.share]);
}

#[test]
fn a_second_arrival_gets_the_same_item() {
    let (mut custodian, sent) = holding(3);
    assert_eq!(accept(&mut custodian, &sent), Ok(acknowledgement(&sent)));
    custodian.settle(&[acknowledgement(&sent)]).unwrap();
    assert_eq!(custodian.pending(10).unwrap(), []);
    assert_eq!(accept(&mut custodian.restarted(), &sent), Ok(acknowledgement(&sent)));

    let mut custodian = super::custodian();
    let key = mint(&mut custodian);
    let bad = sent_badly(3, key);
    let complaint = accept(&mut custodian, &bad).unwrap();
    assert_eq!(accept(&mut custodian.restarted(), &bad), Ok(complaint));
}

#[test]
fn many_shares_at_once_are_answered_one_by_one() {
    let mut custodian = custodian();
    let keys = custodian.mint(&mut rng(5), DEALER, 2, NOW).unwrap();
    let (good, bad) = (honest(3, keys[0]), sent_badly(4, keys[1]));
    let reused = honest(5, keys[0]);
    let arrivals = [good.arrival(), bad.arrival(), good.arrival(), bad.arrival(), reused.arrival()];
    let answers = custodian.accept(&mut rng(6), &arrivals).unwrap();
    assert_eq!(answers[0], Ok(acknowledgement(&good)));
    assert!(judge(&bad.assignment.share, &bad.dealing, &bad.sealed, &secret_of(answers[1].as_ref().unwrap())));
    assert_eq!(answers[2], answers[0]);
    assert_eq!(answers[3], answers[1]);
    assert_eq!(answers[4], Err(AcceptError::UnknownKey));
    assert_eq!(custodian.pending(10).unwrap().len(), 2);
}

/// A dealing whose share for the custodian is another position's.
fn sent_badly(record: u8, key: DealingKey) -> Sent {
    sent(record, key, |dealt, context| {
        let other = ShareContext { index: ShareIndex::new(1), ..*context };
        seal(&dealt.shares()[0], &other, &key)
    })
}

#[test]
fn a_bad_share_is_complained_of_and_the_complaint_proves_the_dealers_fault() {
    for bad in bad_shares() {
        let mut custodian = custodian();
        let key = mint(&mut custodian);
        // A share of another position is sealed as if for that position: sealing checks it.
        let context_of = |context: &ShareContext| ShareContext { index: bad.index(), ..*context };
        let sent = sent(3, key, |_, context| seal(&bad, &context_of(context), &key));
        assert_proven(&mut custodian, &sent);
    }
}

#[test]
fn bytes_that_are_no_share_are_complained_of() {
    for bytes in [vec![], vec![0], vec![2; SealedShare::LEN], vec![1; SealedShare::LEN], vec![7; SEALED_BYTES_MAX]] {
        let mut custodian = custodian();
        let key = mint(&mut custodian);
        let sent = sent(3, key, |_, _| SealedBytes(bytes));
        assert_proven(&mut custodian, &sent);
    }
}

fn assert_proven(custodian: &mut Tested, sent: &Sent) {
    let complaint = accept(custodian, sent).unwrap();
    let secret = secret_of(&complaint);
    let context = sent.assignment.share;
    assert!(judge(&context, &sent.dealing, &sent.sealed, &secret));
    let checked = CheckedDealing::of_context(&context, &sent.dealing.commitments).unwrap();
    let registered = Registered {
        dealing: &checked,
        context: &context,
        dealing_key: &sent.assignment.dealing_key,
        digest: &sent.assignment.sealed_digest,
    };
    assert_eq!(judge_dealt(registered, &sent.sealed, &Secret32::new(secret)), Ok(Verdict::DealerFault));
    assert_eq!(custodian.held(None, 10).unwrap(), []);
    assert_eq!(custodian.restarted().pending(10).unwrap(), [complaint]);
}

#[test]
fn commitments_that_are_none_are_the_dealers_fault() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let mut sent = honest(3, key);
    let commitments = vec![[0xff; 32]; 2];
    let ShareContext { data, epoch, .. } = sent.assignment.share;
    sent.assignment.share.dealing = dmdl_types::id::DealingId::derive(&data, epoch, &commitments);
    sent.assignment.commitments.clone_from(&commitments);
    sent.dealing.commitments = commitments;
    let complaint = accept(&mut custodian, &sent).unwrap();
    let context = &sent.assignment.share;
    assert!(judge(context, &sent.dealing, &sent.sealed, &secret_of(&complaint)));
    // But the evidence must still be what was registered.
    assert!(!judge(context, &sent.dealing, &SealedBytes(vec![1]), &secret_of(&complaint)));
    assert!(!judge(context, &sent.dealing, &sent.sealed, &[0xaa; 32]));
}

#[test]
fn an_honest_share_never_yields_a_complaint() {
    for record in 1..40 {
        let mut custodian = custodian();
        let key = mint(&mut custodian);
        let sent = honest(record, key);
        assert_eq!(accept(&mut custodian, &sent), Ok(acknowledgement(&sent)), "{record}");
    }
}

#[test]
fn a_lying_custodians_complaint_is_refuted() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let secret = custodian.keys.get(KeyName::of_dealing_key(&key.key)).unwrap().unwrap().expose(|bytes| *bytes);
    let sent = honest(3, key);
    let (context, dealing) = (sent.assignment.share, &sent.dealing);
    assert!(!judge(&context, dealing, &sent.sealed, &secret), "the share is good");
    assert!(!judge(&context, dealing, &SealedBytes(vec![0]), &secret), "other bytes");
    let bad = sent_badly(3, key);
    assert!(judge(&context, &bad.dealing, &bad.sealed, &secret));
    assert!(!judge(&context, &bad.dealing, &bad.sealed, &[0xaa; 32]), "another secret");
    for other in crate::seal::tests::altered_share_contexts(&context) {
        assert!(!judge(&other, &bad.dealing, &bad.sealed, &secret), "{other:?}");
    }
    let nowhere = ShareContext { index: ShareIndex::new(0), ..context };
    assert!(!judge(&nowhere, &bad.dealing, &bad.sealed, &secret));
}

#[test]
fn a_share_that_was_altered_on_the_way_is_refused_and_its_key_waits_on() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let sent = honest(3, key);
    let mut altered = sent.sealed.clone();
    altered.0[40] ^= 1;
    let arrival = Arrival { assignment: &sent.assignment, sealed: &altered };
    assert_eq!(custodian.accept(&mut rng(6), &[arrival]).unwrap(), [Err(AcceptError::OtherBytes)]);
    assert_eq!(custodian.pending(10).unwrap(), []);
    assert_eq!(accept(&mut custodian, &sent), Ok(acknowledgement(&sent)));
}

#[test]
fn a_share_for_somebody_else_is_refused() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let mut sent = honest(3, key);
    let context = sent.assignment.share;
    for other in [
        ShareContext { custodian: NodeId::of_key(public(1)), ..context },
        ShareContext { data: DataContext { network: NetworkId::new([0xaa; 32]), ..context.data }, ..context },
        ShareContext { data: DataContext { channel: ChannelId::new([0xaa; 32]), ..context.data }, ..context },
    ] {
        sent.assignment.share = other;
        assert_eq!(accept(&mut custodian, &sent), Err(AcceptError::NotMine), "{other:?}");
    }
}

#[test]
fn a_share_too_long_for_a_complaint_is_refused() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let sent = sent(3, key, |_, _| SealedBytes(vec![7; SEALED_BYTES_MAX + 1]));
    assert_eq!(accept(&mut custodian, &sent), Err(AcceptError::TooLong { len: SEALED_BYTES_MAX + 1 }));
    assert!(!judge(&sent.assignment.share, &sent.dealing, &sent.sealed, &[0; 32]));
}

#[test]
fn a_dealing_key_serves_one_share() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    assert!(accept(&mut custodian, &honest(3, key)).is_ok());
    assert_eq!(accept(&mut custodian, &honest(4, key)), Err(AcceptError::UnknownKey));
    let never_minted = DealingKey::sign(&signer(2), &domain(), DEALER, x25519_public(&Secret32::new([0x55; 32])));
    assert_eq!(accept(&mut custodian, &honest(5, never_minted)), Err(AcceptError::UnknownKey));
}

#[test]
fn a_task_of_another_dealing_than_the_held_one_is_refused() {
    let (mut custodian, mut sent) = holding(3);
    sent.assignment.share.dealing = dmdl_types::id::DealingId::new([0xaa; 32]);
    assert_eq!(accept(&mut custodian, &sent), Err(AcceptError::OtherDealing));
    // And one that contradicts itself is no reason to complain.
    let mut fresh = super::custodian();
    let key = mint(&mut fresh);
    let mut sent = honest(3, key);
    sent.assignment.commitments.swap(0, 1);
    assert_eq!(accept(&mut fresh, &sent), Err(AcceptError::OtherDealing));
}

#[test]
fn a_share_of_an_erased_record_or_an_ended_epoch_is_not_taken_in() {
    let mut custodian = custodian();
    let keys = custodian.mint(&mut rng(5), DEALER, 2, NOW).unwrap();
    let (erased, ended) = (honest(3, keys[0]), honest(4, keys[1]));
    let data = ended.assignment.share.data;
    let over = [
        CustodyEvent::RecordErased(erased.assignment.share.data.record),
        CustodyEvent::EpochEnded(data.record, data.version, ShareEpoch::new(0)),
    ];
    custodian.observe(&mut rng(8), &over).unwrap();
    for sent in [&erased, &ended] {
        let record = sent.assignment.share.data.record;
        assert_eq!(accept(&mut custodian, sent), Err(AcceptError::Over { record }));
    }
}

/// Whatever write fails, and however it is restarted: no item leaves before its share is durable, and
/// asking again brings it through.
#[test]
fn nothing_is_said_of_a_share_before_it_is_durable() {
    for bad in [false, true] {
        for writes in 0..4 {
            let mut custodian = custodian();
            let key = mint(&mut custodian);
            let sent = if bad { sent_badly(3, key) } else { honest(3, key) };
            custodian.fail_after(writes);
            let said = custodian.accept(&mut rng(6), &[sent.arrival()]);
            assert!(said.is_err(), "write {writes} did not fail");
            let mut restarted = custodian.restarted();
            let item = accept(&mut restarted, &sent).unwrap();
            assert_eq!(matches!(item, SystemItem::Complaint { .. }), bad);
            assert_eq!(restarted.pending(10).unwrap(), [item]);
            assert!(!secret_exists(&restarted, &key));
        }
    }
}

#[test]
fn a_start_destroys_the_dealing_secrets_that_a_crash_spared() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let sent = honest(3, key);
    custodian.fail_after(2);
    assert!(custodian.accept(&mut rng(6), &[sent.arrival()]).is_err());
    assert!(secret_exists(&custodian, &key), "the crash came before the destruction");
    let restarted = custodian.restarted();
    assert!(!secret_exists(&restarted, &key));
    assert_eq!(restarted.pending(10).unwrap(), [acknowledgement(&sent)]);
}

#[test]
fn a_start_destroys_the_secrets_whose_rows_are_gone_and_no_others() {
    let (mut custodian, _) = holding(1);
    mint(&mut custodian);
    let names = |custodian: &Tested| custodian.keys.names().unwrap().len();
    assert_eq!(names(&custodian.restarted()), 2, "of a share, and of a key that waits");
    // The database is damaged, and nothing of it could be taken over.
    assert_eq!(names(&open(FaultyKv::default(), custodian.keys.clone())), 0);
}

#[test]
fn a_share_whose_secret_is_lost_is_not_acknowledged_again() {
    let (mut custodian, sent) = holding(3);
    let record = sent.assignment.share.data.record;
    let name = KeyName::of_share(Slot::of(&sent.assignment.share));
    custodian.keys.change(&mut rng(1), &[], &[name]).unwrap();
    assert_eq!(accept(&mut custodian, &sent), Err(AcceptError::Lost { record }));
    let ask = custodian.release(&mut rng(1), ASKED, &view(&sent), NOW);
    assert!(matches!(ask, Err(AskError::Lost { .. })));
}

#[test]
fn a_database_restored_without_its_secrets_acknowledges_nothing() {
    let (custodian, sent) = holding(3);
    assert_eq!(custodian.restarted().pending(10).unwrap(), [acknowledgement(&sent)]);
    let restored = open(custodian.store.kv().clone(), FaultyKeys::default());
    assert_eq!(restored.pending(10).unwrap(), []);
}

#[test]
fn a_wrapped_share_of_another_record_does_not_unwrap() {
    let mut custodian = custodian();
    let keys = custodian.mint(&mut rng(5), DEALER, 2, NOW).unwrap();
    let (one, two) = (honest(3, keys[0]), honest(4, keys[1]));
    assert!(accept(&mut custodian, &one).is_ok() && accept(&mut custodian, &two).is_ok());
    let (one, two) = (Slot::of(&one.assignment.share), Slot::of(&two.assignment.share));
    let mut row = custodian.store.share(one).unwrap().unwrap();
    assert!(custodian.unwrap(&row).unwrap().is_some());
    row.wrapped = custodian.store.share(two).unwrap().unwrap().wrapped;
    assert!(custodian.unwrap(&row).unwrap().is_none());
    // Not even with the other's secret.
    let secret = custodian.keys.get(KeyName::of_share(two)).unwrap().unwrap();
    assert!(row.wrapped.open(&secret, &row.context).is_err());
}

#[test]
fn what_the_store_holds_never_contains_a_share_or_a_secret() {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let dealing_secret = custodian.keys.get(KeyName::of_dealing_key(&key.key)).unwrap().unwrap();
    let sent = honest(3, key);
    let share = open_dealt(&SealedShare::from_bytes(&sent.sealed).unwrap(), &sent.assignment.share, &dealing_secret);
    let canary = share.unwrap().expose(|bytes| bytes[1..33].to_vec());
    assert!(accept(&mut custodian, &sent).is_ok());
    let wrap_secret = custodian.keys.get(KeyName::of_share(Slot::of(&sent.assignment.share))).unwrap().unwrap();
    let _ = custodian.release(&mut rng(1), ASKED, &view(&sent), NOW).unwrap();
    let all = custodian.store.kv().scan(&[], None, usize::MAX).unwrap();
    assert!(all.len() >= 4);
    for secret in [canary, dealing_secret.expose(|b| b.to_vec()), wrap_secret.expose(|b| b.to_vec())] {
        for (key, value) in &all {
            assert!(![key, value].iter().any(|bytes| bytes.windows(32).any(|window| window == secret)));
        }
    }
}
