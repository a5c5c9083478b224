//! Shares: what opens was sealed, what verifies was dealt, and nobody honest is blamed.

use super::{Seeds, draw::Draw, fixtures};
use dmdl_types::{
    codec,
    context::{DataContext, ReleaseContext, ShareContext},
    custody::{Dealing, SealedBytes},
    id::{ChannelId, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId},
    secret::Secret32,
};
use dmdl_vault::{
    keys::{check_x25519, x25519_public},
    seal::{
        Registered, ReleasedShare, SealedShare, Verdict, digest, judge_dealt, judge_released, open_dealt,
        open_released, seal_to_custodian, seal_to_requester,
    },
    share::{CheckedDealing, CombineError, Commitments, Share, Threshold, VerifiedShare, WrappedShare, combine, deal},
};
use std::sync::LazyLock;

const K: usize = 3;
const N: usize = 5;
const DATA: DataContext = DataContext {
    network: NetworkId::new([1; 32]),
    channel: ChannelId::new([2; 32]),
    record: RecordId::new([3; 32]),
    version: RecordVersion::new(1),
};

/// A dealing with everything that is made of its second share.
struct Scene {
    dealing: CheckedDealing,
    data_key: [u8; 32],
    shares: Vec<[u8; Share::LEN]>,
    context: ShareContext,
    release: ReleaseContext,
    sealed: Vec<u8>,
    released: Vec<u8>,
    wrapped: Vec<u8>,
}

static SCENE: LazyLock<Scene> = LazyLock::new(Scene::new);

impl Scene {
    fn new() -> Self {
        let mut rng = fixtures::rng(b"dealing");
        let threshold = Threshold::new(K as u8, N as u8).expect("a threshold");
        let dealt = deal(&mut rng, threshold).expect("randomness");
        let dealing = CheckedDealing::new(dealt.commitments().clone(), DATA, ShareEpoch::new(0));
        let custodian = fixtures::key(4);
        let context = dealing.context(NodeId::of_key(custodian.public()), ShareIndex::new(2));
        let release = ReleaseContext {
            share: context,
            transaction: TransactionId::new([6; 32]),
            requester: fixtures::key(8).public(),
            opening_key: x25519_public(&secret()),
        };
        let shares: Vec<_> = dealt.shares().iter().map(|share| share.expose(|bytes| *bytes)).collect();
        let second = || Share::from_bytes(&shares[1]).expect("a share");
        let verified = dealing.verify(second()).expect("the dealt share");
        let sealed = seal_to_custodian(&mut rng, &second(), &context, &x25519_public(&secret())).expect("sealed");
        let released = seal_to_requester(&mut rng, &verified, &release, &custodian).expect("released");
        let wrapped = WrappedShare::seal(&mut rng, &verified, &secret(), &context).expect("wrapped");
        Self {
            data_key: dealt.data_key(&DATA).expose(|key| *key),
            sealed: codec::encode(&sealed),
            released: codec::encode(&released),
            wrapped: codec::encode(&wrapped),
            dealing,
            shares,
            context,
            release,
        }
    }

    fn verified(&self, position: usize) -> VerifiedShare {
        self.dealing.verify(Share::from_bytes(&self.shares[position]).expect("a share")).expect("a dealt share")
    }

    fn is_second(&self, share: &Share) -> bool {
        share.expose(|bytes| *bytes == self.shares[1])
    }
}

fn secret() -> Secret32 {
    fixtures::secret(5)
}

pub(super) fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let scene: &Scene = &SCENE;
    match kind % 6 {
        0 => dealt(scene, data),
        1 => released(scene, data),
        2 => wrapped(scene, data),
        3 => plain(scene, data),
        4 => commitments(data),
        _ => combined(scene, data),
    }
}

/// Bytes that a dealer registered: its own fault unless they are the committed share, sealed.
fn dealt(scene: &Scene, data: &[u8]) {
    let bytes = SealedBytes(data.to_vec());
    if let Ok(sealed) = SealedShare::from_bytes(&bytes) {
        assert_eq!(sealed.to_bytes().0, data, "a second encoding");
        let opened = open_dealt(&sealed, &scene.context, &secret());
        assert_eq!(opened.as_ref().is_ok_and(|share| scene.is_second(share)), data == scene.sealed);
        assert_eq!(opened.is_ok(), data == scene.sealed, "what opens was never sealed");
    }
    let registered = Registered {
        dealing: &scene.dealing,
        context: &scene.context,
        dealing_key: &x25519_public(&secret()),
        digest: &digest(&bytes),
    };
    let verdict = judge_dealt(registered, &bytes, &secret());
    let expected = if data == scene.sealed { Verdict::CustodianLied } else { Verdict::DealerFault };
    assert_eq!(verdict, Ok(expected), "the wrong one is blamed");
}

