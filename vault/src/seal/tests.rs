//! A seal opens in one context, with one key; and its author answers for it.

use super::*;
use crate::{
    keys,
    share::{CheckedDealing, Dealt, Threshold, deal},
};
use dmdl_types::{
    context::DataContext,
    custody::SealedBytes,
    id::{ChannelId, DealingId, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId},
    sign::PublicKey,
};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Each context that differs from the given one in exactly one field.
pub(crate) fn altered_data_contexts(context: &DataContext) -> Vec<DataContext> {
    vec![
        DataContext { network: NetworkId::new([0xaa; 32]), ..*context },
        DataContext { channel: ChannelId::new([0xaa; 32]), ..*context },
        DataContext { record: RecordId::new([0xaa; 32]), ..*context },
        DataContext { version: context.version.next(), ..*context },
    ]
}

/// Each context that differs from the given one in exactly one field.
pub(crate) fn altered_share_contexts(context: &ShareContext) -> Vec<ShareContext> {
    // Names every field: a new one does not compile until it is altered below.
    let ShareContext { data, epoch, custodian: _, index, k, n, dealing: _ } = *context;
    let mut all: Vec<_> =
        altered_data_contexts(&data).into_iter().map(|data| ShareContext { data, ..*context }).collect();
    all.extend([
        ShareContext { epoch: epoch.next(), ..*context },
        ShareContext { custodian: NodeId::new([0xaa; 32]), ..*context },
        ShareContext { index: index.next(), ..*context },
        ShareContext { k: k + 1, ..*context },
        ShareContext { n: n + 1, ..*context },
        ShareContext { dealing: DealingId::new([0xaa; 32]), ..*context },
    ]);
    all
}

/// Each context that differs from the given one in exactly one field.
fn altered_release_contexts(context: &ReleaseContext) -> Vec<ReleaseContext> {
    let ReleaseContext { share, transaction: _, requester: _, opening_key: _ } = *context;
    let mut all: Vec<_> =
        altered_share_contexts(&share).into_iter().map(|share| ReleaseContext { share, ..*context }).collect();
    all.extend([
        ReleaseContext { transaction: TransactionId::new([0xaa; 32]), ..*context },
        ReleaseContext { requester: PublicKey::new([0xaa; 32]), ..*context },
        ReleaseContext { opening_key: keys::x25519_public(&Secret32::new([0xaa; 32])), ..*context },
    ]);
    all
}

struct Case {
    dealt: Dealt,
    dealing: CheckedDealing,
    signer: SigningKey,
    secret: Secret32,
}

fn case(seed: u64) -> Case {
    let dealt = deal(&mut rng(seed), Threshold::new(2, 4).unwrap()).unwrap();
    let data = DataContext {
        network: NetworkId::new([1; 32]),
        channel: ChannelId::new([2; 32]),
        record: RecordId::new([3; 32]),
        version: RecordVersion::new(1),
    };
    let dealing = CheckedDealing::new(dealt.commitments().clone(), data, ShareEpoch::new(0));
    let signer = SigningKey::from_seed(Secret32::new([4; 32]));
    Case { dealt, dealing, signer, secret: Secret32::new([5; 32]) }
}

impl Case {
    fn public(&self) -> [u8; 32] {
        keys::x25519_public(&self.secret)
    }

    fn context(&self) -> ShareContext {
        self.dealing.context(NodeId::of_key(self.signer.public()), ShareIndex::new(2))
    }

    fn release_context(&self) -> ReleaseContext {
        ReleaseContext {
            share: self.context(),
            transaction: TransactionId::new([6; 32]),
            requester: PublicKey::new([7; 32]),
            opening_key: self.public(),
        }
    }

    fn share(&self) -> Share {
        self.dealt.shares()[1].expose(|bytes| Share::from_bytes(bytes)).unwrap()
    }

    fn dealt_seal(&self) -> SealedShare {
        seal_to_custodian(&mut rng(1), &self.share(), &self.context(), &self.public()).unwrap()
    }

    fn released(&self) -> ReleasedShare {
        let share = self.dealing.verify(self.share()).unwrap();
        seal_to_requester(&mut rng(1), &share, &self.release_context(), &self.signer).unwrap()
    }

    /// Whatever a cheating author may seal, without the checks that an honest one passes.
    fn seal_anything(&self, plain: &[u8; Share::LEN], info: &[u8]) -> SealedShare {
        SealedShare::seal(&mut rng(2), plain, info, &self.public()).unwrap()
    }
}

