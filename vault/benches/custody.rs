//! What custody costs: dealing and combining shares, deciding about a release, and releasing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is measured is valid")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dmdl_types::{
    context::DataContext,
    custody::{AllowedDecryption, Assignment, GrantView, ReleaseView, ShareView},
    id::{
        ChannelId, GrantId, Height, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId,
        UnixMillis, UseNumber,
    },
    secret::Secret32,
    sign::{Domain, SigningKey},
};
use dmdl_vault::{
    custodian::{Arrival, Custodian, MemoryKeys, MemoryKv, ReleaseLimits},
    keys::x25519_public,
    seal::{digest, seal_to_custodian},
    share::{CheckedDealing, Dealt, Share, Threshold, combine, deal},
};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use std::{hint::black_box, sync::Arc};

const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);
const ASKED: TransactionId = TransactionId::new([7; 32]);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

fn domain() -> Domain {
    Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) }
}

fn data() -> DataContext {
    let Domain { network, channel } = domain();
    DataContext { network, channel, record: RecordId::new([3; 32]), version: RecordVersion::new(1) }
}

fn dealt(k: u8, n: u8) -> (Dealt, CheckedDealing) {
    let dealt = deal(&mut rng(), Threshold::new(k, n).unwrap()).unwrap();
    let dealing = CheckedDealing::new(dealt.commitments().clone(), data(), ShareEpoch::new(0));
    (dealt, dealing)
}

fn copy(share: &Share) -> Share {
    share.expose(|bytes| Share::from_bytes(bytes)).unwrap()
}

fn shares(c: &mut Criterion) {
    for (k, n) in [(2, 4), (6, 16)] {
        let mut group = c.benchmark_group(format!("share/{k} of {n}"));
        let (dealt, dealing) = dealt(k, n);
        let (mut rng, threshold) = (rng(), Threshold::new(k, n).unwrap());
        group.bench_function("deal", |b| b.iter(|| deal(&mut rng, threshold).unwrap()));
        let fresh = || copy(&dealt.shares()[0]);
        group.bench_function("verify", |b| {
            b.iter_batched(fresh, |share| dealing.verify(share).unwrap(), BatchSize::SmallInput);
        });
        let verified: Vec<_> =
            dealt.shares()[..k.into()].iter().map(|share| dealing.verify(copy(share)).unwrap()).collect();
        group.bench_function("combine", |b| b.iter(|| combine(&dealing, black_box(&verified)).unwrap()));
        group.finish();
    }
}

type InMemory = Custodian<MemoryKv, MemoryKeys>;

/// A custodian that holds its share of a record, and what its ledger says of an allowed decryption.
fn holding() -> (InMemory, ReleaseView) {
    let signer = Arc::new(SigningKey::from_seed(Secret32::new([2; 32])));
    let (me, requester) = (NodeId::of_key(signer.public()), SigningKey::from_seed(Secret32::new([9; 32])).public());
    let limits = ReleaseLimits::of_channel(2_000, 4_000, 1);
    let (kv, keys) = (MemoryKv::default(), MemoryKeys::default());
    let mut custodian = Custodian::open(&mut rng(), domain(), signer, limits, kv, keys).unwrap();
    let key = custodian.mint(&mut rng(), requester, 1, NOW).unwrap()[0];
    let (dealt, dealing) = dealt(2, 4);
    let context = dealing.context(me, ShareIndex::new(1));
    let sealed = seal_to_custodian(&mut rng(), &dealt.shares()[0], &context, &key.key).unwrap().to_bytes();
    let commitments = dealt.commitments().as_bytes().to_vec();
    let assignment = Assignment {
        share: context,
        commitments: commitments.clone(),
        dealing_key: key.key,
        sealed_digest: digest(&sealed),
        height: Height::new(5),
    };
    custodian.accept(&mut rng(), &[Arrival { assignment: &assignment, sealed: &sealed }]).unwrap().remove(0).unwrap();
    let grant = GrantView { grant: GrantId::new([8; 32]), uses_max: 3, ends: NOW.plus_ms(60_000), revoked: false };
    let decryption = AllowedDecryption {
        transaction: ASKED,
        time: NOW,
        requester,
        grant: Some(grant),
        use_number: UseNumber::new(1),
        opening_key: Some(x25519_public(&Secret32::new([6; 32]))),
    };
    let view = ReleaseView {
        network: domain().network,
        channel: domain().channel,
        tip: Height::new(9),
        tip_time: NOW,
        conflict_seen: false,
        decryption: Some(decryption),
        share: Some(ShareView { share: context, commitments, erased: false }),
        key_active: true,
        suspended: false,
    };
    (custodian, view)
}

fn releases(c: &mut Criterion) {
    let mut group = c.benchmark_group("release");
    let (custodian, view) = holding();
    let (rule, held) = (*custodian.rule(), view.share.as_ref().map(|share| share.share));
    group.bench_function("decide", |b| b.iter(|| rule.check(ASKED, black_box(&view), held.as_ref(), NOW).unwrap()));
    let mut rng = rng();
    group.bench_function("first", |b| {
        b.iter_batched_ref(
            holding,
            |(custodian, view)| custodian.release(&mut rng, ASKED, view, NOW).unwrap(),
            BatchSize::SmallInput,
        );
    });
    let mut custodian = custodian;
    drop(custodian.release(&mut rng, ASKED, &view, NOW).unwrap());
    group.bench_function("again", |b| b.iter(|| custodian.release(&mut rng, ASKED, &view, NOW).unwrap()));
    group.finish();
}

criterion_group!(benches, shares, releases);
criterion_main!(benches);
