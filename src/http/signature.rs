//! Signatures of requests: made by a person's key, checked without a memory or a clock of their own.
//!
//! A signature covers the method, the host, the path, the query and the body, and says when and for which
//! network it was made. Nothing of that is negotiable, so a request has one meaning or none.
//!
//! # Source
//! docs/spec/http-signature.md; RFC 9421, RFC 9530, RFC 8032

use super::{
    field::{self, CONTENT_DIGEST, Input, SIGNATURE, SIGNATURE_INPUT, Value},
    target::{Authority, Target},
};
use ::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl_types::{
    id::NetworkId,
    sign::{PublicKey, SigningKey},
};
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};

/// How far the time of a signature may be from the verifier's, either way, in seconds.
pub const WINDOW_S: u64 = 60;

/// What a signature covers where there is no body.
const COMPONENTS: &str = r#"("@method" "@authority" "@path" "@query")"#;
/// What a signature covers where there is a body.
const COMPONENTS_WITH_BODY: &str = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;

/// Why a signature of a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is none.
    #[error("the request carries no signature labelled `dmdl`")]
    Missing,
    /// Two readers could take it for two different things.
    #[error("the request carries more than one signature, or says something about it twice")]
    Ambiguous,
    /// Another algorithm, or none.
    #[error("the algorithm of a signature must be `ed25519`")]
    Algorithm,
    /// There is a body that the signature does not cover, or a digest that it does not cover, or none that
    /// it claims to cover.
    #[error("the signature covers no digest of the body")]
    DigestMissing,
    /// Several digests.
    #[error("the request has more than one digest of its body")]
    DigestAmbiguous,
    /// The digest is not the body's SHA-256.
    #[error("the body is not the one that its digest names")]
    DigestMismatch,
    /// Too old, too new, or of no time.
    #[error("the signature was not made within a minute of this gateway's clock: one of the two clocks is wrong")]
    Time,
    /// For somebody else.
    #[error("the signature was made for another host or another network")]
    Context,
    /// Outside the profile.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
    /// By another key, or over another request.
    #[error("the signature does not verify")]
    Invalid,
    /// Not the first time.
    #[error("the signature was used before")]
    Replayed,
}

impl SignatureError {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "sig_missing",
            Self::Ambiguous => "sig_ambiguous",
            Self::Algorithm => "alg_not_allowed",
            Self::DigestMissing => "digest_missing",
            Self::DigestAmbiguous => "digest_ambiguous",
            Self::DigestMismatch => "digest_mismatch",
            Self::Time => "sig_time",
            Self::Context => "sig_context",
            Self::Malformed(_) | Self::Invalid => "sig_invalid",
            Self::Replayed => "sig_replayed",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::DigestAmbiguous => 400,
            _ => 401,
        }
    }
}

/// Sixteen bytes that make a signature unlike every other of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// The nonce with these bytes, which the caller draws at random.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The nonce's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A request's body, as a signature knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// No bytes.
    Empty,
    /// The SHA-256 of at least one byte.
    Sha256([u8; 32]),
}

impl Body {
    /// The body of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Sha256(Sha256::digest(bytes).into()) }
    }

    fn digest(self) -> [u8; 32] {
        match self {
            Self::Empty => Sha256::digest([]).into(),
            Self::Sha256(digest) => digest,
        }
    }
}

/// What a verifier knows before it looks at a request.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its network.
    pub network: NetworkId,
    /// The hosts under which people reach it.
    pub authorities: &'a [Authority],
    /// Its clock, in seconds since 1970.
    pub now_s: u64,
}

/// Whose request it is, when it was signed and with which nonce: exists only if head and body verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub(super) key: PublicKey,
    pub(super) nonce: Nonce,
    pub(super) created_s: u64,
}

impl Verified {
    /// The key that signed. It is proved, but perhaps not enrolled.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// The signature's nonce.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// When the signer says that it signed, in seconds since 1970.
    #[must_use]
    pub const fn created_s(&self) -> u64 {
        self.created_s
    }
}

/// A request whose head verified, and whose body is still to come.
#[derive(Debug)]
pub struct VerifiedHead {
    verified: Verified,
    digest: Option<[u8; 32]>,
}

impl VerifiedHead {
    /// The key that signed, for a caller that reads no body for a stranger.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.verified.key
    }

    /// Checks the body against the digest that the signature covers.
    ///
    /// # Errors
    /// [`SignatureError::DigestMissing`] for a body that no digest covers, [`SignatureError::DigestMismatch`]
    /// for another body.
    pub fn with_body(self, body: Body) -> Result<Verified, SignatureError> {
        match (self.digest, body) {
            (None, Body::Empty) => Ok(self.verified),
            (None, Body::Sha256(_)) => Err(SignatureError::DigestMissing),
            (Some(digest), body) if digest == body.digest() => Ok(self.verified),
            (Some(_), _) => Err(SignatureError::DigestMismatch),
        }
    }
}

