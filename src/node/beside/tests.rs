//! What is kept, what replaces what, and what is left of it on disk.

use super::*;
use crate::local::os_rng;
use dmdl_types::{
    id::{ChannelId, NetworkId, UnixMillis},
    secret::Secret32,
    sign::SigningKey,
};
use dmdl_vault::remark::PlainRemark;

fn domain() -> Domain {
    Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([n; 32]))
}

fn remark(transaction: u8) -> SignedRemark {
    let (plain, id) = (PlainRemark::new(&mut os_rng(), "why").unwrap(), TransactionId::new([transaction; 32]));
    SignedRemark::seal(&mut os_rng(), &key(7), &domain(), id, &plain, [key(8).public()]).unwrap()
}

fn title(time: u64, text: &str) -> SignedTitle {
    Title::sign(&key(7), &domain(), RecordId::new([3; 32]), UnixMillis::new(time), text).unwrap()
}

fn places() -> (tempfile::TempDir, [Beside; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let beside = Beside::in_folder(dir.path(), &domain(), FaultSink::nobody()).unwrap();
    (dir, [beside, Beside::in_memory()])
}

#[test]
fn the_first_remark_stays_until_its_author_takes_it_back_for_ever() {
    let (_dir, places) = places();
    for beside in places {
        let (first, other) = (remark(5), remark(5));
        let id = first.transaction();
        assert_eq!(beside.remark(id, &domain()), Ok(None));
        for _ in 0..2 {
            assert_eq!(beside.keep_remark(&first, &domain()), Ok(()));
        }
        let refused = |result: Result<(), Refused>| result.unwrap_err().code;
        assert_eq!(refused(beside.keep_remark(&other, &domain())), "remark_exists");
        assert_eq!(beside.remark(id, &domain()), Ok(Some(first.clone())));
        let withdrawn = SignedRemark::withdraw(&key(7), &domain(), id);
        for _ in 0..2 {
            assert_eq!(beside.keep_remark(&withdrawn, &domain()), Ok(()));
        }
        assert_eq!(refused(beside.keep_remark(&first, &domain())), "remark_withdrawn");
        assert_eq!(beside.remark(id, &domain()), Ok(Some(withdrawn)));
    }
}

#[test]
fn a_folder_from_before_keeps_that_remarks_were_taken_back_and_no_text() {
    let (dir, [beside, in_memory]) = places();
    let (text, gone) = (remark(5), SignedRemark::withdraw(&key(7), &domain(), TransactionId::new([6; 32])));
    for beside in [&beside, &in_memory] {
        beside.keep_remark(&text, &domain()).unwrap();
        beside.keep_remark(&gone, &domain()).unwrap();
        beside.forget_texts(&domain()).unwrap();
    }
    let again = Beside::in_folder(dir.path(), &domain(), FaultSink::nobody()).unwrap();
    for beside in [&beside, &in_memory, &again] {
        assert_eq!(beside.remark(text.transaction(), &domain()), Ok(None));
        assert_eq!(beside.remark(gone.transaction(), &domain()), Ok(Some(gone.clone())));
    }
}

#[test]
fn the_last_title_counts_and_an_erased_one_leaves_no_byte() {
    let (dir, [beside, _]) = places();
    let (record, author) = (RecordId::new([3; 32]), key(7).public());
    beside.keep_title(title(5, "CT of the chest")).unwrap();
    assert_eq!(beside.keep_title(title(4, "older")), Ok(title(5, "CT of the chest")), "the later one is shown");
    let shown = |beside: &Beside| beside.title(record, author).map(|title| title.text().to_owned());
    assert_eq!(shown(&beside).as_deref(), Some("CT of the chest"));
    assert!(beside.title(record, key(8).public()).is_none(), "of another owner");
    let again = Beside::in_folder(dir.path(), &domain(), FaultSink::nobody()).unwrap();
    assert_eq!(shown(&again).as_deref(), Some("CT of the chest"));
    again.keep_title(title(6, "")).unwrap();
    assert_eq!(shown(&again).as_deref(), Some(""), "taken back");
    again.keep_title(title(7, "named again")).unwrap();
    again.forget_title(record, |who| who == author);
    assert_eq!(shown(&again).as_deref(), Some("named again"), "the author may title it");
    again.forget_title(record, |_| false);
    assert_eq!((shown(&again), again.titled()), (None, vec![]));
    assert_eq!(again.titles.all().unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(Beside::in_folder(dir.path(), &domain(), FaultSink::nobody()).unwrap().titled(), vec![]);
}

#[test]
fn what_was_damaged_on_disk_is_like_what_is_not_there() {
    let (dir, [beside, _]) = places();
    let kept = remark(5);
    beside.keep_remark(&kept, &domain()).unwrap();
    beside.keep_title(title(5, "CT")).unwrap();
    let folder = dir.path();
    for (shelf, id) in [("remarks", kept.transaction().to_string()), ("titles", RecordId::new([3; 32]).to_string())] {
        let path = folder.join(shelf).join(&id[..2]).join(&id);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    // What a crash leaves of a file on its way.
    fs::write(folder.join("titles").join(".tmp123"), "half").unwrap();
    let beside = Beside::in_folder(folder, &domain(), FaultSink::nobody()).unwrap();
    assert_eq!(beside.remark(kept.transaction(), &domain()), Ok(None));
    assert_eq!(beside.titled(), vec![]);
    assert_eq!(beside.keep_remark(&kept, &domain()), Ok(()), "it is put anew");
    assert_eq!(beside.remark(kept.transaction(), &domain()), Ok(Some(kept)));
    assert!(!folder.join("titles").join(".tmp123").exists());
    beside.forget_title(RecordId::new([3; 32]), |_| true);
    assert_eq!(beside.titles.all().unwrap(), Vec::<Vec<u8>>::new(), "what is damaged goes with its record");
}