#[test]
fn a_dealt_share_arrives() {
    let case = case(1);
    let sealed = case.dealt_seal();
    assert_eq!(sealed.to_bytes().0.len(), SealedShare::LEN);
    assert_eq!(SealedShare::from_bytes(&sealed.to_bytes()), Ok(sealed.clone()));
    let opened = open_dealt(&sealed, &case.context(), &case.secret).unwrap();
    assert!(case.dealing.verify(opened).is_ok());
}

#[test]
fn a_released_share_arrives() {
    let case = case(2);
    let opened = open_released(&case.released(), &case.release_context(), &case.secret).unwrap();
    assert!(case.dealing.verify(opened).is_ok());
}

#[test]
fn a_dealt_share_opens_in_no_other_context() {
    let case = case(3);
    let sealed = case.dealt_seal();
    let others = altered_share_contexts(&case.context());
    assert_eq!(others.len(), 10);
    for other in others {
        assert_eq!(open_dealt(&sealed, &other, &case.secret).unwrap_err(), OpenError::NotOpened, "{other:?}");
    }
}

#[test]
fn a_released_share_opens_in_no_other_context_even_if_it_was_signed_for_it() {
    let case = case(4);
    let released = case.released();
    let others = altered_release_contexts(&case.release_context());
    assert_eq!(others.len(), 13);
    for other in others {
        assert_eq!(open_released(&released, &other, &case.secret).unwrap_err(), OpenError::NotSigned, "{other:?}");
        if other.share.custodian == case.context().custodian {
            let signed = ReleasedShare::sign(released.sealed.clone(), &other, &case.signer);
            assert_eq!(open_released(&signed, &other, &case.secret).unwrap_err(), OpenError::NotOpened, "{other:?}");
        }
    }
}

#[test]
fn a_share_opens_with_no_other_key() {
    let case = case(5);
    let other = Secret32::new([6; 32]);
    assert_eq!(open_dealt(&case.dealt_seal(), &case.context(), &other).unwrap_err(), OpenError::NotOpened);
    let refused = open_released(&case.released(), &case.release_context(), &other);
    assert_eq!(refused.unwrap_err(), OpenError::NotOpened);
}

#[test]
fn a_dealt_share_is_no_released_one() {
    let case = case(6);
    let context = case.release_context();
    let relayed = ReleasedShare::sign(case.dealt_seal(), &context, &case.signer);
    assert_eq!(open_released(&relayed, &context, &case.secret).unwrap_err(), OpenError::NotOpened);
    let refused = open_dealt(&case.released().sealed, &context.share, &case.secret);
    assert_eq!(refused.unwrap_err(), OpenError::NotOpened);
}

/// The top bit of `enc` among them: X25519 ignores it, HPKE binds it.
#[test]
fn every_flipped_bit_of_a_sealed_share_is_refused() {
    let case = case(7);
    let SealedBytes(bytes) = case.dealt_seal().to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match SealedShare::from_bytes(&SealedBytes(flipped)) {
            Err(_) => assert!(bit < 8, "only the suite is checked while decoding"),
            Ok(sealed) => {
                let refused = open_dealt(&sealed, &case.context(), &case.secret).unwrap_err();
                assert_eq!(refused, OpenError::NotOpened, "bit {bit}");
            }
        }
    }
}

#[test]
fn an_unknown_suite_or_another_length_is_refused() {
    let SealedBytes(bytes) = case(8).dealt_seal().to_bytes();
    for suite in (0..=u8::MAX).filter(|suite| *suite != 1) {
        let mut other = bytes.clone();
        other[0] = suite;
        assert!(SealedShare::from_bytes(&SealedBytes(other)).is_err(), "suite {suite}");
    }
    for len in 0..bytes.len() {
        assert!(SealedShare::from_bytes(&SealedBytes(bytes[..len].to_vec())).is_err(), "{len} bytes");
    }
    assert!(SealedShare::from_bytes(&SealedBytes([&bytes[..], &[0]].concat())).is_err());
}

#[test]
fn nothing_is_sealed_to_a_weak_key() {
    let case = case(9);
    let share = case.dealing.verify(case.share()).unwrap();
    for weak in keys::tests::weak_keys() {
        let dealt = seal_to_custodian(&mut rng(1), &case.share(), &case.context(), &weak);
        assert!(matches!(dealt, Err(SealError::Key(_))), "{weak:?}");
        let context = ReleaseContext { opening_key: weak, ..case.release_context() };
        let released = seal_to_requester(&mut rng(1), &share, &context, &case.signer);
        assert!(matches!(released, Err(SealError::Key(_))), "{weak:?}");
    }
}