/// Bytes that are said to be a custodian's release: nobody answers for what nobody signed.
fn released(scene: &Scene, data: &[u8]) {
    let Ok(released) = codec::decode::<ReleasedShare>(data, 1024) else { return };
    assert_eq!(codec::encode(&released), data, "a second encoding");
    let good = data == scene.released;
    assert_eq!(released.verify(&scene.release), good, "a release by nobody");
    let opened = open_released(&released, &scene.release, &secret());
    assert_eq!(opened.is_ok_and(|share| scene.is_second(&share)), good);
    let judged = judge_released(&scene.dealing, &scene.release, &released, &secret());
    assert_eq!(judged.is_ok(), good);
    assert!(judged.is_err() || judged == Ok(Verdict::Fine), "an honest custodian is blamed");
}

fn wrapped(scene: &Scene, data: &[u8]) {
    let Ok(wrapped) = codec::decode::<WrappedShare>(data, 1024) else { return };
    assert_eq!(codec::encode(&wrapped), data, "a second encoding");
    let opened = wrapped.open(&secret(), &scene.context);
    assert_eq!(opened.is_ok_and(|share| scene.is_second(&share)), data == scene.wrapped);
}

/// Bytes that are said to be a share: only the dealt ones verify.
fn plain(scene: &Scene, data: &[u8]) {
    let Ok(share) = Share::from_bytes(data) else { return };
    assert!(share.expose(|bytes| bytes == data), "a second encoding");
    let index = share.index();
    match scene.dealing.verify(share) {
        Ok(verified) => {
            assert!(scene.shares.iter().any(|share| share == data), "a share that nobody dealt");
            assert_eq!(verified.index(), index);
        }
        Err(error) => {
            assert!(!scene.shares.iter().any(|share| share == data), "a dealt share is refused");
            assert_eq!(error.culprit(), index);
        }
    }
}

/// Bytes that are said to be commitments, a whole dealing, or a one-time key.
fn commitments(data: &[u8]) {
    let mut draw = Draw::new(data);
    let (k, n, key) = (draw.byte(), draw.byte(), draw.array());
    _ = check_x25519(&key);
    let points: Vec<[u8; 32]> = draw.rest().as_chunks::<32>().0.to_vec();
    if let Ok(threshold) = Threshold::new(k, n) {
        assert!(k >= 2 && u16::from(n) >= 2 * u16::from(k) - 1);
        if let Ok(commitments) = Commitments::parse(threshold, &points) {
            assert_eq!(commitments.as_bytes(), points);
            assert!(points.iter().all(|point| *point != [0; 32]), "the identity is a commitment");
        }
    }
    if let Ok(dealing) = codec::decode::<Dealing>(data, 64 * 1024)
        && let Ok(checked) = CheckedDealing::of_dealing(&dealing, DATA)
    {
        assert_eq!(checked.commitments().as_bytes(), dealing.commitments);
        let context = checked.context(NodeId::new([1; 32]), ShareIndex::new(1));
        assert!(checked.has(&context));
        assert_eq!(CheckedDealing::of_context(&context, &dealing.commitments).as_ref(), Ok(&checked));
    }
}

/// Any `k` shares, in any order, give the key; fewer, or one of them twice, give nothing.
fn combined(scene: &Scene, data: &[u8]) {
    let positions: Vec<usize> = data.iter().take(N + 1).map(|byte| usize::from(*byte) % N).collect();
    let shares: Vec<_> = positions.iter().map(|position| scene.verified(*position)).collect();
    let twice = positions.iter().enumerate().any(|(i, position)| positions[..i].contains(position));
    match combine(&scene.dealing, &shares) {
        Ok(key) => {
            assert!(!twice && positions.len() >= K, "fewer than {K} shares open");
            assert!(key.expose(|key| *key == scene.data_key), "another key");
        }
        Err(CombineError::Duplicate { .. }) => assert!(twice),
        Err(CombineError::TooFew { .. }) => assert!(positions.len() < K),
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn seeds() -> Seeds {
    let scene: &Scene = &SCENE;
    let points = scene.dealing.commitments().as_bytes().concat();
    let key = x25519_public(&secret());
    let seed = |name: &str, kind: u8, bytes: &[u8]| (name.to_owned(), [&[kind], bytes].concat());
    vec![
        seed("sealed", 0, &scene.sealed),
        seed("released", 1, &scene.released),
        seed("wrapped", 2, &scene.wrapped),
        seed("share", 3, &scene.shares[0]),
        seed("commitments", 4, &[&[K as u8, N as u8], &key[..], &points].concat()),
        seed("dealing", 4, &codec::encode(&super::ledger::dealing(&scene.dealing.commitments().as_bytes()[..2]))),
        seed("combined", 5, &[4, 0, 2]),
    ]
}
