//! What it costs to count a block's events under their records, actors and subjects, and what of it is written.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "what is measured is valid, and what is written is told")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dmdl_audit_ledger::{
    commitment::index::{self, Index},
    log,
    store::{Changes, History, MemoryBudget, MemoryStore, Overlay, RocksStore, Space, Store},
};
use dmdl_types::{
    event::{Action, Event, Outcome},
    hash,
    id::{Height, OrgId, RecordId, RecordVersion, SubjectId, TransactionId, UnixMillis},
    merkle::Frontier,
    sign::PublicKey,
};
use std::{fs, path::Path};

/// Transactions of a block of a busy channel.
const BLOCK: u64 = 270;
/// People who act.
const ACTORS: u64 = 300;

fn id(what: &str, number: u64) -> [u8; 32] {
    hash::labelled(what, &[&number.to_le_bytes()])
}

/// Two of three events are of a new record, the third of an earlier one; every second one names a subject, which
/// comes three times: 2.5 links an event, and 5 new heads in 6 events.
fn event(number: u64) -> Event {
    let record = if number % 3 == 2 { number / 3 } else { number };
    let subject = number.is_multiple_of(2).then(|| SubjectId::new(id("subject", number / 6)));
    Event {
        height: Height::new(number / BLOCK),
        time: UnixMillis::new(1_800_000_000_000 + number),
        transaction: TransactionId::new(id("transaction", number)),
        item: 0,
        action: Action::Register,
        actor: PublicKey::new(id("actor", number % 7919 % ACTORS)),
        org: Some(OrgId::new("hospital-north").unwrap()),
        record: Some(RecordId::new(id("record", record))),
        version: Some(RecordVersion::new(1)),
        subject,
        shares: None,
        purpose: None,
        policy: None,
        refers_to: None,
        outcome: Outcome::applied(),
    }
}

struct Ledger<S> {
    store: S,
    frontier: Frontier,
    index: Index,
    history: History,
    blocks: u64,
}

impl<S: Store> Ledger<S> {
    fn new(store: S, heads: u64) -> Self {
        let (frontier, index, history) = Default::default();
        let mut ledger = Self { store, frontier, index, history, blocks: 0 };
        while ledger.frontier.size() < heads * 6 / 5 {
            ledger.commit(8 * BLOCK);
        }
        ledger
    }

    fn events(&self, count: u64) -> Vec<Event> {
        (self.frontier.size()..).take(usize::try_from(count).unwrap()).map(event).collect()
    }

    fn append(&self, events: &[Event], mut index: Index) -> (Overlay<&S>, Frontier, Index, Changes) {
        let mut block = Overlay::new(&self.store);
        let mut frontier = self.frontier.clone();
        let appended = log::append(&mut block, &mut frontier, &mut index, events).unwrap();
        (block, frontier, index, appended.undo)
    }

    /// All that a block costs but its execution.
    fn commit(&mut self, count: u64) {
        let events = self.events(count);
        let height = Height::new(self.blocks + 1);
        let (mut history, index) = (std::mem::take(&mut self.history), std::mem::take(&mut self.index));
        let (block, frontier, index, undo) = self.append(&events, index);
        history.record(height, undo);
        history.forget_before(height);
        let changes = block.into_changes();
        self.store.commit(changes.into()).unwrap();
        self.history = history;
        self.frontier = frontier;
        self.index = index;
        self.blocks += 1;
    }
}

/// Keys and values, and what the write-ahead log takes for each.
fn bytes(changes: &Changes, space: Space) -> (u64, u64) {
    changes.of(space).fold((0, 0), |(count, sum), (key, value)| {
        (count + 1, sum + 4 + key.len() as u64 + value.map_or(0, |value| value.len() as u64))
    })
}

fn measure<S: Store>(c: &mut Criterion, name: &str, store: S, heads: u64, wal: Option<&Path>) {
    let mut ledger = Ledger::new(store, heads);
    let events = ledger.events(BLOCK);
    let links: usize = events.iter().map(|event| log::head_keys(event).count()).sum();
    let (block, ..) = ledger.append(&events, ledger.index.clone());
    for space in [Space::Log, Space::Events, Space::Index] {
        let (keys, bytes) = bytes(block.changes(), space);
        println!(
            "{name} {heads} heads: `{}`: {keys} keys, {bytes} bytes, {} a transaction, {} a link",
            space.name(),
            bytes / BLOCK,
            bytes / links as u64
        );
    }
    drop(block);
    let mut group = c.benchmark_group(format!("{name}, {heads} heads"));
    group.throughput(Throughput::Elements(BLOCK)).sample_size(20);
    for (what, index) in [("append 270 events", &ledger.index), ("append 270 events, nothing read", &Index::default())]
    {
        let append = |index| ledger.append(&events, index);
        group.bench_function(what, |b| b.iter_batched(|| index.clone(), append, BatchSize::LargeInput));
    }
    let before = wal.map(len_bytes);
    let blocks = ledger.blocks;
    group.bench_function("append, remember and commit 270 events", |b| {
        b.iter_batched(|| (), |()| ledger.commit(BLOCK), BatchSize::PerIteration);
    });
    let transactions = (ledger.blocks - blocks) * BLOCK;
    if let (Some(path), Some(before), 1..) = (wal, before, transactions) {
        println!(
            "{name} {heads} heads: folder grew by {} bytes a transaction",
            (len_bytes(path) - before) / transactions
        );
    }
    let size = ledger.frontier.size();
    let mut at = 0;
    group.bench_function("prove inclusion of a recent leaf", |b| {
        b.iter(|| {
            at = (at + 1) % 1000;
            log::prove_inclusion(&ledger.store, size - 1 - at, size).unwrap()
        });
    });
    group.bench_function("prove a head", |b| {
        b.iter(|| {
            at = (at + 1) % size;
            index::prove(&ledger.store, &log::head_keys(&event(at)).next().unwrap()).unwrap()
        });
    });
    group.finish();
}

fn len_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn indexes(c: &mut Criterion) {
    let sizes = std::env::var("DMDL_HEADS").unwrap_or_else(|_| "1000 100000 1000000".to_owned());
    for heads in sizes.split(' ').map(|heads| heads.parse().unwrap()) {
        measure(c, "memory", MemoryStore::new(), heads, None);
        let folder = std::env::temp_dir().join(format!("dmdl-index-{}-{heads}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let store = RocksStore::open(&folder, &MemoryBudget::default()).unwrap();
        measure(c, "disk", store, heads, Some(&folder));
        fs::remove_dir_all(&folder).unwrap();
    }
}

criterion_group!(benches, indexes);
criterion_main!(benches);
