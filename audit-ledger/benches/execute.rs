//! What a block costs an orderer that checks it, and a committer that executes it, in memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is measured is valid")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod scene;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dmdl_audit_ledger::{
    order::{self, Checked},
    store::MemoryStore,
};
use dmdl_types::id::Epoch;
use scene::{block, executor, finalized, genesis};

fn blocks(c: &mut Criterion) {
    let genesis = genesis();
    let (config, next) = (genesis.epoch_config(Epoch::new(0)), genesis.epoch_config(Epoch::new(1)).digest());
    let executor = || executor(&genesis, MemoryStore::new());
    for count in [1, 100, 1000] {
        let block = block(&genesis, count);
        let mut group = c.benchmark_group(format!("block of {count}"));
        group.throughput(Throughput::Elements(u64::from(count))).sample_size(10);
        let check = |checked: &Checked| order::check(&block, &genesis.domain(), &config, next, checked).unwrap();
        group.bench_function("check, every signature new", |b| {
            b.iter_batched(Checked::default, |checked| check(&checked), BatchSize::SmallInput);
        });
        let seen = Checked::default();
        check(&seen);
        group.bench_function("check, every signature seen", |b| b.iter(|| check(&seen)));
        let finalized = finalized(&genesis, block.clone());
        group.bench_function("execute", |b| {
            b.iter_batched_ref(executor, |executor| executor.execute(&finalized).unwrap(), BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);
