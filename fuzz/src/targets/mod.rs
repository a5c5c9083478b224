//! What is fuzzed. A target takes any bytes, and panics where the program breaks a promise.
//!
//! Compiled twice: for libFuzzer, and into the test that runs the seeds and the inputs that once failed.

mod backup;
mod block;
mod bundle;
mod certificate;
mod charter;
mod codec;
mod draw;
mod fixtures;
mod http_signature;
mod ledger;
mod payload;
mod policy;
mod receipt;
mod share;

/// Inputs by name.
pub type Seeds = Vec<(String, Vec<u8>)>;
/// Makes them.
pub type Make = fn() -> Seeds;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
    /// The inputs that fuzzing starts from, by name.
    pub seeds: Make,
}

/// All targets.
pub const ALL: [Target; 11] = [
    Target { name: "backup", run: backup::run, seeds: backup::seeds },
    Target { name: "block", run: block::run, seeds: block::seeds },
    Target { name: "bundle", run: bundle::run, seeds: bundle::seeds },
    Target { name: "certificate", run: certificate::run, seeds: certificate::seeds },
    Target { name: "charter", run: charter::run, seeds: charter::seeds },
    Target { name: "codec", run: codec::run, seeds: codec::seeds },
    Target { name: "http_signature", run: http_signature::run, seeds: http_signature::seeds },
    Target { name: "payload", run: payload::run, seeds: payload::seeds },
    Target { name: "policy", run: policy::run, seeds: policy::seeds },
    Target { name: "receipt", run: receipt::run, seeds: receipt::seeds },
    Target { name: "share", run: share::run, seeds: share::seeds },
];

/// Where fuzzing starts for the targets that only the fuzzer has.
pub const SEEDS_OF_OTHERS: [(&str, Make); 2] = [("json", json_seeds), ("message", messages)];

fn json_seeds() -> Seeds {
    let record = "ab".repeat(32);
    let texts = [
        ("flat", r#"{"text": "a\u00e9\\", "count": 7, "none": null, "yes": true}"#.to_owned()),
        ("nested", r#"{"any": {"x": [1, -3, [], {}], "y": [[[["z"]]]]}}"#.to_owned()),
        ("typed", format!(r#"{{"record":"{record}","height":7,"keys":[{{"custodian":"{record}"}}]}}"#)),
        ("numbers", r#"{"n": [0, -1, 9007199254740991, -9007199254740991]}"#.to_owned()),
        ("twice", r#"{"a": 1, "a": 2}"#.to_owned()),
        ("hidden", r#"{"a": "\u202e"}"#.to_owned()),
        ("unknown", "{\"\u{e9}\": 1}".to_owned()),
        ("deep", format!(r#"{{"a": {}{}}}"#, "[".repeat(32), "]".repeat(32))),
    ];
    texts.map(|(name, text)| (name.to_owned(), text.into_bytes())).into()
}

/// A message is a tag and what it carries.
fn messages() -> Seeds {
    use dmdl_types::codec::encode;
    let body = &ledger::BODY;
    let keys: Vec<_> = ledger::dealing(&[]).shares.iter().map(|share| share.key).collect();
    vec![
        ("transaction".to_owned(), [vec![0], encode(&body.transactions[2])].concat()),
        ("system".to_owned(), [vec![1], encode(&body.system[0])].concat()),
        ("ask".to_owned(), [&[3], &7_u64.to_le_bytes()[..], &[3], &[5; 32]].concat()),
        ("answer".to_owned(), [&[4], &7_u64.to_le_bytes()[..], &[1], &encode(&keys)].concat()),
    ]
}