#[test]
fn a_share_is_sealed_only_for_its_own_context_and_by_its_own_custodian() {
    let case = case(10);
    let share = case.dealing.verify(case.share()).unwrap();
    let moved = ShareContext { index: ShareIndex::new(3), ..case.context() };
    let refused = seal_to_custodian(&mut rng(1), &case.share(), &moved, &case.public());
    assert_eq!(refused.unwrap_err(), SealError::OtherShare);

    for other in altered_share_contexts(&case.context()) {
        let context = ReleaseContext { share: other, ..case.release_context() };
        let refused = seal_to_requester(&mut rng(1), &share, &context, &case.signer).unwrap_err();
        let expected = match other.custodian == case.context().custodian {
            true => SealError::OtherShare,
            false => SealError::OtherCustodian,
        };
        assert_eq!(refused, expected, "{other:?}");
    }
}

/// RFC 9180, section 7.1.4: an encapsulated key of low order gives a secret that is known to all.
#[test]
fn an_encapsulated_key_of_low_order_does_not_open() {
    let case = case(11);
    for weak in keys::tests::weak_keys() {
        let mut bytes = case.dealt_seal().to_bytes();
        bytes.0[1..33].copy_from_slice(&weak);
        let sealed = SealedShare::from_bytes(&bytes).unwrap();
        assert_eq!(open_dealt(&sealed, &case.context(), &case.secret).unwrap_err(), OpenError::NotOpened);
    }
}

#[test]
fn a_release_is_signed_by_its_custodian_and_nobody_else() {
    let case = case(12);
    let context = case.release_context();
    let released = case.released();
    assert!(released.verify(&context));
    let stranger = SigningKey::from_seed(Secret32::new([9; 32]));
    let forged = ReleasedShare::sign(released.sealed.clone(), &context, &stranger);
    assert_eq!(open_released(&forged, &context, &case.secret).unwrap_err(), OpenError::NotSigned);
    let replaced = ReleasedShare { sealed: case.dealt_seal(), signature: released.signature };
    assert!(!replaced.verify(&context));
    assert_eq!(codec::encode(&released).len(), 178);
}

#[test]
fn different_seals_have_different_digests() {
    let case = case(13);
    assert_eq!(case.dealt_seal().digest(), digest(&case.dealt_seal().to_bytes()));
    assert_ne!(case.dealt_seal().digest(), case.released().sealed.digest());
}

mod judging {
    use super::*;

    /// The share with its value changed.
    fn wrong(case: &Case) -> [u8; Share::LEN] {
        let mut bytes = case.share().expose(|bytes| *bytes);
        bytes[1] ^= 1;
        bytes
    }

    fn other_position(case: &Case) -> [u8; Share::LEN] {
        case.dealt.shares()[0].expose(|bytes| *bytes)
    }

    fn judge(case: &Case, sealed: &SealedBytes) -> Result<Verdict, JudgeError> {
        let (context, dealing_key, digest) = (case.context(), case.public(), digest(sealed));
        let registered =
            Registered { dealing: &case.dealing, context: &context, dealing_key: &dealing_key, digest: &digest };
        judge_dealt(registered, sealed, &case.secret)
    }

    #[test]
    fn a_dealer_of_anything_but_the_committed_share_is_at_fault() {
        let case = case(20);
        let info = bound(label::SHARE_SEAL, &case.context());
        let mut bad: Vec<SealedBytes> = Vec::new();
        for plain in [wrong(&case), other_position(&case), [0; Share::LEN], [0xff; Share::LEN]] {
            bad.push(case.seal_anything(&plain, &info).to_bytes());
        }
        // Sealed for another context, or with the label of a release.
        let share = case.share().expose(|bytes| *bytes);
        for other in altered_share_contexts(&case.context()) {
            bad.push(case.seal_anything(&share, &bound(label::SHARE_SEAL, &other)).to_bytes());
        }
        bad.push(case.seal_anything(&share, &bound(label::RELEASE_SEAL, &case.context())).to_bytes());
        // Sealed to another key, of an unknown suite, cut short, or nothing at all.
        let other = keys::x25519_public(&Secret32::new([0xaa; 32]));
        bad.push(seal_to_custodian(&mut rng(1), &case.share(), &case.context(), &other).unwrap().to_bytes());
        let SealedBytes(good) = case.dealt_seal().to_bytes();
        bad.push(SealedBytes([&[2], &good[1..]].concat()));
        bad.push(SealedBytes(good[..good.len() - 1].to_vec()));
        bad.push(SealedBytes(Vec::new()));
        assert!(bad.len() >= 12);
        for sealed in bad {
            assert_eq!(judge(&case, &sealed), Ok(Verdict::DealerFault), "{sealed:?}");
        }
    }

