//! Who asks: a signature, looked at before anybody's body is read.

use super::{
    RealNode, Shared,
    error::ApiError,
    limits::{JSON_BYTES_MAX, PART_BYTES_MAX},
    session,
    transport::{Link, Phase},
};
use crate::http::{
    signature::{Body as SignedBody, Expected, VerifiedHead, verify_head},
    target::Target,
};
use axum::{body::Body, extract::FromRequestParts};
use bytes::Bytes;
use dmdl_audit_ledger::world::{PersonRow, PersonStatus};
use dmdl_types::{id::UnixMillis, sign::PublicKey};
use http::{HeaderValue, Method, Request, header, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use std::{
    convert::Infallible,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};

/// What the routes of a channel begin with.
pub(super) const OF_CHANNEL: &str = "/v1/channels/{c}/";
/// The route whose bodies are not JSON.
const PAYLOAD: &str = "/v1/payloads/{digest}";
/// How often it is looked whether there is room for a body.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Who sent a request: an enrolled and active person.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key that signed.
    pub(crate) key: PublicKey,
    /// Whose it is.
    pub(crate) person: PersonRow,
    /// Whether it signed this request, and not only an earlier one of the connection.
    pub(super) signed: bool,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unsigned)
    }
}

/// Whoever sent a request, or nobody.
pub(crate) struct MaybeCaller(pub(crate) Option<Caller>);

impl<S: Sync> FromRequestParts<S> for MaybeCaller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Caller>().cloned()))
    }
}

/// The node on the channel that a request names, if its sender may know of it.
#[derive(Clone)]
pub(super) struct Named(pub(super) RealNode);

fn unsigned() -> ApiError {
    ApiError::new(401, "sig_missing", "this is for enrolled people only: sign the request")
}

/// A request whose sender is known, or is nobody, with its body.
pub(super) struct Admitted<'a> {
    pub(super) request: Request<Body>,
    pub(super) key: Option<PublicKey>,
    /// The node on the channel that it names, if its sender may know of it.
    pub(super) named: Option<RealNode>,
    /// The room that the body takes.
    pub(super) _room: Option<SemaphorePermit<'a>>,
}

/// Room for bodies, in KiB: none of these kinds can take the others' room.
#[derive(Debug)]
pub(super) struct Room {
    parts: Semaphore,
    signed: Semaphore,
    unsigned: Semaphore,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        let [parts, signed, unsigned] = [2, 4, 4].map(|part| Semaphore::new(bytes / 1024 / part));
        Self { parts, signed, unsigned }
    }
}

/// Finds out who sends a request and reads its body.
///
/// # Errors
/// Everything that a bad signature, an unknown key or a bad body gets, on public routes too.
pub(super) async fn admit<'a>(
    shared: &'a Shared,
    link: &Arc<Link>,
    template: &str,
    request: Request<Incoming>,
) -> Result<Admitted<'a>, ApiError> {
    let (mut parts, body) = request.into_parts();
    // A length is always known: what comes in chunks was refused before.
    let len = body.size_hint().upper().and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    check_len(&parts.method, template, len)?;
    if parts.headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::new(401, "token_invalid", "no tokens are taken here: sign the request"));
    }
    let target = shared.authorities.target(link, &parts);
    let head = match (is_signed(&parts), target) {
        (true, target) => {
            // Signed for another host: that is told, and not only that the host is another one.
            let target = target.or_else(|_| shared.authorities.any_target(&parts))?;
            Some(verified_head(shared, link, &target, &parts)?)
        }
        (false, target) => {
            target?;
            None
        }
    };
    let session = match &head {
        Some(_) => None,
        None => link.session().filter(|_| session::is_direct(shared, &parts.headers)),
    };
    let named = named(shared, template, parts.uri.path(), head.as_ref().map(VerifiedHead::key).or(session))?;
    let caller = match (&head, session) {
        (Some(head), _) => Some(caller(shared, named.as_ref(), head.key(), true)?),
        (None, Some(key)) => {
            // On another channel it may still be somebody's.
            let ended = |_: &ApiError| {
                if shared.enrolled(key).is_ok_and(|rows| rows.is_empty()) {
                    link.end_session();
                }
            };
            Some(caller(shared, named.as_ref(), key, false).inspect_err(ended)?)
        }
        (None, None) => None,
    };
    if let Some(caller) = &caller {
        let mut quota = shared.quota.lock().unwrap_or_else(PoisonError::into_inner);
        quota.take(caller.key, now()).map_err(|error| {
            let seconds = error.retry_after_ms.div_ceil(1000).max(1);
            ApiError::new(429, "rate_limited", "this key sends too many requests").retry_after(seconds)
        })?;
    }
    if caller.is_none() && len > JSON_BYTES_MAX {
        return Err(closing(unsigned()));
    }
    let (bytes, room) = read(shared, link, body, len, caller.is_some()).await?;
    if let Some(head) = head {
        let verified = head.with_body(SignedBody::of(&bytes))?;
        let mut nonces = shared.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.admit(&verified, now_s())?;
    }
    let key = caller.as_ref().map(|caller| caller.key);
    caller.map(|caller| parts.extensions.insert(caller));
    named.clone().map(|node| parts.extensions.insert(Named(node)));
    parts.extensions.insert(Arc::clone(link));
    Ok(Admitted { request: Request::from_parts(parts, Body::from(bytes)), key, named, _room: room })
}