/// The headers that make a request `key`'s, on `network` and within a minute of `created_s`.
///
/// A nonce serves once: every request takes a new one, drawn at random, a repeated request too.
///
/// # Panics
/// Never: every header is printed from numbers, hexadecimal digits and base64.
#[must_use]
pub fn sign(
    target: &Target<'_>,
    body: Body,
    key: &SigningKey,
    network: NetworkId,
    created_s: u64,
    nonce: Nonce,
) -> HeaderMap {
    let (components, digest) = match body {
        Body::Empty => (COMPONENTS, None),
        Body::Sha256(digest) => (COMPONENTS_WITH_BODY, Some(field::print_digest(&digest))),
    };
    let (keyid, nonce) = (key.public(), STANDARD.encode(nonce.as_bytes()));
    let tag = tag(network);
    let params =
        format!(r#"{components};created={created_s};keyid="{keyid}";alg="ed25519";nonce="{nonce}";tag="{tag}""#);
    let base = base(target, digest.as_deref(), &params);
    // The key with its expanded secret lives and is wiped inside the closure.
    let signature = key.seed().expose(|seed| ed25519_dalek::SigningKey::from_bytes(seed).sign(base.as_bytes()));

    let mut headers = HeaderMap::with_capacity(3);
    let mut insert = |name: HeaderName, text: String| {
        #[expect(clippy::expect_used, reason = "digits, letters and punctuation are a header's text")]
        headers.insert(name, HeaderValue::try_from(text).expect("visible ASCII"));
    };
    if let Some(digest) = digest {
        insert(CONTENT_DIGEST, digest);
    }
    insert(SIGNATURE_INPUT, format!("dmdl={params}"));
    insert(SIGNATURE, format!("dmdl=:{}:", STANDARD.encode(signature.to_bytes())));
    headers
}

/// Checks a request as [`verify_head`] and [`VerifiedHead::with_body`] do, for a caller that has its body.
///
/// # Errors
/// Theirs.
pub fn verify(
    target: &Target<'_>,
    headers: &HeaderMap,
    body: Body,
    expected: &Expected<'_>,
) -> Result<Verified, SignatureError> {
    verify_head(target, headers, expected)?.with_body(body)
}

/// Checks everything but the body, so that nobody's body is read before its sender is known.
///
/// The signature is checked whoever the key's owner is: how long it takes does not tell a key that is
/// enrolled from one that is not.
///
/// # Errors
/// [`SignatureError`]: the first that applies, in the order of the specification.
pub fn verify_head(
    target: &Target<'_>,
    headers: &HeaderMap,
    expected: &Expected<'_>,
) -> Result<VerifiedHead, SignatureError> {
    let (params, signature) = (field::member(headers, &SIGNATURE_INPUT)?, field::member(headers, &SIGNATURE)?);
    let (params, signature) = params.zip(signature).ok_or(SignatureError::Missing)?;
    let input = Input::parse(params)?;
    if input.alg != Some(Value::Text("ed25519")) {
        return Err(SignatureError::Algorithm);
    }
    if input.tag.and_then(Value::text) != Some(tag(expected.network).as_str())
        || !expected.authorities.contains(target.authority())
    {
        return Err(SignatureError::Context);
    }
    let created_s = input.created.and_then(Value::integer).ok_or(SignatureError::Time)?;
    if created_s.abs_diff(expected.now_s) > WINDOW_S {
        return Err(SignatureError::Time);
    }
    let covers_digest = match input.components {
        COMPONENTS => false,
        COMPONENTS_WITH_BODY => true,
        _ => return Err(SignatureError::Malformed("it does not cover what it has to")),
    };
    let digest = field::content_digest(headers)?;
    if covers_digest != digest.is_some() {
        return Err(SignatureError::DigestMissing);
    }
    let key: PublicKey = (input.keyid.and_then(Value::text))
        .and_then(|text| text.parse().ok())
        .ok_or(SignatureError::Malformed("`keyid` is not a key"))?;
    let nonce = (input.nonce.and_then(Value::text))
        .and_then(field::fixed_base64)
        .ok_or(SignatureError::Malformed("`nonce` is not 16 bytes"))?;
    let signature =
        field::byte_sequence(signature).ok_or(SignatureError::Malformed("the signature is not 64 bytes"))?;
    let base = base(target, digest.map(|(text, _)| text), params);
    if !verify_strict(key, base.as_bytes(), &signature) {
        return Err(SignatureError::Invalid);
    }
    let verified = Verified { key, nonce: Nonce(nonce), created_s };
    Ok(VerifiedHead { verified, digest: digest.map(|(_, digest)| digest) })
}

/// Ed25519 without the tolerance of ZIP-215: one signature has one spelling, and a key of small order none.
fn verify_strict(key: PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes())
        .and_then(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)))
        .is_ok()
}

/// The tag that binds a signature to a network.
fn tag(network: NetworkId) -> String {
    format!("dmdl:{network}")
}

/// What goes through Ed25519.
pub(super) fn base(target: &Target<'_>, digest: Option<&str>, params: &str) -> String {
    let digest = digest.map(|text| format!("\"content-digest\": {text}\n")).unwrap_or_default();
    format!("{}{digest}\"@signature-params\": {params}", target.lines())
}
