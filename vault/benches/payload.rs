//! Sealing and opening in memory, digest included, by both implementations of the cipher.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dmdl_types::{
    context::DataContext,
    id::{ChannelId, NetworkId, RecordId, RecordVersion},
    secret::Secret32,
};
use dmdl_vault::payload::{Backend, CommittedKey, PayloadEntry, Sealer, layout::HEADER_LEN};
use std::time::Duration;

/// Lengths of plaintext, by name.
const LENS: [(usize, &str); 4] =
    [(16 << 10, "16 KiB"), (256 << 10, "256 KiB"), (1 << 20, "1 MiB"), (16 << 20, "16 MiB")];
/// What the streaming functions push at a time.
const BATCH: usize = 1 << 20;

/// A generator of zeros: the salt does not matter to the clock.
struct Zeros;

impl rand_core::TryRng for Zeros {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Zeros {}

fn context() -> DataContext {
    DataContext {
        network: NetworkId::new([1; 32]),
        channel: ChannelId::new([2; 32]),
        record: RecordId::new([3; 32]),
        version: RecordVersion::new(1),
    }
}

/// Seals in batches into `out` and hands each to `sink`.
fn seal(backend: Backend, plaintext: &[u8], out: &mut Vec<u8>, mut sink: impl FnMut(&[u8])) -> Option<PayloadEntry> {
    let mut sealer = Sealer::new(backend, &Secret32::new([7; 32]), &context(), &mut Zeros).ok()?;
    for batch in plaintext.chunks(BATCH) {
        out.clear();
        sealer.push(batch, out).ok()?;
        sink(out);
    }
    out.clear();
    let sealed = sealer.finish(out).ok()?;
    sink(out);
    Some(sealed.entry())
}

/// Opens in batches into `out` and returns the plaintext's length.
fn open(backend: Backend, payload: &[u8], entry: &PayloadEntry, out: &mut Vec<u8>) -> Option<u64> {
    let (header, body) = payload.split_first_chunk::<HEADER_LEN>()?;
    let key = CommittedKey::check_on(backend, &Secret32::new([7; 32]), &context(), entry, header).ok()?;
    let mut opener = key.into_opener();
    for batch in body.chunks(BATCH) {
        out.clear();
        opener.push(batch, out).ok()?;
    }
    opener.finish().ok()
}

fn payload(c: &mut Criterion) {
    let mut out = Vec::with_capacity(2 * BATCH);
    for (len, name) in LENS {
        let plaintext = vec![0x5a; len];
        let mut group = c.benchmark_group("payload");
        group.throughput(Throughput::Bytes(len as u64));
        group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
        for backend in [Backend::Native, Backend::Portable] {
            let mut sealed = Vec::new();
            let entry = seal(backend, &plaintext, &mut out, |bytes| sealed.extend_from_slice(bytes));
            let Some(entry) = entry else { continue };
            group.bench_function(format!("seal/{backend:?}/{name}"), |b| {
                b.iter(|| seal(backend, &plaintext, &mut out, |_| ()));
            });
            group.bench_function(format!("open/{backend:?}/{name}"), |b| {
                b.iter(|| open(backend, &sealed, &entry, &mut out));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, payload);
criterion_main!(benches);
