//! Who asks: a signature, looked at before anybody's body is read.

use super::{
    RealNode, Shared,
    admission::{Holder, Place, Places},
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
use tokio::time::{sleep, timeout};

/// What the routes of a channel begin with.
pub(super) const OF_CHANNEL: &str = "/v1/channels/{c}/";
/// The route that says how far the node is.
const STATUS: &str = "/v1/channels/{c}/status";
/// The route whose bodies are not JSON.
pub(super) const PAYLOAD: &str = "/v1/payloads/{digest}";
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
pub(super) struct Admitted {
    pub(super) request: Request<Body>,
    pub(super) key: Option<PublicKey>,
    /// Whose share of the work it is.
    pub(super) holder: Holder,
    /// The node on the channel that it names, if its sender may know of it.
    pub(super) named: Option<RealNode>,
    /// The room that the body takes.
    pub(super) _room: Option<Place>,
}

/// Room for bodies, in KiB: none of these kinds can take the others' room.
#[derive(Debug)]
pub(super) struct Room {
    parts: Places,
    signed: Places,
    unsigned: Places,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        let [parts, signed, unsigned] = [2, 4, 4].map(|part| Places::new(bytes / 1024 / part));
        Self { parts, signed, unsigned }
    }
}

/// Finds out who sends a request and reads its body.
///
/// # Errors
/// Everything that a bad signature, an unknown key or a bad body gets, on public routes too.
pub(super) async fn admit(
    shared: &Shared,
    link: &Arc<Link>,
    template: &str,
    request: Request<Incoming>,
) -> Result<Admitted, ApiError> {
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
    check_current(shared, template, named.as_ref(), head.is_some() || session.is_some())?;
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
        shared.admission.request(caller.key)?;
    }
    if caller.is_none() && len > JSON_BYTES_MAX {
        return Err(closing(unsigned()));
    }
    let holder = caller.as_ref().map(|caller| Holder::of(&caller.person.person));
    let (bytes, room) = read(shared, link, body, len, holder.as_ref()).await?;
    if let Some(head) = head {
        let verified = head.with_body(SignedBody::of(&bytes))?;
        let mut nonces = shared.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.admit(&verified, now_s())?;
    }
    let key = caller.as_ref().map(|caller| caller.key);
    caller.map(|caller| parts.extensions.insert(caller));
    named.clone().map(|node| parts.extensions.insert(Named(node)));
    parts.extensions.insert(Arc::clone(link));
    let request = Request::from_parts(parts, Body::from(bytes));
    Ok(Admitted { request, key, holder: holder.unwrap_or_default(), named, _room: room })
}

/// Looks up once more who asks and whether they may know of the channel: in the time that was waited for what is
/// final, that may have been taken from them.
///
/// # Errors
/// As [`admit`].
pub(super) fn admit_again(shared: &Shared, template: &str, request: &mut Request<Body>) -> Result<(), ApiError> {
    let Some(Caller { key, signed, .. }) = request.extensions().get().cloned() else { return Ok(()) };
    let named = named(shared, template, request.uri().path(), Some(key))?;
    let caller = caller(shared, named.as_ref(), key, signed)?;
    let extensions = request.extensions_mut();
    extensions.insert(caller);
    match named {
        Some(node) => drop(extensions.insert(Named(node))),
        None => drop(extensions.remove::<Named>()),
    }
    Ok(())
}

/// Refuses what a node would answer that has not caught up since it was restored: who may ask, and what there is, may
/// have been taken back. How it stands, it says.
fn check_current(
    shared: &Shared,
    template: &str,
    named: Option<&RealNode>,
    is_somebodys: bool,
) -> Result<(), ApiError> {
    let node = named.unwrap_or_else(|| shared.host.first());
    let tells_of_the_ledger = named.is_some() || is_somebodys;
    if template == STATUS || !tells_of_the_ledger || node.channel().is_current() {
        return Ok(());
    }
    let detail = "this node has not caught up with the others since it began anew; try again, or another gateway";
    Err(ApiError::new(503, "catching_up", detail))
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

/// Reads a body, in the time that it may take, where there is room for it. For a body that nobody has signed, others that
/// nobody has signed make room.
async fn read(
    shared: &Shared,
    link: &Link,
    body: Incoming,
    len: usize,
    holder: Option<&Holder>,
) -> Result<(Bytes, Option<Place>), ApiError> {
    if len == 0 {
        return Ok((Bytes::new(), None));
    }
    if holder.is_none() {
        link.enter(Phase::Sending);
    }
    let kibibytes = len.div_ceil(1024);
    let mut begun = false;
    let reading = async {
        let room = match holder {
            Some(holder) => {
                let room = if len > JSON_BYTES_MAX { &shared.room.parts } else { &shared.room.signed };
                room.wait(holder, kibibytes).await
            }
            None => loop {
                if let Some(room) = shared.room.unsigned.take_free(kibibytes) {
                    break room;
                }
                shared.connections.end_a_sender(link);
                sleep(LOOK_EVERY).await;
            },
        };
        begun = true;
        let bytes = body.collect().await;
        let bytes = bytes.map_err(|_| closing(ApiError::new(400, "bad_request", "the body broke off")))?;
        Ok((bytes.to_bytes(), Some(room)))
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
