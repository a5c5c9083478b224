//! What no attacker may come to see, and the search for it in what an attacker has seen.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};

/// How much of a secret counts as having seen it.
const ENOUGH: usize = 24;

/// Secrets by name.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    /// Adds one: bytes that nobody could guess.
    pub(crate) fn add(&mut self, name: impl Into<String>, bytes: &[u8]) {
        assert!(bytes.len() >= ENOUGH);
        self.0.push((name.into(), bytes.to_vec()));
    }

    /// The beginning, the middle and the end of a plaintext.
    pub(crate) fn add_plaintext(&mut self, name: &str, bytes: &[u8]) {
        let middle = bytes.len() / 2;
        self.add(format!("the beginning of {name}"), &bytes[..64]);
        self.add(format!("the middle of {name}"), &bytes[middle..middle + 64]);
        self.add(format!("the end of {name}"), &bytes[bytes.len() - 64..]);
    }

    /// The first one that can be found, in any spelling.
    pub(crate) fn find(&self, seen: &[u8]) -> Option<&str> {
        let leaks = |secret: &[u8]| spellings(secret).iter().any(|spelling| contains(seen, spelling));
        self.0.iter().find(|(_, secret)| leaks(secret)).map(|(name, _)| name.as_str())
    }
}

/// As it is, in hexadecimal digits, and in base64 wherever it begins.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let secret = &secret[..ENOUGH];
    let mut all = vec![secret.to_vec(), hex::encode(secret).into_bytes()];
    for before in 0..3 {
        // What follows the secret must not change the digits either: the last ones are left off.
        let text = BASE64.encode([&vec![0; before], secret].concat());
        let first = (before * 8).div_ceil(6);
        all.push(text.as_bytes()[first..text.len() - 4].to_vec());
    }
    all
}

fn contains(seen: &[u8], spelling: &[u8]) -> bool {
    let (first, rest) = spelling.split_first().unwrap();
    let places = seen.iter().enumerate().filter(|(_, byte)| *byte == first);
    places.into_iter().any(|(at, _)| seen[at + 1..].starts_with(rest))
}

#[test]
fn a_secret_is_found_in_every_spelling_wherever_it_stands() {
    let mut secrets = Secrets::default();
    let secret: Vec<u8> = (1..=40).map(|number| number * 5).collect();
    secrets.add("it", &secret);
    for before in 0..7 {
        let text = [&vec![0xff; before], &secret[..], &[0xff; 5]].concat();
        let spelled = [text.clone(), hex::encode(&text).into_bytes(), BASE64.encode(&text).into_bytes()];
        for seen in spelled {
            assert_eq!(secrets.find(&[b"around", &seen[..], b"it"].concat()), Some("it"), "after {before} bytes");
        }
    }
    assert_eq!(secrets.find(&vec![7; 4096]), None);
}
