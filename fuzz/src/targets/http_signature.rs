//! Signed requests: whoever is believed to have sent a request has signed that request and no other.
//!
//! An input is a request as text: a line with method and URI, lines of headers, an empty line, the body.

use super::{
    Seeds,
    draw::Draw,
    fixtures::{change, choices, key},
};
use crate::http::{
    signature::{Body, Expected, Nonce, SignatureError, Verified, sign, verify, verify_head},
    target::{Authority, Target},
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use dmdl_types::id::NetworkId;
use std::sync::LazyLock;

const NOW_S: u64 = 1_795_372_245;
const NETWORK: NetworkId = NetworkId::new([0xa1; 32]);
const SIGNED: [&str; 3] = ["content-digest", "signature-input", "signature"];
static HOSTS: LazyLock<[Authority; 2]> =
    LazyLock::new(|| ["gateway.example:8443", "10.0.0.7"].map(|host| host.parse().expect("a host")));

/// The signed requests that there are.
static KNOWN: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let get = "GET /v1/channels/main/records?limit=10\nhost: gateway.example:8443\naccept: */*\n\n";
    let post = "POST /v1/channels/main/query\nhost: 10.0.0.7\n\n{\"contract\":\"medical\",\"args\":{}}";
    let put = "PUT https://10.0.0.7:443/v1/payloads/a%20b?x=1&y=\nhost: 10.0.0.7\n\nDICM";
    [get, post, put].map(signed)
});

struct Request<'a> {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let end = data.windows(2).position(|two| two == b"\n\n")?;
        let mut lines = data[..end].split(|byte| *byte == b'\n');
        let mut first = lines.next()?.splitn(2, |byte| *byte == b' ');
        let method = Method::from_bytes(first.next()?).ok()?;
        let uri = Uri::try_from(first.next()?).ok()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let colon = line.windows(2).position(|two| two == b": ")?;
            headers.append(
                HeaderName::from_bytes(&line[..colon]).ok()?,
                HeaderValue::from_bytes(&line[colon + 2..]).ok()?,
            );
        }
        Some(Self { method, uri, headers, body: &data[end + 2..] })
    }

    fn target(&self) -> Option<Target<'_>> {
        Target::of(&self.method, &self.uri, &self.headers).ok()
    }

    /// Whether everything that a signature covers or consists of is the same.
    fn is_signed_like(&self, other: &Request<'_>) -> bool {
        let same_headers = |name: &&str| self.headers.get_all(*name).iter().eq(other.headers.get_all(*name).iter());
        self.target() == other.target() && self.body == other.body && SIGNED.iter().all(same_headers)
    }
}

fn expected() -> Expected<'static> {
    Expected { network: NETWORK, authorities: HOSTS.as_slice(), now_s: NOW_S }
}

pub(super) fn run(data: &[u8]) {
    let Some(request) = Request::parse(data) else { return };
    let Some(target) = request.target() else { return };
    let body = Body::of(request.body);
    match verify(&target, &request.headers, body, &expected()) {
        Ok(verified) => {
            let mut known = KNOWN.iter().filter_map(|known| Request::parse(known));
            assert!(known.any(|known| known.is_signed_like(&request)), "a request that nobody signed");
            assert_eq!(verified.key(), key(1).public());
        }
        Err(error) => {
            assert!((400..=401).contains(&error.status()) && !error.code().is_empty());
            assert!(!KNOWN.iter().any(|known| known == data), "a signed request is refused: {error}");
        }
    }
    resigned(&request, &target, data);
}

/// Whatever is asked for can be signed, and the signature fits nothing else.
fn resigned(request: &Request<'_>, target: &Target<'_>, data: &[u8]) {
    let choices = choices(data);
    let mut draw = Draw::new(&choices);
    let (created_s, nonce) = (NOW_S - 60 + u64::from(draw.byte() % 121), Nonce::new(draw.array()));
    let headers = sign(target, Body::of(request.body), &key(2), NETWORK, created_s, nonce);
    let check = |target: &Target<'_>, headers: &HeaderMap, body: &[u8]| -> Result<Verified, SignatureError> {
        let there = [target.authority().clone()];
        let expected = Expected { authorities: &there, ..expected() };
        let head = verify_head(target, headers, &expected);
        let whole = verify(target, headers, Body::of(body), &expected);
        assert!(head.is_ok() || whole.is_err());
        whole
    };
    let verified = check(target, &headers, request.body).expect("a signed request verifies");
    assert_eq!((verified.key(), verified.nonce(), verified.created_s()), (key(2).public(), nonce, created_s));

    let changed = change(data);
    if let Some(other) = Request::parse(&changed)
        && let Some(other_target) = other.target()
        && check(&other_target, &headers, other.body).is_ok()
    {
        assert_eq!((&other_target, other.body), (target, request.body), "one signature for two requests");
    }
    for name in SIGNED.iter().filter(|name| headers.contains_key(**name)) {
        let value = headers[*name].as_bytes();
        let changed = draw.change(value);
        let Ok(other) = HeaderValue::from_bytes(&changed) else { continue };
        if other != value {
            let mut headers = headers.clone();
            headers.insert(*name, other);
            assert!(check(target, &headers, request.body).is_err(), "`{name}` has a second spelling");
        }
    }
}

/// A request with the headers of its signature.
fn signed(text: &str) -> Vec<u8> {
    let request = Request::parse(text.as_bytes()).expect("a request");
    let target = request.target().expect("a target");
    let headers = sign(&target, Body::of(request.body), &key(1), NETWORK, NOW_S, Nonce::new([0x51; 16]));
    let (head, body) = text.split_once("\n\n").expect("an empty line");
    let mut signed = head.as_bytes().to_vec();
    for (name, value) in &headers {
        signed.extend([b"\n", name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
    }
    [&signed, &b"\n\n"[..], body.as_bytes()].concat()
}

pub(super) fn seeds() -> Seeds {
    let mut seeds: Vec<_> = ["get", "post", "put"].map(str::to_owned).into_iter().zip(KNOWN.clone()).collect();
    seeds.push(("unsigned".to_owned(), b"GET /\nhost: gateway.example\n\n".to_vec()));
    seeds
}
