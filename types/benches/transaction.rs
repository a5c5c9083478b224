//! What a transaction costs every node: its signatures, one by one and in batches, and its encoding.

#![allow(clippy::unwrap_used, reason = "what is measured is valid")]

use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{BatchEntry, BatchVerifier as _, ed25519};
use commonware_parallel::Sequential;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dmdl_types::{
    codec,
    id::{ChannelId, Height, NetworkId, NoteCommitment},
    invocation::{Invocation, Medical, Metadata},
    label, limits,
    secret::Secret32,
    sign::{Domain, Meaning, PublicKey, SigningKey},
    transaction::{EndorsedTransaction, Endorsement, TransactionBody},
};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use std::hint::black_box;

const MEANING: Meaning = Meaning::v1(label::TRANSACTION_SIGNATURE);

fn domain() -> Domain {
    Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) }
}

fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([number; 32]))
}

/// A transaction as it is ordered: by one author, with the endorsements of two organisations.
fn endorsed() -> EndorsedTransaction {
    let author = signer(1);
    let metadata = Metadata { media_type: "application/dicom".to_owned(), subject: None, listed: true };
    let call = Medical::Initial { metadata, source: NoteCommitment::new([3; 32]), storage: None };
    let body = TransactionBody {
        domain: domain(),
        authors: vec![author.public()],
        nonce: [4; 16],
        expires: Height::new(200),
        invocation: Invocation::Medical(call),
    };
    let transaction = body.sign(&[&author]);
    let signed = transaction.digest();
    let by = |number| Endorsement::sign(&signer(number), &domain(), signed, Height::new(7), Vec::new());
    let mut endorsements = vec![by(2), by(3)];
    endorsements.sort_by_key(|endorsement| endorsement.endorser);
    EndorsedTransaction { transaction, endorsements }
}

fn signatures(c: &mut Criterion) {
    let (author, id) = (signer(1), [5; 32]);
    let (key, signature) = (author.public(), author.sign(&domain(), MEANING, &id));
    let mut group = c.benchmark_group("signature");
    group.bench_function("sign", |b| b.iter(|| author.sign(&domain(), MEANING, black_box(&id))));
    group.bench_function("verify", |b| b.iter(|| key.verify(&domain(), MEANING, black_box(&id), &signature)));

    let endorsed = endorsed();
    group.bench_function("verify/endorsed transaction of three", |b| b.iter(|| endorsed.verify(&domain()).unwrap()));

    let message = [&[1; 32][..], &[2; 32], &[MEANING.kind, MEANING.version], &id].concat();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for count in [3, 64, 256] {
        let signed: Vec<_> = (0..count).map(|number: u32| decoded(number, &id)).collect();
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(format!("batch of {count}"), |b| {
            b.iter(|| {
                ed25519::PublicKey::verify_batch(
                    &mut rng,
                    &signed,
                    |_, (public_key, signature)| BatchEntry {
                        namespace: MEANING.label.as_bytes(),
                        message: &message,
                        public_key,
                        signature,
                    },
                    &Sequential,
                )
            });
        });
    }
    group.finish();
}

/// A key and its signature, as the engine reads them.
fn decoded(number: u32, id: &[u8]) -> (ed25519::PublicKey, ed25519::Signature) {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    let signer = SigningKey::from_seed(Secret32::new(seed));
    let signature = signer.sign(&domain(), MEANING, id);
    let key: PublicKey = signer.public();
    let key = ed25519::PublicKey::decode(Copying(key.as_bytes())).unwrap();
    (key, ed25519::Signature::decode(Copying(signature.as_bytes())).unwrap())
}

fn encoding(c: &mut Criterion) {
    let endorsed = endorsed();
    let bytes = codec::encode(&endorsed);
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |b| b.iter(|| codec::encode(black_box(&endorsed))));
    group.bench_function("decode", |b| {
        b.iter(|| codec::decode::<EndorsedTransaction>(black_box(&bytes), limits::TRANSACTION_BYTES).unwrap());
    });
    group.bench_function("id", |b| b.iter(|| black_box(&endorsed).transaction.body.id()));
    group.finish();
}

criterion_group!(benches, signatures, encoding);
criterion_main!(benches);
