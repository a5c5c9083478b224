//! A remark is for its readers, as its author wrote it, on its own transaction.

mod frozen;

use super::*;
use dmdl_types::{
    access::{DuoCode, Purpose, Terms},
    id::{ChannelId, Height, NetworkId, RecordId},
    secret::Secret32,
};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};

const TEXT: &str = "Längsschnittstudie über HbA1c, Kohorte 7\n(Antrag liegt bei)";

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([n; 32]))
}

fn domain() -> Domain {
    Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) }
}

fn plain(text: &str) -> PlainRemark {
    PlainRemark::new(&mut rng(1), text).unwrap()
}

/// The author's request, which commits to a text.
fn request(reason: NoteCommitment) -> TransactionBody {
    let purpose = Purpose { code: DuoCode::Hmb, disease: None };
    let terms = Terms {
        purpose,
        days: 30,
        uses: 1,
        non_profit: true,
        commercial: false,
        country: None,
        project: None,
        ethics: None,
    };
    call(Access::Request { record: RecordId::new([3; 32]), terms, reason })
}

fn call(access: Access) -> TransactionBody {
    TransactionBody {
        domain: domain(),
        authors: vec![key(7).public()],
        nonce: [4; 16],
        expires: Height::new(100),
        invocation: Invocation::Access(access),
    }
}

/// The remark of the author 7 to themselves and to 8 and 9.
fn sealed(text: &str) -> (SignedRemark, TransactionBody) {
    let plain = plain(text);
    let body = request(plain.commitment());
    let readers = [9, 7, 8].map(|n| key(n).public());
    (SignedRemark::seal(&mut rng(2), &key(7), &domain(), body.id(), &plain, readers).unwrap(), body)
}

fn sign(body: Body) -> Remark {
    let (meaning, bytes) = match &body {
        Body::Sealed(sealed) => (SEALED, codec::encode(sealed)),
        Body::Withdrawn(withdrawn) => (WITHDRAWN, codec::encode(withdrawn)),
    };
    Remark { signature: key(7).sign(&domain(), meaning, &bytes), body }
}

/// The remark with a change that its author signs.
fn changed(change: impl FnOnce(&mut Sealed)) -> Remark {
    let (SignedRemark(Remark { body: Body::Sealed(mut sealed), .. }), _) = sealed(TEXT) else { panic!("it is sealed") };
    change(&mut sealed);
    sign(Body::Sealed(sealed))
}

#[test]
fn every_reader_reads_what_the_author_wrote_and_nobody_else_does() {
    let (remark, body) = sealed(TEXT);
    let bytes = codec::encode(remark.remark());
    let read: Remark = codec::decode(&bytes, REMARK_BYTES_MAX).unwrap();
    let read = read.verify(&domain()).unwrap();
    assert_eq!((read.transaction(), read.author(), read.is_withdrawn()), (body.id(), key(7).public(), false));
    assert_eq!(read.check_place(&body), Ok(()));
    for n in [7, 8, 9] {
        assert_eq!(read.open(&domain(), &key(n)).as_deref(), Ok(TEXT));
    }
    assert_eq!(read.open(&domain(), &key(10)), Err(OpenError::NotAReader));
}

#[test]
fn a_sealed_remark_shows_nothing_of_its_text_but_one_of_three_lengths() {
    let mut lengths = std::collections::BTreeSet::new();
    for len in [1, 100, 222, 223, 900, 990, 991, limits::REMARK_BYTES] {
        let (remark, _) = sealed(&"x".repeat(len));
        let bytes = codec::encode(remark.remark());
        assert!(!bytes.windows(4).any(|part| part == b"xxxx"));
        assert_eq!(remark.open(&domain(), &key(8)).map(|text| text.len()), Ok(len));
        lengths.insert(bytes.len());
    }
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    assert!(lengths.last().is_some_and(|longest| *longest <= REMARK_BYTES_MAX));
}

#[test]
fn no_byte_of_a_remark_can_be_changed_without_its_author() {
    let (remark, _) = sealed(TEXT);
    let bytes = codec::encode(remark.remark());
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 1;
        let verified = codec::decode::<Remark>(&changed, REMARK_BYTES_MAX).map(|remark| remark.verify(&domain()));
        assert!(!matches!(verified, Ok(Ok(_))), "byte {position}");
    }
}

#[test]
fn what_an_author_signs_beside_the_rules_is_refused() {
    let elsewhere = Domain { network: NetworkId::new([9; 32]), ..domain() };
    assert_eq!(sealed(TEXT).0.0.verify(&elsewhere), Err(RemarkError::NotSigned));
    let malformed: [fn(&mut Sealed); 7] = [
        |sealed| sealed.suite = 2,
        |sealed| sealed.readers.clear(),
        |sealed| sealed.readers.swap(0, 1),
        |sealed| sealed.readers[1] = sealed.readers[0],
        |sealed| {
            sealed.readers = vec![sealed.readers[0]; limits::REMARK_READERS + 1];
            for (reader, n) in sealed.readers.iter_mut().zip(0..) {
                reader.reader = PublicKey::new([n; 32]);
            }
        },
        |sealed| sealed.ciphertext.push(0),
        |sealed| sealed.ciphertext.truncate(15),
    ];
    for (number, change) in malformed.into_iter().enumerate() {
        assert_eq!(changed(change).verify(&domain()), Err(RemarkError::Malformed), "{number}");
    }
}

