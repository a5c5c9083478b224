//! The frozen vectors of `docs/spec/share.md`: made anew they are the same, the good ones work, and
//! each bad one fails with the error that it names.
//!
//! `cargo test -p dmdl-vault --test share_vectors -- --ignored` writes them after a change of format.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a vector that is not as expected fails its test"
)]

mod share_vectors {
    pub(crate) mod make;
}

use borsh::BorshDeserialize;
use dmdl_types::{
    codec,
    context::{DataContext, ReleaseContext, ShareContext},
    custody::SealedBytes,
    id::NodeId,
    secret::Secret32,
    sign::Signature,
};
use dmdl_vault::{
    keys,
    seal::{Registered, ReleasedShare, SealedShare, digest, judge_dealt, judge_released, open_dealt, open_released},
    share::{CheckedDealing, Commitments, Share, Threshold, VerifiedShare, WrappedShare, combine},
};
use serde_json::Value;
use std::{fmt::Debug, fs, path::PathBuf};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/share/v1").join(name).with_extension("json")
}

fn frozen(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let list = vectors[name].as_array().unwrap_or_else(|| panic!("`{name}` is a list"));
    assert!(!list.is_empty(), "`{name}` has vectors");
    list
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("`{name}` is text in {vector}"))
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(vector, name)).unwrap()
}

fn array(vector: &Value, name: &str) -> [u8; 32] {
    bytes(vector, name).try_into().unwrap()
}

fn secret(vector: &Value, name: &str) -> Secret32 {
    Secret32::new(array(vector, name))
}

fn small(vector: &Value, name: &str) -> u8 {
    vector[name].as_u64().unwrap().try_into().unwrap()
}

fn context<T: borsh::BorshSerialize + BorshDeserialize>(vector: &Value) -> T {
    codec::decode(&bytes(vector, "context"), 300).unwrap()
}

fn hex_list(vector: &Value, name: &str) -> Vec<Vec<u8>> {
    list(vector, name).iter().map(|item| hex::decode(item.as_str().unwrap()).unwrap()).collect()
}

fn commitments(vector: &Value) -> Vec<[u8; 32]> {
    hex_list(vector, "commitments").into_iter().map(|bytes| bytes.try_into().unwrap()).collect()
}

fn same(secret: &Secret32, expected: [u8; 32], vector: &Value) {
    assert_eq!(secret.expose(|bytes| *bytes), expected, "{vector}");
}

/// The error is the one that the vector names: the first word of its `Debug` form.
fn fails<T: Debug, E: Debug>(result: Result<T, E>, vector: &Value) {
    let error = format!("{:?}", result.expect_err(text(vector, "name")));
    let name = error.split([' ', '(', '{']).next().unwrap();
    assert_eq!(name, text(vector, "error"), "{}", text(vector, "name"));
}

#[test]
fn the_vectors_made_anew_are_the_frozen_ones() {
    for (name, made) in make::all() {
        assert!(made == frozen(name), "{name}.json differs from what the code makes");
    }
}

