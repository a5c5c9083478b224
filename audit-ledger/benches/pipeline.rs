//! What the steps around a block cost: audit of a transaction, the pool, log, state hash and index, the commit to disk,
//! and receipts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is measured is valid")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod scene;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dmdl_audit_ledger::{
    audit,
    commitment::{index::Index, state::StateHash},
    endorse, log,
    order::{Checked, Pool},
    store::{Batch, MemoryBudget, MemoryStore, Overlay, RocksStore, Space, Store as _},
};
use dmdl_types::{
    block::Block,
    checkpoint::{Checkpoint, Committer, CosignedCheckpoint},
    codec,
    event::{Action, Event, Outcome},
    genesis::Genesis,
    hash,
    id::{BlockDigest, Epoch, Height, OrgId, RecordId, TransactionId, UnixMillis},
    label,
    merkle::Frontier,
    receipt::Receipt,
    transaction::EndorsedTransaction,
};
use scene::{block, cosigner, executor, genesis, node, signer, transaction};
use std::hint::black_box;

/// Transactions of a block under load.
const BLOCK: u32 = 100;
/// Events of a log that has been there for a while.
const EVENTS: u64 = 10_000;

fn audits(c: &mut Criterion) {
    let (genesis, store) = (genesis(), MemoryStore::new());
    drop(executor(&genesis, store.clone()));
    let (domain, transaction) = (genesis.domain(), transaction(&genesis, 1).transaction);
    let audit = |checked: &Checked| {
        endorse::audit(&store, &domain, checked, Height::new(1), black_box(&transaction), true).unwrap()
    };
    let mut group = c.benchmark_group("endorse");
    group.bench_function("audit, signature new", |b| {
        b.iter_batched(Checked::default, |checked| audit(&checked), BatchSize::SmallInput);
    });
    let seen = Checked::default();
    audit(&seen);
    group.bench_function("audit, signature seen", |b| b.iter(|| audit(&seen)));
    group.finish();
}

fn pools(c: &mut Criterion) {
    let genesis = genesis();
    let endorsed: Vec<(TransactionId, EndorsedTransaction)> = (0..BLOCK)
        .map(|number| transaction(&genesis, number))
        .map(|endorsed| (endorsed.transaction.body.id(), endorsed))
        .collect();
    let filled = || {
        let mut pool = Pool::default();
        for (id, endorsed) in endorsed.clone() {
            assert!(pool.insert(id, endorsed).unwrap());
        }
        pool
    };
    let (config, parent) = (genesis.epoch_config(Epoch::new(0)), Block::genesis(&genesis.founding()).digest());
    let mut group = c.benchmark_group("pool");
    group.throughput(Throughput::Elements(BLOCK.into()));
    group.bench_function("take in 100", |b| b.iter(filled));
    let pool = filled();
    group.bench_function("make a block of 100", |b| {
        b.iter(|| pool.body(parent, Height::new(1), Height::new(0), &config))
    });
    group.finish();
}

fn encodings(c: &mut Criterion) {
    let block = block(&genesis(), BLOCK);
    let bytes = codec::encode(&block);
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode a block of 100", |b| b.iter(|| codec::encode(black_box(&block))));
    group.bench_function("decode a block of 100", |b| {
        b.iter(|| codec::decode::<Block>(black_box(&bytes), bytes.len()).unwrap());
    });
    group.bench_function("digest of a body of 100", |b| b.iter(|| black_box(&block).body.digest()));
    group.finish();
}

/// Something that somebody did with a record of their own.
fn event(number: u64) -> Event {
    let id = hash::labelled(label::TRANSACTION_ID, &[&number.to_le_bytes()]);
    Event {
        height: Height::new(number / u64::from(BLOCK)),
        time: UnixMillis::new(1_800_000_000_000 + number),
        transaction: TransactionId::new(id),
        item: 0,
        action: Action::InitialMedical,
        actor: signer(9).public(),
        org: Some(OrgId::new("org-1").unwrap()),
        record: Some(RecordId::new(id)),
        version: None,
        subject: None,
        shares: None,
        purpose: None,
        policy: None,
        refers_to: None,
        outcome: Outcome::applied(),
    }
}

