//! Requests by fixed keys: what is believed, what is refused and with which code.

mod bad;
mod frozen;
mod properties;

use super::{
    signature::{Body, Expected, Nonce, SignatureError, Verified, WINDOW_S, base, sign, verify, verify_head},
    target::{Authority, Target, TargetError},
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use bad::bad;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl_types::{id::NetworkId, secret::Secret32, sign::SigningKey};
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};

/// 2026-11-22T18:30:45Z.
const NOW_S: u64 = 1_795_372_245;
const SEED: [u8; 32] = [1; 32];
/// The headers of a signature.
const NAMES: [&str; 3] = ["signature-input", "signature", "content-digest"];
const NONCE: Nonce = Nonce::new([0x51; 16]);
/// The host of the requests, and one more under which the same gateway is reached.
const HOSTS: [&str; 2] = ["gateway.example:8443", "10.0.0.7:8443"];
const BODY: &[u8] = br#"{"contract":"medical","function":"getHistory","args":{}}"#;

fn key() -> SigningKey {
    SigningKey::from_seed(Secret32::new(SEED))
}

fn network() -> NetworkId {
    NetworkId::new([0xa1; 32])
}

/// A request as it arrives, in parts that a test may change.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Request {
    fn unsigned(method: &str, path: &str, query: Option<&str>, body: &[u8]) -> Self {
        Self {
            method: method.to_owned(),
            authority: HOSTS[0].to_owned(),
            path: path.to_owned(),
            query: query.map(ToOwned::to_owned),
            body: body.to_owned(),
            headers: Vec::new(),
        }
    }

    fn target(&self) -> Target<'_> {
        let authority = self.authority.parse().unwrap();
        Target::new(&self.method, authority, &self.path, self.query.as_deref()).unwrap()
    }

    fn signed_by(mut self, key: &SigningKey, network: NetworkId, created_s: u64) -> Self {
        let headers = sign(&self.target(), Body::of(&self.body), key, network, created_s, NONCE);
        let text = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
        self.headers = headers.iter().map(text).collect();
        self
    }

    fn signed(self) -> Self {
        self.signed_by(&key(), network(), NOW_S)
    }

    fn header_map(&self) -> HeaderMap {
        let header = |(name, value): &(String, String)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        self.headers.iter().map(header).collect()
    }

    fn verify_at(&self, now_s: u64) -> Result<Verified, SignatureError> {
        let authorities: Vec<Authority> = HOSTS.iter().map(|host| host.parse().unwrap()).collect();
        let expected = Expected { network: network(), authorities: &authorities, now_s };
        verify(&self.target(), &self.header_map(), Body::of(&self.body), &expected)
    }

    fn verify(&self) -> Result<Verified, SignatureError> {
        self.verify_at(NOW_S)
    }

    fn get(&self, name: &str) -> &str {
        &self.headers.iter().find(|(n, _)| n == name).unwrap().1
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.iter_mut().find(|(n, _)| n == name).unwrap().1 = value.to_owned();
        self
    }

    fn push(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        let before = self.headers.len();
        self.headers.retain(|(n, _)| n != name);
        assert_ne!(self.headers.len(), before, "there was no `{name}`");
        self
    }

    fn edit(self, name: &str, from: &str, to: &str) -> Self {
        let value = self.get(name).to_owned();
        assert!(value.contains(from), "`{from}` is not in `{value}`");
        self.set(name, &value.replacen(from, to, 1))
    }

    /// What follows the label in `Signature-Input`.
    fn params(&self) -> &str {
        self.get("signature-input").strip_prefix("dmdl=").unwrap()
    }

    /// What was signed, for the parameters that the request has.
    fn base(&self) -> String {
        let params = self.params();
        let digest = params.contains("content-digest").then(|| self.get("content-digest"));
        base(&self.target(), digest, params)
    }

    /// Replaces the signature by a good one over the request as it is now.
    fn signed_anew(self) -> Self {
        let signature = ed25519_dalek::SigningKey::from_bytes(&SEED).sign(self.base().as_bytes());
        self.with_signature(&signature.to_bytes())
    }

    fn with_signature(self, signature: &[u8]) -> Self {
        self.set("signature", &format!("dmdl=:{}:", STANDARD.encode(signature)))
    }

    /// Changes the parameters and signs what comes out, as the key's holder could.
    fn crafted(self, from: &str, to: &str) -> Self {
        self.edit("signature-input", from, to).signed_anew()
    }
}