#[test]
#[ignore = "writes the vectors"]
fn write_the_vectors() {
    for (name, made) in make::all() {
        fs::write(path(name), serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
}

use share_vectors::make;

#[test]
fn keys_are_derived_as_frozen() {
    let vectors = frozen("keys");
    for vector in list(&vectors, "data_key") {
        let key = keys::data_key(&secret(vector, "secret"), &context::<DataContext>(vector));
        same(&key, array(vector, "key"), vector);
    }
    for vector in list(&vectors, "opening_key") {
        let nonce: [u8; 16] = bytes(vector, "nonce").try_into().unwrap();
        let opening = keys::opening_secret(&secret(vector, "seed"), &nonce, NodeId::new(array(vector, "custodian")));
        same(&opening, array(vector, "secret"), vector);
        assert_eq!(keys::x25519_public(&opening), array(vector, "public"));
    }
    for vector in list(&vectors, "share_wrap_key") {
        let key = keys::share_wrap_key(&secret(vector, "stored"), &context::<ShareContext>(vector));
        same(&key, array(vector, "key"), vector);
    }
    for vector in list(&vectors, "bad_x25519") {
        fails(keys::check_x25519(&array(vector, "public")), vector);
    }
}

/// The dealing of a good vector, read from what the vector says alone.
fn dealing(vector: &Value) -> CheckedDealing {
    let contexts = hex_list(vector, "contexts");
    let context: ShareContext = codec::decode(&contexts[0], 300).unwrap();
    CheckedDealing::of_context(&context, &commitments(vector)).unwrap()
}

fn verified(vector: &Value, index: u8) -> VerifiedShare {
    let shares = hex_list(vector, "shares");
    dealing(vector).verify(Share::from_bytes(&shares[usize::from(index) - 1]).unwrap()).unwrap()
}

#[test]
fn dealt_shares_verify_and_combine_as_frozen() {
    let vectors = frozen("deal");
    for vector in list(&vectors, "good") {
        assert_eq!(dealing(vector).id().as_bytes(), &array(vector, "dealing"));
        for subset in list(vector, "subsets") {
            let xs: Vec<u8> = serde_json::from_value(subset.clone()).unwrap();
            let shares: Vec<_> = xs.iter().map(|x| verified(vector, *x)).collect();
            same(&combine(&dealing(vector), &shares).unwrap(), array(vector, "data_key"), vector);
        }
    }
}

#[test]
fn bad_thresholds_commitments_shares_and_combinations_are_refused_as_frozen() {
    let vectors = frozen("deal");
    let of = |vector: &Value| &list(&vectors, "good")[usize::from(small(vector, "of"))];
    for vector in list(&vectors, "bad_thresholds") {
        fails(Threshold::new(small(vector, "k"), small(vector, "n")), vector);
    }
    for vector in list(&vectors, "bad_commitments") {
        let threshold = Threshold::new(small(vector, "k"), small(vector, "n")).unwrap();
        fails(Commitments::parse(threshold, &commitments(vector)), vector);
    }
    for vector in list(&vectors, "bad_shares") {
        match Share::from_bytes(&bytes(vector, "share")) {
            Err(error) => fails::<(), _>(Err(error), vector),
            Ok(share) => fails(dealing(of(vector)).verify(share), vector),
        }
    }
    for vector in list(&vectors, "bad_combinations") {
        let taken: Vec<(usize, u8)> = serde_json::from_value(vector["shares"].clone()).unwrap();
        let shares: Vec<_> = taken.iter().map(|(of, x)| verified(&list(&vectors, "good")[*of], *x)).collect();
        fails(combine(&dealing(of(vector)), &shares), vector);
    }
}

#[test]
fn wrapped_shares_open_as_frozen() {
    let vectors = frozen("wrap");
    let open = |vector: &Value| {
        let wrapped: WrappedShare = codec::decode(&bytes(vector, "wrapped"), 93).unwrap();
        wrapped.open(&secret(vector, "stored"), &context::<ShareContext>(vector))
    };
    for vector in list(&vectors, "good") {
        assert_eq!(open(vector).unwrap().expose(|share| share.to_vec()), bytes(vector, "share"));
    }
    for vector in list(&vectors, "bad") {
        fails(open(vector), vector);
    }
}

#[test]
fn sealed_shares_open_as_frozen() {
    let vectors = frozen("seal");
    for vector in list(&vectors, "dealt") {
        let bytes_sent = SealedBytes(bytes(vector, "sealed"));
        assert_eq!(digest(&bytes_sent), array(vector, "digest"));
        let sealed = SealedShare::from_bytes(&bytes_sent).unwrap();
        let opened = open_dealt(&sealed, &context(vector), &secret(vector, "dealing_secret")).unwrap();
        assert_eq!(opened.expose(|share| share.to_vec()), bytes(vector, "share"));
    }
    for vector in list(&vectors, "bad_dealt") {
        match SealedShare::from_bytes(&SealedBytes(bytes(vector, "sealed"))) {
            Err(error) => fails::<(), _>(Err(error), vector),
            Ok(sealed) => fails(open_dealt(&sealed, &context(vector), &secret(vector, "dealing_secret")), vector),
        }
    }
    for vector in list(&vectors, "released") {
        let opened = open_released(&released(vector), &context(vector), &secret(vector, "opening_secret")).unwrap();
        assert_eq!(opened.expose(|share| share.to_vec()), bytes(vector, "share"));
    }
    for vector in list(&vectors, "bad_released") {
        fails(open_released(&released(vector), &context(vector), &secret(vector, "opening_secret")), vector);
    }
}

fn released(vector: &Value) -> ReleasedShare {
    let sealed = SealedShare::from_bytes(&SealedBytes(bytes(vector, "sealed"))).unwrap();
    ReleasedShare { sealed, signature: Signature::new(bytes(vector, "signature").try_into().unwrap()) }
}

#[test]
fn disputes_are_decided_as_frozen() {
    let vectors = frozen("judge");
    for vector in list(&vectors, "dealt") {
        let context: ShareContext = context(vector);
        let dealing = CheckedDealing::of_context(&context, &commitments(vector)).unwrap();
        let (dealing_key, digest) = (array(vector, "dealing_key"), array(vector, "digest"));
        let registered =
            Registered { dealing: &dealing, context: &context, dealing_key: &dealing_key, digest: &digest };
        let sealed = SealedBytes(bytes(vector, "sealed"));
        decided(judge_dealt(registered, &sealed, &secret(vector, "revealed")), vector);
    }
    for vector in list(&vectors, "released") {
        let context: ReleaseContext = context(vector);
        let dealing = CheckedDealing::of_context(&context.share, &commitments(vector)).unwrap();
        decided(judge_released(&dealing, &context, &released(vector), &secret(vector, "revealed")), vector);
    }
}

fn decided<T: Debug, E: Debug>(verdict: Result<T, E>, vector: &Value) {
    let word = verdict.map_or_else(|error| format!("{error:?}"), |verdict| format!("{verdict:?}"));
    assert_eq!(word, text(vector, "verdict"), "{}", text(vector, "name"));
}