    #[test]
    fn a_custodian_that_complains_of_a_good_share_lied() {
        let case = case(21);
        assert_eq!(judge(&case, &case.dealt_seal().to_bytes()), Ok(Verdict::CustodianLied));
    }

    #[test]
    fn evidence_that_does_not_fit_the_ledger_blames_nobody() {
        let case = case(22);
        let (context, dealing_key, sealed) = (case.context(), case.public(), case.dealt_seal().to_bytes());
        let digest = digest(&sealed);
        let registered =
            Registered { dealing: &case.dealing, context: &context, dealing_key: &dealing_key, digest: &digest };

        let other_seal = case.seal_anything(&wrong(&case), b"").to_bytes();
        assert_eq!(judge_dealt(registered, &other_seal, &case.secret), Err(JudgeError::NotRegistered));
        assert_eq!(judge_dealt(registered, &sealed, &Secret32::new([6; 32])), Err(JudgeError::OtherKey));
        for other in altered_share_contexts(&context) {
            // Custodian and position within the dealing are the registration's to say.
            if other.custodian == context.custodian && other.index == context.index {
                let elsewhere = Registered { context: &other, ..registered };
                assert_eq!(judge_dealt(elsewhere, &sealed, &case.secret), Err(JudgeError::OtherDealing));
            }
        }
        let beyond = ShareContext { index: ShareIndex::new(5), ..context };
        let beyond = Registered { context: &beyond, ..registered };
        assert_eq!(judge_dealt(beyond, &sealed, &case.secret), Err(JudgeError::OtherDealing));
    }

    /// A key whose spelling or torsion belongs to no secret could make an honest sender look bad; it
    /// never gets that far, for nobody can reveal a secret that belongs to it.
    #[test]
    fn a_key_without_a_secret_blames_nobody() {
        let case = case(23);
        let context = case.release_context();
        let mut respelled = context;
        respelled.opening_key[31] |= 0x80;
        let share = case.share().expose(|bytes| *bytes);
        let sealed =
            SealedShare::seal(&mut rng(1), &share, &bound(label::RELEASE_SEAL, &respelled), &respelled.opening_key);
        let released = ReleasedShare::sign(sealed.unwrap(), &respelled, &case.signer);
        assert_eq!(judge_released(&case.dealing, &respelled, &released, &case.secret), Err(JudgeError::OtherKey));
    }

    #[test]
    fn a_custodian_that_signs_anything_but_the_committed_share_lied() {
        let case = case(24);
        let context = case.release_context();
        let info = bound(label::RELEASE_SEAL, &context);
        let mut bad = Vec::new();
        for plain in [wrong(&case), other_position(&case), [0; Share::LEN]] {
            bad.push(case.seal_anything(&plain, &info));
        }
        let share = case.share().expose(|bytes| *bytes);
        for other in altered_release_contexts(&context) {
            bad.push(case.seal_anything(&share, &bound(label::RELEASE_SEAL, &other)));
        }
        bad.push(case.dealt_seal());
        for sealed in bad {
            let released = ReleasedShare::sign(sealed, &context, &case.signer);
            let verdict = judge_released(&case.dealing, &context, &released, &case.secret);
            assert_eq!(verdict, Ok(Verdict::CustodianLied));
        }
    }

    #[test]
    fn an_honest_release_is_fine_and_unsigned_evidence_is_none() {
        let case = case(25);
        let context = case.release_context();
        let released = case.released();
        assert_eq!(judge_released(&case.dealing, &context, &released, &case.secret), Ok(Verdict::Fine));
        let other = judge_released(&case.dealing, &context, &released, &Secret32::new([6; 32]));
        assert_eq!(other, Err(JudgeError::OtherKey));
        let forged = ReleasedShare { sealed: case.seal_anything(&wrong(&case), b""), ..released };
        assert_eq!(judge_released(&case.dealing, &context, &forged, &case.secret), Err(JudgeError::NotSigned));
        for altered in altered_release_contexts(&context) {
            let nobody = judge_released(&case.dealing, &altered, &case.released(), &case.secret);
            assert!(matches!(nobody, Err(JudgeError::NotSigned | JudgeError::OtherDealing)), "{altered:?}");
        }
    }
}