fn get() -> Request {
    Request::unsigned("GET", "/v1/channels/main/records", Some("limit=10"), b"").signed()
}

fn post() -> Request {
    Request::unsigned("POST", "/v1/channels/main/query", None, BODY).signed()
}

#[test]
fn every_bad_request_gets_its_code() {
    for (name, request, code) in bad() {
        let error = request.verify().expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert_eq!(error.status(), if code == "digest_ambiguous" { 400 } else { 401 }, "{name}");
    }
}

#[test]
fn a_signed_request_names_its_signer() {
    for request in [get(), post()] {
        let verified = request.verify().unwrap();
        assert_eq!((verified.key(), verified.nonce(), verified.created_s()), (key().public(), NONCE, NOW_S));
    }
}

#[test]
fn a_request_is_good_for_a_minute_on_either_side_of_its_time() {
    for now_s in [NOW_S - WINDOW_S, NOW_S, NOW_S + WINDOW_S] {
        assert!(get().verify_at(now_s).is_ok(), "{now_s}");
    }
    for now_s in [0, NOW_S - WINDOW_S - 1, NOW_S + WINDOW_S + 1, u64::MAX] {
        assert_eq!(get().verify_at(now_s), Err(SignatureError::Time), "{now_s}");
    }
}

#[test]
fn a_gateway_of_two_hosts_serves_both_and_none_serves_nobody() {
    for host in HOSTS {
        assert!(Request { authority: host.to_owned(), ..get() }.signed().verify().is_ok());
    }
    let expected = Expected { network: network(), authorities: &[], now_s: NOW_S };
    let request = get();
    let refused = verify_head(&request.target(), &request.header_map(), &expected).unwrap_err();
    assert_eq!(refused, SignatureError::Context);
}

#[test]
fn parameters_may_stand_in_any_order_that_was_signed() {
    let good = get();
    let (components, params) = good.params().split_once(";").unwrap();
    let params: Vec<&str> = params.split(';').collect();
    assert_eq!(params.len(), 5);
    for order in orders(5) {
        let params: Vec<&str> = order.into_iter().map(|i| params[i]).collect();
        let input = format!("dmdl={components};{}", params.join(";"));
        let request = get().set("signature-input", &input);
        assert_eq!(request.verify().is_ok(), input == good.get("signature-input"), "{input}");
        assert_eq!(request.signed_anew().verify(), good.verify(), "{input}");
    }
}

/// All orders of `0..n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else { return vec![Vec::new()] };
    let insert = |order: Vec<usize>| {
        (0..n).map(move |at| {
            let mut order = order.clone();
            order.insert(at, last);
            order
        })
    };
    orders(last).into_iter().flat_map(insert).collect()
}

