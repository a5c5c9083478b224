//! Payloads that the vault has lost or changed.

use super::{
    hospital::{self, GOOD},
    tools::{Dice, asked},
};
use crate::{
    harness::{UNAVAILABLE, code, eventually, json, text},
    network::Network,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

/// Removes and changes payloads, one after the other, and has people ask for them.
pub(crate) fn lose_and_change() {
    let payloads = asked("DMDL_PAYLOADS", 3);
    let mut dice = Dice::new(5);
    let mut network = hospital::generate();
    network.start_all();
    let mut told = 0;
    for number in 0..payloads {
        let content = format!("sealed content {number}").repeat(1 + dice.roll(20));
        let before = files_in(&network.folder().join("vault"));
        let record = network.register(GOOD, &content);
        let mut new = files_in(&network.folder().join("vault"));
        new.retain(|file| !before.contains(file));
        let [file] = &new[..] else { panic!("one payload: {new:?}") };
        let whole = fs::read(file).unwrap();
        let wanted = match number % 3 {
            0 => {
                fs::remove_file(file).unwrap();
                "blob_lost"
            }
            1 => {
                let mut flipped = whole.clone();
                flipped[dice.roll(whole.len())] ^= 1 << dice.roll(8);
                fs::write(file, flipped).unwrap();
                "blob_corrupt"
            }
            _ => {
                fs::write(file, &whole[..dice.roll(whole.len())]).unwrap();
                "blob_corrupt"
            }
        };
        for (who, ask) in [
            ("owner", vec!["record", "verify", &record]),
            ("researcher", vec!["access", "open", &record, "--purpose", "HMB"]),
        ] {
            let error = refused(&network, who, &ask);
            assert_eq!(error["code"], wanted, "{error}");
            assert!(error["detail"].as_str().unwrap().contains(&record), "it names the record: {error}");
            told += 1;
        }
        // Putting it back heals it.
        fs::write(file, whole).unwrap();
        assert_eq!(network.open(1, &record), content.as_bytes());
    }
    eprintln!("{payloads} payloads lost or changed: {told} times told with the record, 0 opened");
}

/// What somebody is told who asks for what cannot be had; no plaintext is left of it.
fn refused(network: &Network, who: &str, ask: &[&str]) -> serde_json::Value {
    let out = network.folder().join("plaintext");
    if ask[0] == "access" {
        let asked = network.ok(1, who, &["access", "request", ask[2], "--purpose", "HMB", "--reason", "a study"]);
        let request = asked["request"].as_str().unwrap().to_owned();
        let output = answered(network, who, &["access", "open", &request, "--out", out.to_str().unwrap()]);
        assert_eq!(code(&output), 5, "{}", text(&output.stdout));
        assert!(!out.exists(), "nothing is left of what does not verify");
        return json(&output)["error"].clone();
    }
    let output = answered(network, who, ask);
    assert_eq!(code(&output), 5, "{}", text(&output.stdout));
    json(&output)["error"].clone()
}

/// What a gateway answers that has caught up with what this client has seen.
fn answered(network: &Network, who: &str, ask: &[&str]) -> Output {
    eventually("an answer", || Some(network.run(1, who, ask)).filter(|output| code(output) != UNAVAILABLE))
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_in(&path)),
            false => files.push(path),
        }
    }
    files
}