fn check_len(method: &Method, template: &str, len: usize) -> Result<(), ApiError> {
    let most = match (method, template) {
        (&Method::PUT, PAYLOAD) => PART_BYTES_MAX,
        (&Method::GET | &Method::HEAD, _) => 0,
        _ => JSON_BYTES_MAX,
    };
    if len > most {
        let detail = format!("the body has more than the {most} bytes that are read here");
        return Err(closing(ApiError::new(413, "body_too_large", detail)));
    }
    Ok(())
}

fn is_signed(parts: &Parts) -> bool {
    ["signature", "signature-input"].iter().any(|name| parts.headers.contains_key(*name))
}

fn verified_head(shared: &Shared, link: &Link, target: &Target<'_>, parts: &Parts) -> Result<VerifiedHead, ApiError> {
    let arrived = shared.authorities.target(link, parts).map(|target| target.authority().clone());
    let own: Vec<_> = shared.authorities.all().iter().cloned().chain(arrived).collect();
    let expected = Expected { network: shared.network, authorities: &own, now_s: now_s() };
    Ok(verify_head(target, &parts.headers, &expected)?)
}

/// The node on the channel that a path names, if there is one that this key's person, or anybody, may know of.
fn named(shared: &Shared, template: &str, path: &str, key: Option<PublicKey>) -> Result<Option<RealNode>, ApiError> {
    let of_channel = template.starts_with(OF_CHANNEL).then(|| path.split('/').nth(3)).flatten();
    let Some(node) = of_channel.and_then(|name| shared.host.node(name)) else { return Ok(None) };
    Ok(if shared.may_know_of(&node, key)? { Some(node) } else { None })
}

/// Looks a person up, for every request anew: who was revoked a block ago is nobody. Where no channel is named, or
/// none that they may know of, being somebody on any of them is enough.
fn caller(shared: &Shared, named: Option<&RealNode>, key: PublicKey, signed: bool) -> Result<Caller, ApiError> {
    let person = match named {
        Some(node) => node.channel().person(key)?,
        None => match shared.enrolled(key)?.into_iter().next() {
            Some(row) => Some(row),
            None => shared.host.first().channel().person(key)?,
        },
    };
    let person = person.ok_or_else(|| ApiError::new(401, "key_unknown", "the key is nobody's here"))?;
    if person.status != PersonStatus::Active {
        return Err(ApiError::new(401, "key_revoked", "the key is revoked or suspended"));
    }
    Ok(Caller { key, person, signed })
}

/// Reads a body, in the time that it may take.
async fn read<'a>(
    shared: &'a Shared,
    link: &Link,
    body: Incoming,
    len: usize,
    known: bool,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), ApiError> {
    if len == 0 {
        return Ok((Bytes::new(), None));
    }
    if !known {
        link.enter(Phase::Sending);
    }
    let kibibytes = u32::try_from(len.div_ceil(1024)).unwrap_or(u32::MAX);
    let mut begun = false;
    let reading = async {
        let room = match known {
            true if len > JSON_BYTES_MAX => shared.room.parts.acquire_many(kibibytes).await.ok(),
            true => shared.room.signed.acquire_many(kibibytes).await.ok(),
            false => loop {
                if let Ok(room) = shared.room.unsigned.try_acquire_many(kibibytes) {
                    break Some(room);
                }
                shared.connections.end_a_sender(link);
                sleep(LOOK_EVERY).await;
            },
        };
        begun = true;
        let bytes = body.collect().await;
        let bytes = bytes.map_err(|_| closing(ApiError::new(400, "bad_request", "the body broke off")))?;
        Ok((bytes.to_bytes(), room))
    };
    let read = timeout(shared.limits.body, reading).await;
    link.enter(Phase::Busy);
    match read {
        Ok(read) => read,
        Err(_) if begun => Err(closing(ApiError::new(408, "request_timeout", "the body did not come in time"))),
        Err(_) => Err(closing(ApiError::new(503, "overloaded", "there is no room for the body; try again"))),
    }
}

/// An answer to a request that was not read to its end.
fn closing(error: ApiError) -> ApiError {
    error.with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn now_s() -> u64 {
    now().get() / 1000
}
