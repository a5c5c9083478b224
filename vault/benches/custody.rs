//! What custody costs: dealing and combining shares, deciding about a release, releasing, and handing keys on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is measured is valid")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dmdl_types::{
    context::DataContext,
    custody::{
        AllowedDecryption, Assignment, Dealing, DealingKey, GrantView, ReleaseView, ReshareTask, SealedBytes,
        ShareView, TaskPart,
    },
    id::{
        ChannelId, DealingId, GrantId, Height, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex,
        TransactionId, UnixMillis, UseNumber,
    },
    invocation::SystemItem,
    secret::Secret32,
    sign::{Domain, SigningKey},
};
use dmdl_vault::{
    custodian::{Arrival, Custodian, MemoryKeys, MemoryKv, Next, ReleaseLimits, is_part, merge},
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

/// The numbers of custodians that a record goes from and to, and how many open it.
const N: u8 = 7;
const K: u8 = 3;

/// The custodians of a record that goes to the same ones, with the parts that K of them have dealt, and what the first is to
/// get of each.
struct HandingOn {
    custodians: Vec<InMemory>,
    task: ReshareTask,
    parts: Vec<Dealing>,
    arrivals: Vec<(NodeId, Assignment, SealedBytes)>,
}

fn signer(number: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(Secret32::new([number; 32])))
}

fn indices() -> impl Iterator<Item = ShareIndex> {
    (1..=N).map(ShareIndex::new)
}

/// Custodians that hold their shares, before anybody has dealt a part.
fn holders() -> HandingOn {
    let (dealt, dealing) = dealt(K, N);
    let limits = ReleaseLimits::of_channel(2_000, 4_000, 1);
    let mut custodians = Vec::new();
    for index in indices() {
        let (kv, keys) = (MemoryKv::default(), MemoryKeys::default());
        let mut custodian = Custodian::open(&mut rng(), domain(), signer(index.get()), limits, kv, keys).unwrap();
        let key = custodian.mint(&mut rng(), signer(99).public(), 1, NOW).unwrap()[0];
        let context = dealing.context(custodian.rule().me, index);
        let share = &dealt.shares()[usize::from(index.get()) - 1];
        let sealed = seal_to_custodian(&mut rng(), share, &context, &key.key).unwrap().to_bytes();
        let assignment = Assignment {
            share: context,
            commitments: dealt.commitments().as_bytes().to_vec(),
            dealing_key: key.key,
            sealed_digest: digest(&sealed),
            height: Height::new(5),
        };
        let arrival = [Arrival { assignment: &assignment, sealed: &sealed }];
        custodian.accept(&mut rng(), &arrival).unwrap().remove(0).unwrap();
        custodians.push(custodian);
    }
    let ids: Vec<NodeId> = custodians.iter().map(|custodian| custodian.rule().me).collect();
    let task = ReshareTask {
        transaction: ASKED,
        data: data(),
        epoch: ShareEpoch::new(0),
        commitments: dealt.commitments().as_bytes().to_vec(),
        custodians: ids.clone(),
        threshold: K,
        min_acks: 2 * K - 1,
        holders: ids,
        dealers: Vec::new(),
        parts: Vec::new(),
        acks: Vec::new(),
        merged: None,
    };
    HandingOn { custodians, task, parts: Vec::new(), arrivals: Vec::new() }
}

/// Each next custodian's key for a dealer.
fn keys_for(dealer: u8, custodians: &mut [InMemory]) -> Vec<Option<DealingKey>> {
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(dealer));
    let mint = |custodian: &mut InMemory| custodian.mint(&mut rng, signer(dealer).public(), 1, NOW).unwrap()[0];
    custodians.iter_mut().map(mint).map(Some).collect()
}

/// The same when enough parts are on the ledger.
fn parts_dealt() -> HandingOn {
    let mut handing = holders();
    for dealer in 1..=K {
        let keys = keys_for(dealer, &mut handing.custodians);
        let dealing_custodian = &mut handing.custodians[usize::from(dealer) - 1];
        let mut rng = ChaCha20Rng::seed_from_u64(100 + u64::from(dealer));
        let item = dealing_custodian.deal_part(&mut rng, &handing.task, &keys).unwrap();
        let SystemItem::Part { dealing, .. } = item else { unreachable!("it dealt a part") };
        let sealed = dealing_custodian.part_for(&handing.task, ShareIndex::new(1)).unwrap().unwrap();
        let context = CheckedDealing::of_dealing(&dealing, data()).unwrap();
        let assignment = Assignment {
            share: context.context(handing.task.custodians[0], ShareIndex::new(1)),
            commitments: dealing.commitments.clone(),
            dealing_key: dealing.shares[0].key.key,
            sealed_digest: dealing.shares[0].digest,
            height: Height::new(7),
        };
        let dealer_id = handing.task.custodians[usize::from(dealer) - 1];
        handing.task.parts.push(TaskPart {
            dealer: dealer_id,
            from: ShareIndex::new(dealer),
            commitments: dealing.commitments.clone(),
            is_chosen: true,
            keyless: Vec::new(),
            missing: Vec::new(),
        });
        handing.arrivals.push((dealer_id, assignment, sealed));
        handing.parts.push(*dealing);
    }
    let commitments = merge(&handing.task.reshared(), &numbered(&handing.parts)).unwrap();
    handing.task.merged = Some(DealingId::derive(&data(), ShareEpoch::new(1), &commitments));
    handing
}

fn numbered(parts: &[Dealing]) -> Vec<(ShareIndex, &Dealing)> {
    indices().zip(parts).collect()
}

/// One custodian's work for one record: as a dealer, as one of the next, and as everybody who executes the ledger.
fn handing_on(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("reshare/{K} of {N}"));
    let with_keys = || {
        let mut handing = holders();
        let keys = keys_for(1, &mut handing.custodians);
        (handing, keys)
    };
    group.bench_function("deal a part", |b| {
        b.iter_batched_ref(
            with_keys,
            |(handing, keys)| handing.custodians[0].deal_part(&mut rng(), &handing.task, keys).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("take in and add up", |b| {
        b.iter_batched_ref(
            parts_dealt,
            |HandingOn { custodians, task, arrivals, .. }| {
                for (dealer, assignment, sealed) in arrivals {
                    let arrival = Arrival { assignment, sealed };
                    custodians[0].accept_part(&mut rng(), (ASKED, *dealer), &arrival).unwrap().unwrap();
                }
                assert!(matches!(custodians[0].merge(&mut rng(), task).unwrap(), Next::Acknowledge(_)));
            },
            BatchSize::SmallInput,
        );
    });
    let HandingOn { task, parts, .. } = parts_dealt();
    group.bench_function("check the parts and their sum", |b| {
        b.iter(|| {
            let old = task.reshared();
            assert!(numbered(&parts).iter().all(|(from, part)| is_part(&old, *from, part)));
            merge(&old, black_box(&numbered(&parts))).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, shares, releases, handing_on);
criterion_main!(benches);
