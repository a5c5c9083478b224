//! What a request costs a gateway, and the client that sends it: its signature, and its body.

#![allow(clippy::unwrap_used, reason = "what is measured is valid")]

#[path = "../src/gateway/json"]
#[allow(dead_code, reason = "only reading a body is measured")]
mod body {
    mod fault;
    mod parse;
    mod scan;
    mod tree;

    /// Reads a body as a gateway does.
    pub(super) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
        parse::parse(bytes).map_err(|fault| fault.to_string()).unwrap()
    }
}

use base64::{Engine as _, engine::general_purpose::STANDARD};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dmdl::http::{
    signature::{Body, Expected, Nonce, sign, verify},
    target::{Authority, Target},
};
use dmdl_types::{id::NetworkId, secret::Secret32, sign::SigningKey};
use serde::Deserialize;
use serde_json::{Value, json};
use std::hint::black_box;

const NETWORK: NetworkId = NetworkId::new([1; 32]);
const NOW_S: u64 = 1_800_000_000;
/// About as long as a transaction with a call of `medical`.
const TRANSACTION_BYTES: usize = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission {
    transaction: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    contract: String,
    function: String,
    args: Value,
}

fn signatures(c: &mut Criterion) {
    let key = SigningKey::from_seed(Secret32::new([7; 32]));
    let authority: Authority = "gateway.example:7400".parse().unwrap();
    let target = Target::new("POST", authority.clone(), "/v1/channels/main/query", None).unwrap();
    let text = question();
    let signed = || sign(&target, Body::of(black_box(&text)), &key, NETWORK, NOW_S, Nonce::new([9; 16]));
    let headers = signed();
    let authorities = [authority.clone()];
    let expected = Expected { network: NETWORK, authorities: &authorities, now_s: NOW_S };
    let mut group = c.benchmark_group("http signature");
    group.bench_function("sign a question", |b| b.iter(signed));
    group.bench_function("verify it", |b| {
        b.iter(|| verify(&target, &headers, Body::of(black_box(&text)), &expected).unwrap());
    });
    group.finish();
}

fn question() -> Vec<u8> {
    let record = "5a".repeat(32);
    json!({ "contract": "medical", "function": "readMedical", "args": { "record": record } }).to_string().into()
}

fn bodies(c: &mut Criterion) {
    let submission = json!({ "transaction": STANDARD.encode([0x5a; TRANSACTION_BYTES]) }).to_string().into_bytes();
    let question = question();
    let mut group = c.benchmark_group("json");
    group.throughput(Throughput::Bytes(submission.len() as u64));
    group.bench_function("a transaction", |b| {
        b.iter(|| body::read::<Submission>(black_box(&submission)).transaction.len());
    });
    group.throughput(Throughput::Bytes(question.len() as u64));
    group.bench_function("a question", |b| {
        b.iter(|| {
            let Question { contract, function, args } = body::read(black_box(&question));
            (contract, function, args)
        });
    });
    group.finish();
}

criterion_group!(benches, signatures, bodies);
criterion_main!(benches);