#[test]
fn a_reader_is_told_when_the_author_sealed_something_else_than_they_signed() {
    let open = |change: &dyn Fn(&mut Sealed)| changed(change).verify(&domain()).unwrap().open(&domain(), &key(8));
    let place = |sealed: &Sealed| sealed.readers.iter().position(|one| one.reader == key(8).public()).unwrap();
    assert_eq!(open(&|sealed| sealed.commitment = NoteCommitment::new([0; 32])), Err(OpenError::NotOpened));
    assert_eq!(open(&|sealed| sealed.transaction = TransactionId::new([0; 32])), Err(OpenError::NotOpened));
    assert_eq!(open(&|sealed| sealed.ciphertext[0] ^= 1), Err(OpenError::NotOpened));
    assert_eq!(
        open(&|sealed| {
            let at = place(sealed);
            sealed.readers[at].key[0] ^= 1
        }),
        Err(OpenError::NotOpened)
    );
    assert_eq!(
        open(&|sealed| {
            let at = place(sealed);
            sealed.readers[at].enc[0] ^= 1
        }),
        Err(OpenError::NotOpened)
    );
    // A key that was sealed to another reader is not for this one.
    let swapped = |sealed: &mut Sealed| {
        let (at, other) = (place(sealed), sealed.readers.iter().position(|one| one.reader == key(9).public()).unwrap());
        (sealed.readers[at].enc, sealed.readers[at].key) = (sealed.readers[other].enc, sealed.readers[other].key);
    };
    assert_eq!(open(&swapped), Err(OpenError::NotOpened));
}

#[test]
fn a_padded_text_has_one_spelling() {
    let padded = plain(TEXT).padded();
    assert!(PlainRemark::unpad(&padded).is_some());
    let mut longer = padded.to_vec();
    longer.resize(1024, 0);
    let mut unclean = padded.to_vec();
    *unclean.last_mut().unwrap() = 1;
    let mut promises = padded.to_vec();
    promises[32..34].copy_from_slice(&u16::MAX.to_le_bytes());
    let mut no_text = padded.to_vec();
    no_text[34] = 0xff;
    for bad in [longer, unclean, promises, no_text, padded[..33].to_vec(), vec![]] {
        assert!(PlainRemark::unpad(&bad).is_none(), "{}", bad.len());
    }
}

#[test]
fn a_remark_has_its_place_and_no_other() {
    let (remark, body) = sealed(TEXT);
    assert_eq!(remark.check_place(&request(NoteCommitment::new([0; 32]))), Err(RemarkError::OtherTransaction));
    let on = |body: &TransactionBody| {
        let readers = [key(8).public()];
        SignedRemark::seal(&mut rng(3), &key(7), &domain(), body.id(), &plain(TEXT), readers).unwrap().check_place(body)
    };
    assert_eq!(on(&request(NoteCommitment::new([0; 32]))), Err(RemarkError::OtherCommitment));
    let request = body.id();
    assert_eq!(on(&call(Access::Approve { request })), Ok(()));
    assert_eq!(on(&call(Access::Deny { request })), Ok(()));
    assert_eq!(on(&call(Access::Erase { record: RecordId::new([3; 32]) })), Err(RemarkError::NoPlace));
    let other = SignedRemark::withdraw(&key(8), &domain(), request);
    assert_eq!(other.check_place(&body), Err(RemarkError::OtherAuthor));
}

#[test]
fn a_remark_that_was_taken_back_has_no_text() {
    let (_, body) = sealed(TEXT);
    let withdrawn = SignedRemark::withdraw(&key(7), &domain(), body.id());
    let verified = withdrawn.remark().clone().verify(&domain()).unwrap();
    assert!(verified.is_withdrawn());
    assert_eq!(verified.check_place(&body), Ok(()));
    assert_eq!(verified.open(&domain(), &key(8)), Err(OpenError::Withdrawn));
    let mut forged = withdrawn.0;
    forged.body = Body::Withdrawn(Withdrawn { transaction: body.id(), author: key(8).public() });
    assert_eq!(forged.verify(&domain()), Err(RemarkError::NotSigned));
}

#[test]
fn texts_and_readers_have_their_bounds() {
    let text = |text: &str| PlainRemark::new(&mut rng(1), text).map(drop);
    assert_eq!(text(""), Err(TextError::Empty));
    assert_eq!(text(" \n\t"), Err(TextError::Empty));
    assert_eq!(text(&"x".repeat(limits::REMARK_BYTES + 1)), Err(TextError::TooLong));
    assert_eq!(text(&"x".repeat(limits::REMARK_BYTES)), Ok(()));
    for bad in ["a\u{1b}[2J", "a\r\nb", "\u{0}", "a\u{85}b"] {
        assert_eq!(text(bad), Err(TextError::Control), "{bad:?}");
    }
    let seal = |readers: Vec<PublicKey>| {
        let id = TransactionId::new([5; 32]);
        SignedRemark::seal(&mut rng(2), &key(7), &domain(), id, &plain(TEXT), readers).map(drop)
    };
    assert_eq!(seal(vec![]), Err(SealError::Readers));
    let many = |count: u8| (0..count).map(|n| key(n).public()).collect();
    assert_eq!(seal(many(129)), Err(SealError::Readers));
    assert_eq!(seal(many(128)), Ok(()));
    let weak = PublicKey::new([0; 32]);
    assert_eq!(seal(vec![weak]), Err(SealError::Key(weak)));
    assert!(!format!("{:?}", plain(TEXT)).contains("HbA1c"));
}