#[test]
fn an_empty_body_may_have_a_digest() {
    let mut request = get().push("content-digest", &format!("sha-256=:{}:", STANDARD.encode(Sha256::digest([]))));
    request = request.crafted(r#""@query")"#, r#""@query" "content-digest")"#);
    assert!(request.verify().is_ok());
    request.body = vec![0];
    assert_eq!(request.verify(), Err(SignatureError::DigestMismatch));
}

#[test]
fn one_signature_has_one_spelling_and_does_not_depend_on_chance() {
    assert_eq!(post().headers, post().headers);
}

#[test]
fn the_base_of_a_request_begins_like_no_other_signed_message() {
    // Everything else that a person's key signs begins with the length of a label and the label.
    let base = get().base();
    let (length, rest) = base.as_bytes().split_first().unwrap();
    for label in dmdl_types::label::ALL {
        assert!(usize::from(*length) != label.len() || !rest.starts_with(label.as_bytes()), "{label}");
    }
}

#[test]
fn hosts_are_compared_without_case_and_default_port() {
    let authority = |text: &str| text.parse::<Authority>();
    assert_eq!(authority("Gateway.Example:443"), authority("gateway.example"));
    assert_ne!(authority("gateway.example:8443"), authority("gateway.example"));
    for bad in ["", ":443", "user@gateway.example", "gate way", "gateway\n\"@path\": /", "g\u{e4}teway"] {
        assert_eq!(authority(bad), Err(TargetError::Authority), "{bad:?}");
    }
}

#[test]
fn a_target_that_could_end_a_line_is_refused() {
    let target = |method, path, query| Target::new(method, HOSTS[0].parse().unwrap(), path, query);
    for bad in ["/a b", "/a\n\"@query\": ?", "/\u{e4}", "/\u{7f}", "/\0"] {
        assert_eq!(target("GET", bad, None), Err(TargetError::Characters), "{bad:?}");
        assert_eq!(target("GET", "/", Some(bad)), Err(TargetError::Characters), "{bad:?}");
        assert_eq!(target(bad, "/", None), Err(TargetError::Characters), "{bad:?}");
    }
    assert_eq!(target("", "/", None), Err(TargetError::Characters));
    assert_eq!(target("GET", "", None), target("GET", "/", Some("")));
}

#[test]
fn client_and_gateway_read_the_same_target() {
    let (method, host) = (Method::GET, HeaderValue::from_static("Gateway.example:8443"));
    let client: Uri = "https://gateway.example:8443/v1/a%20b?x=1&y=".parse().unwrap();
    let gateway: Uri = "/v1/a%20b?x=1&y=".parse().unwrap();
    let headers = |values: &[&HeaderValue]| -> HeaderMap {
        values.iter().map(|value| (::http::header::HOST, (*value).clone())).collect()
    };
    let target = Target::of(&method, &client, &HeaderMap::new()).unwrap();
    assert_eq!(target.authority(), &HOSTS[0].parse().unwrap());
    assert_eq!(Target::of(&method, &gateway, &headers(&[&host])), Ok(target.clone()));
    assert_eq!(Target::of(&method, &client, &headers(&[&host])), Ok(target));

    let (other, garbage) = (HeaderValue::from_static("other.example"), HeaderValue::from_bytes(b"\xff").unwrap());
    let no_host = Err(TargetError::Authority);
    assert_eq!(Target::of(&method, &gateway, &HeaderMap::new()), no_host);
    assert_eq!(Target::of(&method, &gateway, &headers(&[&host, &host])), no_host);
    assert_eq!(Target::of(&method, &gateway, &headers(&[&garbage])), no_host);
    assert_eq!(Target::of(&method, &client, &headers(&[&other])), no_host);
    assert_eq!(SignatureError::from(TargetError::Authority).code(), "sig_context");
    assert_eq!(SignatureError::from(TargetError::Characters).code(), "sig_invalid");
}

#[test]
fn every_cut_of_a_header_is_refused() {
    for name in NAMES {
        let whole = post().get(name).to_owned();
        for end in 0..whole.len() {
            assert!(post().set(name, &whole[..end]).verify().is_err(), "{}", &whole[..end]);
        }
    }
}

#[test]
fn a_long_field_is_refused_before_it_is_parsed() {
    for name in &NAMES[..2] {
        let long = format!("dmdl={}", "a,".repeat(8 * 1024));
        assert_eq!(post().set(name, &long).verify(), Err(SignatureError::Malformed("a field is too long")));
    }
}