/// A log of so many events.
fn log_of(events: u64) -> (MemoryStore, Frontier, Index) {
    let (store, mut frontier, mut index) = (MemoryStore::new(), Frontier::default(), Index::default());
    for first in (0..events).step_by(1000) {
        let mut block = Overlay::new(&store);
        let next: Vec<Event> = (first..events.min(first + 1000)).map(event).collect();
        log::append(&mut block, &mut frontier, &mut index, &next).unwrap();
        let changes = block.into_changes();
        store.commit(changes.into()).unwrap();
    }
    (store, frontier, index)
}

fn ledgers(c: &mut Criterion) {
    let (store, frontier, index) = log_of(EVENTS);
    let next: Vec<Event> = (EVENTS..EVENTS + u64::from(BLOCK)).map(event).collect();
    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Elements(BLOCK.into())).sample_size(20);
    group.bench_function("append 100 events to a log of 10,000, with their index", |b| {
        b.iter_batched(
            || index.clone(),
            |mut index| log::append(&mut Overlay::new(&store), &mut frontier.clone(), &mut index, &next).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("state hash of 100 new entries", |b| {
        b.iter_batched_ref(
            || {
                let mut block = Overlay::new(&store);
                for number in 0..BLOCK {
                    block.put(Space::State, number.to_be_bytes(), [7u8; 160]);
                }
                block
            },
            |block| StateHash::update(block).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// What a block of 100 transactions writes: leaves, nodes of the tree, lists and rows of state.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    for at in 0..u64::from(BLOCK) {
        let key = hash::labelled(label::TRANSACTION_ID, &[&number.to_le_bytes(), &at.to_le_bytes()]);
        batch.put(Space::Events, key, [1u8; 300]);
        batch.put(Space::Log, [&key[..], &[0]].concat(), [2u8; 32]);
        batch.put(Space::Log, [&key[..], &[1]].concat(), [3u8; 32]);
        batch.put(Space::Index, [&key[..], &[2]].concat(), [4u8; 64]);
        batch.put(Space::Index, [&key[..], &[3]].concat(), [5u8; 8]);
        batch.put(Space::State, key, [6u8; 160]);
    }
    batch.put(Space::Meta, "height", number.to_le_bytes());
    batch
}

fn commits(c: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("dmdl-commits-{}", std::process::id()));
    let store = RocksStore::open(&folder, &MemoryBudget::default()).unwrap();
    let mut group = c.benchmark_group("store");
    group.sample_size(20);
    let mut number = 0;
    let mut next = move || {
        number += 1;
        batch(number)
    };
    group.bench_function("commit a block of 100 to disk, synced", |b| {
        b.iter_batched(&mut next, |batch| store.commit(batch).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A checkpoint of a log, cosigned by two of four.
fn cosigned(genesis: &Genesis, frontier: &Frontier) -> (CosignedCheckpoint, Vec<Committer>) {
    let domain = genesis.domain();
    let checkpoint = Checkpoint {
        network: domain.network,
        channel: domain.channel,
        size: frontier.size(),
        root: frontier.root(),
        height: Height::new(1),
        block: BlockDigest::new([3; 32]),
        state: [5; 32],
        index: [6; 32],
    };
    let cosignatures = [1, 2].map(|org| cosigner(org).sign(&checkpoint, node(org), 1_800_000_000)).to_vec();
    (CosignedCheckpoint::new(checkpoint, cosignatures).unwrap(), genesis.epoch_config(Epoch::new(0)).cosigners())
}

fn receipts(c: &mut Criterion) {
    let (genesis, (store, frontier, _)) = (genesis(), log_of(EVENTS));
    let (checkpoint, committers) = cosigned(&genesis, &frontier);
    let domain = genesis.domain();
    let verified = checkpoint.verify(&domain, &committers, 2).unwrap();
    let make = || audit::receipt(&store, EVENTS / 3, checkpoint.clone()).unwrap();
    let receipt = make();
    let text = receipt.to_text();
    let mut group = c.benchmark_group("receipt");
    group.bench_function("make", |b| b.iter(make));
    group.bench_function("print", |b| b.iter(|| black_box(&receipt).to_text()));
    group.bench_function("read", |b| b.iter(|| Receipt::parse(black_box(text.as_bytes())).unwrap()));
    group.bench_function("verify, with two cosignatures", |b| {
        b.iter(|| black_box(&receipt).verify(&domain, &committers, 2).unwrap());
    });
    group.bench_function("verify under a checkpoint that is believed", |b| {
        b.iter(|| black_box(&receipt).verify_under(verified).unwrap());
    });
    group.finish();
}

criterion_group!(benches, audits, pools, encodings, ledgers, commits, receipts);
criterion_main!(benches);
