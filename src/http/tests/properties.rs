//! What holds for every input: of the headers, and of the clock.

use super::*;
use crate::http::nonces::Nonces;
use dmdl_types::sign::PublicKey;
use proptest::prelude::*;
use sfv::{Dictionary, FieldType as _, Parser};
use std::collections::HashSet;

fn verify_map(request: &Request, headers: &HeaderMap) -> Result<Verified, SignatureError> {
    let authorities = [HOSTS[0].parse().unwrap()];
    let expected = Expected { network: network(), authorities: &authorities, now_s: NOW_S };
    verify(&request.target(), headers, Body::of(&request.body), &expected)
}

/// Any bytes that an HTTP library lets through as a header's value.
fn header_value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![b' '..=b'~', 128..=255_u8, Just(b'\t')];
    let any = prop::collection::vec(byte, 0..3000).prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
    let like = r#"dmdl=[a-z:;="(), \\@0-9-]{0,80}"#.prop_map(|text| HeaderValue::try_from(text).unwrap());
    prop_oneof![any, like]
}

/// Pieces of which good and nearly good parameters are made.
fn params() -> impl Strategy<Value = String> {
    let good = post().params().to_owned();
    let (components, params) = good.split_once(';').unwrap();
    let components = [components, r#"("@method" "@authority" "@path" "@query")"#, "()", r#"("@method")"#];
    let more = ["created=1", "alg=\"none\"", "x", "x=?1", "tag=\"\\\"\"", "nonce=:AA==:", " created=1", "alg"];
    let params: Vec<String> = params.split(';').chain(more).map(ToOwned::to_owned).collect();
    let components: Vec<String> = components.map(ToOwned::to_owned).to_vec();
    // Mostly the good ones, shuffled; sometimes with a piece more, less or twice.
    let shuffled = Just(params[..5].to_vec()).prop_shuffle();
    (prop::sample::select(components), shuffled, prop::collection::vec(prop::sample::select(params), 0..2), 4..=5_usize)
        .prop_map(|(components, mut all, more, keep)| {
            all.truncate(keep);
            all.extend(more);
            format!("{components};{}", all.join(";"))
        })
}

proptest! {
    #[test]
    fn no_bytes_in_a_header_make_it_panic(values in prop::collection::vec((0..3_usize, header_value()), 0..6)) {
        let request = post();
        let mut headers = request.header_map();
        for (name, value) in values {
            headers.insert(NAMES[name], value);
        }
        let same = headers == request.header_map();
        prop_assert_eq!(verify_map(&request, &headers).is_ok(), same);
    }

    #[test]
    fn one_changed_byte_of_a_header_is_refused(
        name in 0..3_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let request = post();
        let mut bytes = request.get(NAMES[name]).as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut headers = request.header_map();
        headers.insert(NAMES[name], value);
        prop_assert!(verify_map(&request, &headers).is_err());
    }

    #[test]
    fn what_is_accepted_is_a_structured_field_in_its_canonical_text(params in params()) {
        let request = post().set("signature-input", &format!("dmdl={params}")).signed_anew();
        if request.verify().is_err() {
            return Ok(());
        }
        for name in NAMES {
            let text = request.get(name);
            let parsed: Dictionary = Parser::new(text).parse().unwrap();
            prop_assert_eq!(parsed.len(), 1);
            prop_assert_eq!(parsed.serialize().unwrap(), text);
        }
    }

    #[test]
    fn no_signature_is_let_in_twice_whatever_the_clock_does(
        steps in prop::collection::vec((0..40_u64, 0..300_u64, 0..8_u64, 0..2_u8, 0..2_u8), 1..300),
    ) {
        let mut nonces = Nonces::default();
        let mut admitted = HashSet::new();
        let mut true_s = 1000;
        for (step, wrong_s, age, nonce, key) in steps {
            true_s += step;
            let now_s = true_s + wrong_s;
            // Few different times, so that the same signature comes often.
            let created_s = (true_s + 100) / 50 * 50 - age * 50;
            let request = Verified { key: PublicKey::new([key; 32]), nonce: Nonce::new([nonce; 16]), created_s };
            if nonces.admit(&request, now_s).is_ok() {
                prop_assert!(admitted.insert((key, nonce, created_s)), "{request:?} at {now_s}");
            }
        }
    }

    #[test]
    fn with_a_clock_that_goes_on_every_new_request_is_let_in(
        steps in prop::collection::vec((0..100_u64, 0..=2 * WINDOW_S), 1..300),
    ) {
        let mut nonces = Nonces::default();
        let mut now_s = NOW_S;
        for (n, (step, ahead)) in (0_u128..).zip(steps) {
            now_s += step;
            let nonce = Nonce::new(n.to_le_bytes());
            let request = Verified { key: key().public(), nonce, created_s: now_s - WINDOW_S + ahead };
            prop_assert_eq!(nonces.admit(&request, now_s), Ok(()));
            prop_assert_eq!(nonces.admit(&request, now_s), Err(SignatureError::Replayed.into()));
        }
    }
}
