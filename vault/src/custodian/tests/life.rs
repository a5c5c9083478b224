//! Shares go out and are forgotten.

use super::*;
use crate::seal::{ReleasedShare, judge_released, open_released};
use dmdl_types::{codec, custody::CustodyEvent};

fn ask(custodian: &mut Tested, view: &ReleaseView) -> Result<Vec<u8>, AskError> {
    custodian.release(&mut rng(11), ASKED, view, NOW).map(|durable| durable.answer())
}

fn refusal(result: Result<Vec<u8>, AskError>) -> ReleaseError {
    match result {
        Err(AskError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn marks(custodian: &Tested) -> Vec<SystemItem> {
    let items = custodian.pending(100).unwrap().into_iter();
    items.filter(|item| matches!(item, SystemItem::Release { .. })).collect()
}

fn rows(custodian: &Tested, prefix: u8) -> usize {
    custodian.store.kv().scan(&[prefix], None, usize::MAX).unwrap().len()
}

fn revoked(view: &ReleaseView) -> ReleaseView {
    let mut view = view.clone();
    view.decryption.as_mut().unwrap().grant.as_mut().unwrap().revoked = true;
    view
}

#[test]
fn an_allowed_decryption_gets_the_share_and_the_ledger_its_mark() {
    let (mut custodian, sent) = holding(3);
    let durable = custodian.release(&mut rng(11), ASKED, &view(&sent), NOW).unwrap();
    let context = *durable.context();
    assert_eq!((context.share, context.transaction), (sent.assignment.share, ASKED));
    let released: ReleasedShare = codec::decode(&durable.answer(), 178).unwrap();
    assert_eq!(released, *durable.released());
    let opened = open_released(&released, &context, &opening_secret()).unwrap();
    let checked = CheckedDealing::of_context(&context.share, &sent.assignment.commitments).unwrap();
    assert!(checked.verify(opened).is_ok());
    let verdict = judge_released(&checked, &context, &released, &opening_secret());
    assert_eq!(verdict, Ok(crate::seal::Verdict::Fine));
    let mark = SystemItem::Release {
        decryption: ASKED,
        record: context.share.data.record,
        version: context.share.data.version,
        epoch: context.share.epoch,
        share: released.sealed.digest(),
    };
    assert_eq!(durable.mark(), mark);
    assert_eq!(marks(&custodian), [mark]);
}

#[test]
fn asked_again_it_answers_with_the_same_bytes() {
    let (mut custodian, sent) = holding(3);
    let first = ask(&mut custodian, &view(&sent)).unwrap();
    let again = custodian.release(&mut rng(12), ASKED, &view(&sent), NOW.plus_ms(5)).unwrap();
    assert_eq!(again.answer(), first);
    let after_a_crash = custodian.restarted().release(&mut rng(13), ASKED, &view(&sent), NOW).unwrap();
    assert_eq!(after_a_crash.answer(), first);
    assert_eq!(marks(&custodian).len(), 1);
}

#[test]
fn without_a_durable_entry_nothing_leaves() {
    let (mut custodian, sent) = holding(3);
    custodian.fail_after(0);
    assert!(matches!(ask(&mut custodian, &view(&sent)), Err(AskError::Store(_))));
    // The disk works again, but nobody knows what is on it: this process releases nothing more.
    custodian.keys.left.set(None);
    assert!(matches!(ask(&mut custodian, &view(&sent)), Err(AskError::Store(StoreError::Closed))));
    assert!(ask(&mut custodian.restarted(), &view(&sent)).is_ok());
}

#[test]
fn a_crash_between_release_and_mark_loses_no_mark() {
    let (mut custodian, sent) = holding(3);
    let durable = custodian.release(&mut rng(11), ASKED, &view(&sent), NOW).unwrap();
    let mut restarted = custodian.restarted();
    assert_eq!(marks(&restarted), [durable.mark()]);
    restarted.settle(&[durable.mark()]).unwrap();
    assert_eq!(marks(&restarted), []);
    // Answering again does not ask for a second mark.
    assert!(ask(&mut restarted, &view(&sent)).is_ok());
    assert_eq!(marks(&restarted), []);
}

#[test]
fn a_stored_answer_does_not_outlive_the_rule() {
    let (mut custodian, sent) = holding(3);
    assert!(ask(&mut custodian, &view(&sent)).is_ok());
    // Before the event of the revocation is even observed.
    assert_eq!(refusal(ask(&mut custodian, &revoked(&view(&sent)))), ReleaseError::GrantRevoked { grant: GRANT });
    let mut erased = view(&sent);
    erased.share.as_mut().unwrap().erased = true;
    assert!(matches!(refusal(ask(&mut custodian, &erased)), ReleaseError::RecordErased { .. }));
    let late = custodian.release(&mut rng(11), ASKED, &view(&sent), NOW.plus_ms(60_000));
    assert!(matches!(late, Err(AskError::Refused(ReleaseError::TipStale { .. }))));
}

#[test]
fn a_revocation_deletes_the_stored_answers_of_its_grant_alone() {
    let (mut custodian, sent) = holding(3);
    let mut other = view(&sent);
    let decryption = other.decryption.as_mut().unwrap();
    decryption.transaction = TransactionId::new([0x78; 32]);
    decryption.grant.as_mut().unwrap().grant = GrantId::new([0xff; 32]);
    assert!(ask(&mut custodian, &view(&sent)).is_ok());
    let _ = custodian.release(&mut rng(14), TransactionId::new([0x78; 32]), &other, NOW).unwrap();
    assert_eq!(custodian.grant_served(None).unwrap(), Some(GRANT));
    assert_eq!(custodian.grant_served(Some(GRANT)).unwrap(), Some(GrantId::new([0xff; 32])));
    assert_eq!(custodian.grant_served(Some(GrantId::new([0xff; 32]))).unwrap(), None);

    custodian.observe(&mut rng(1), &[CustodyEvent::GrantRevoked(GRANT)]).unwrap();
    assert_eq!((rows(&custodian, b'r'), rows(&custodian, b'g')), (1, 1));
    assert_eq!(custodian.grant_served(None).unwrap(), Some(GrantId::new([0xff; 32])));
    assert_eq!(refusal(ask(&mut custodian, &revoked(&view(&sent)))), ReleaseError::GrantRevoked { grant: GRANT });
    assert_eq!(marks(&custodian).len(), 2, "what was released stays true");
    assert_eq!(custodian.held(None, 10).unwrap().len(), 1, "the share serves other grants");
}

#[test]
fn an_erasure_destroys_share_secret_and_answers() {
    let (mut custodian, sent) = holding(3);
    assert!(ask(&mut custodian, &view(&sent)).is_ok());
    let slot = Slot::of(&sent.assignment.share);
    let row = custodian.store.share(slot).unwrap().unwrap();
    custodian.observe(&mut rng(1), &[CustodyEvent::RecordErased(slot.record)]).unwrap();
    assert!(custodian.keys.get(KeyName::of_share(slot)).unwrap().is_none());
    assert_eq!(custodian.held(None, 10).unwrap(), []);
    assert_eq!((rows(&custodian, b's'), rows(&custodian, b'r'), rows(&custodian, b'g')), (0, 0, 0));
    assert!(matches!(refusal(ask(&mut custodian, &view(&sent))), ReleaseError::NotHeld { .. }));
    // A copy of the database from before brings the row back, and nothing opens it.
    assert!(custodian.unwrap(&row).unwrap().is_none());
}

#[test]
fn an_erasure_that_a_crash_interrupts_is_finished_by_observing_again() {
    for writes in 0..2 {
        let (mut custodian, sent) = holding(3);
        let slot = Slot::of(&sent.assignment.share);
        custodian.fail_after(writes);
        let erased = [CustodyEvent::RecordErased(slot.record)];
        assert!(custodian.observe(&mut rng(1), &erased).is_err());
        let mut restarted = custodian.restarted();
        assert_eq!(restarted.held(None, 10).unwrap().len(), 1, "what is left to destroy is still named");
        restarted.observe(&mut rng(1), &erased).unwrap();
        assert!(restarted.keys.get(KeyName::of_share(slot)).unwrap().is_none());
        assert_eq!(restarted.held(None, 10).unwrap(), []);
    }
}

#[test]
fn an_ended_epoch_takes_its_shares_and_answers_and_no_others() {
    let (mut custodian, sent) = holding(3);
    let key = mint_more(&mut custodian);
    let other = honest(4, key);
    custodian.accept(&mut rng(6), &[other.arrival()]).unwrap().remove(0).unwrap();
    assert!(ask(&mut custodian, &view(&sent)).is_ok());
    let (data, zero) = (sent.assignment.share.data, ShareEpoch::new(0));
    custodian.observe(&mut rng(1), &[CustodyEvent::EpochEnded(data.record, data.version.next(), zero)]).unwrap();
    assert_eq!(custodian.held(None, 10).unwrap().len(), 2, "another version");
    custodian.observe(&mut rng(1), &[CustodyEvent::EpochEnded(data.record, data.version, zero)]).unwrap();
    assert_eq!(custodian.held(None, 10).unwrap(), [other.assignment.share]);
    assert_eq!(rows(&custodian, b'r'), 0);
}

fn mint_more(custodian: &mut Tested) -> DealingKey {
    custodian.mint(&mut rng(15), DEALER, 1, NOW).unwrap()[0]
}

#[test]
fn answers_expire_with_their_window() {
    let (mut custodian, sent) = holding(3);
    assert!(ask(&mut custodian, &view(&sent)).is_ok());
    assert_eq!(custodian.expire(NOW.plus_ms(60_000)).unwrap(), 0, "the grant's last instant");
    assert_eq!(custodian.expire(NOW.plus_ms(60_001)).unwrap(), 1);
    assert_eq!((rows(&custodian, b'r'), rows(&custodian, b'g')), (0, 0));
    assert_eq!(marks(&custodian).len(), 1);
}

#[test]
fn a_share_of_another_epoch_than_the_ledgers_is_not_released() {
    let (mut custodian, sent) = holding(3);
    let mut reshared = view(&sent);
    reshared.share.as_mut().unwrap().share.epoch = ShareEpoch::new(1);
    assert!(matches!(refusal(ask(&mut custodian, &reshared)), ReleaseError::OtherEpoch { .. }));
}

#[test]
fn a_decryption_that_changes_after_it_was_answered_raises_an_alarm() {
    let (mut custodian, sent) = holding(3);
    assert!(ask(&mut custodian, &view(&sent)).is_ok());
    let mut changed = view(&sent);
    changed.decryption.as_mut().unwrap().opening_key = Some(x25519_public(&Secret32::new([0x66; 32])));
    assert!(matches!(ask(&mut custodian, &changed), Err(AskError::AnsweredOtherwise { .. })));
}

#[test]
fn a_weak_one_time_key_gets_nothing() {
    let (mut custodian, sent) = holding(3);
    for weak in crate::keys::tests::weak_keys() {
        let mut view = view(&sent);
        view.decryption.as_mut().unwrap().opening_key = Some(weak);
        assert!(matches!(refusal(ask(&mut custodian, &view)), ReleaseError::BadOpeningKey(_)));
    }
    assert_eq!(rows(&custodian, b'r'), 0);
}

#[test]
fn a_row_that_was_altered_stops_the_node() {
    let (mut custodian, sent) = holding(3);
    let (key, mut value) = custodian.store.kv().scan(b"s", None, 1).unwrap().remove(0);
    value.push(0);
    custodian.store.kv_mut().commit(vec![(key, Some(value))]).unwrap();
    assert!(matches!(ask(&mut custodian, &view(&sent)), Err(AskError::Store(StoreError::Corrupt { .. }))));
}

#[test]
fn many_rows_are_read_page_by_page() {
    let mut custodian = custodian();
    let keys = custodian.mint(&mut rng(5), DEALER, 300, NOW).unwrap();
    assert_eq!(custodian.store.dealing_keys().unwrap().len(), 300);
    let sent: Vec<_> = (1..=5).map(|record| honest(record, keys[usize::from(record)])).collect();
    let arrivals: Vec<_> = sent.iter().map(Sent::arrival).collect();
    custodian.accept(&mut rng(6), &arrivals).unwrap();
    let first = custodian.held(None, 3).unwrap();
    let rest = custodian.held(first.last(), 3).unwrap();
    let all: Vec<_> = sent.iter().map(|sent| sent.assignment.share).collect();
    assert_eq!([first, rest].concat(), all);
}
