//! Under which hosts a gateway is asked: another host's requests are not answered, whoever sends them here.
//!
//! # Source
//! RFC 9110, sections 7.2 and 7.4

use super::{error::ApiError, transport::Link};
use crate::http::target::{Authority, Target};
use http::{Method, Uri, header, request::Parts};
use std::net::SocketAddr;

/// The hosts that this machine has for itself.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The hosts of a gateway.
#[derive(Debug)]
pub(super) struct Authorities(Vec<Authority>);

impl Authorities {
    /// The hosts of a gateway that listens at `address`, and that people also reach under these names, with
    /// a port or with the gateway's own.
    pub(super) fn new(address: SocketAddr, secure: bool, names: &[String]) -> Self {
        let local = LOCAL.into_iter().map(str::to_owned);
        let named = names.iter().cloned();
        let hosts = local.chain(named).chain([host(address)]);
        Self(hosts.flat_map(|host| spellings(&host, address.port(), secure)).collect())
    }

    /// The target of a request that is for this gateway.
    ///
    /// # Errors
    /// 400 for a request that names no host or several, 421 for one that is for another host.
    pub(super) fn target<'a>(&self, link: &Link, parts: &'a Parts) -> Result<Target<'a>, ApiError> {
        let target = self.any_target(parts)?;
        let own = self.0.contains(target.authority()) || {
            let arrived = spellings(&host(link.local), link.local.port(), link.secure);
            arrived.contains(target.authority())
        };
        let secure = match parts.uri.scheme_str() {
            Some(scheme) => scheme.eq_ignore_ascii_case("https"),
            None => link.secure,
        };
        if own && secure == link.secure { Ok(target) } else { Err(misdirected()) }
    }

    /// The target of a request, whoever it is for.
    ///
    /// # Errors
    /// 400 for a request that names no host or several, 421 for one that names two different hosts.
    pub(super) fn any_target<'a>(&self, parts: &'a Parts) -> Result<Target<'a>, ApiError> {
        if parts.headers.get_all(header::HOST).iter().count() != 1 {
            return Err(ApiError::new(400, "bad_host", "a request names one host, by one `Host`"));
        }
        Target::of(&parts.method, &parts.uri, &parts.headers).map_err(|_| misdirected())
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Authority] {
        &self.0
    }

    /// Whether a page with this origin is one of this gateway's.
    pub(super) fn is_own_origin(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.and_then(|host| host.parse().ok()).is_some_and(|host| self.0.contains(&host))
    }
}

/// Where in a gateway a request goes: the path, if all of it is plain.
///
/// No name of a resource needs an escape, a parameter or a dot segment, so none is undone: what is spelled
/// with one could be taken for another resource by somebody else.
///
/// # Errors
/// 400 `bad_id`.
pub(super) fn plain_path<'a>(method: &Method, uri: &'a Uri) -> Result<&'a str, ApiError> {
    let path = uri.path();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.bytes().all(plain);
    let mut names = path.strip_prefix('/').unwrap_or_default().split('/');
    if path == "/" || (method != Method::CONNECT && names.all(is_name)) {
        return Ok(path);
    }
    Err(ApiError::new(400, "bad_id", "the path has a character or an empty part that no resource here has"))
}

fn misdirected() -> ApiError {
    ApiError::new(421, "misdirected", "this gateway does not answer for that host")
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// The ways in which a host may be written: with its port, and without it if that is the scheme's own.
fn spellings(host: &str, port: u16, secure: bool) -> Vec<Authority> {
    let bare = host.starts_with('[') && host.ends_with(']') || !host.contains(':');
    let mut texts = vec![if bare { format!("{host}:{port}") } else { host.to_owned() }];
    if bare && port == (if secure { 443 } else { 80 }) {
        texts.push(host.to_owned());
    }
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use http::Request;

    fn code(error: ApiError) -> u16 {
        error.into_response().status().as_u16()
    }

    fn at(secure: bool) -> (Authorities, Link) {
        let address: SocketAddr = "0.0.0.0:7400".parse().unwrap();
        let names = ["gateway.example".to_owned(), "proxy.example:8443".to_owned()];
        (Authorities::new(address, secure, &names), Link::new("10.1.2.3:7400".parse().unwrap(), secure))
    }

    fn target(uri: &str, hosts: &[&str], secure: bool) -> Result<String, u16> {
        let (own, link) = at(secure);
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        own.target(&link, &parts).map(|target| target.authority().to_string()).map_err(code)
    }

    #[test]
    fn a_gateway_answers_under_its_own_hosts() {
        for host in ["localhost:7400", "LOCALHOST:7400", "127.0.0.1:7400", "[::1]:7400", "10.1.2.3:7400"] {
            assert_eq!(target("/x", &[host], true), Ok(host.to_ascii_lowercase()));
            assert_eq!(target(&format!("https://{host}/x"), &[host], true), Ok(host.to_ascii_lowercase()));
        }
        assert!(target("/x", &["gateway.example:7400"], true).is_ok());
        assert!(target("/x", &["proxy.example:8443"], true).is_ok());
    }

    #[test]
    fn what_is_for_another_host_is_misdirected() {
        for host in
            ["evil.example", "evil.example:7400", "localhost", "localhost:80", "proxy.example:7400", "10.1.2.4:7400"]
        {
            assert_eq!(target("/x", &[host], true), Err(421), "{host}");
        }
        assert_eq!(target("https://evil.example/x", &["localhost:7400"], true), Err(421));
        assert_eq!(target("https://localhost:7400/x", &["127.0.0.1:7400"], true), Err(421));
        assert_eq!(target("http://localhost:7400/x", &["localhost:7400"], true), Err(421));
        assert_eq!(target("/x", &["user@localhost:7400"], true), Err(421));
    }

    #[test]
    fn a_request_names_one_host() {
        assert_eq!(target("/x", &[], false), Err(400));
        assert_eq!(target("/x", &["localhost:7400", "localhost:7400"], false), Err(400));
        assert_eq!(target("http://localhost:7400/x", &[], false), Err(400));
    }

    #[test]
    fn a_path_has_one_spelling() {
        let path = |text: &str| plain_path(&Method::GET, &text.parse().unwrap()).map(str::to_owned).map_err(code);
        for good in ["/", "/healthz", "/v1/openapi.json", "/v1/channels/main/records/00ff"] {
            assert_eq!(path(good), Ok(good.to_owned()));
        }
        for bad in [
            "//",
            "//v1/channels",
            "/v1//channels",
            "/v1/channels/",
            "/v1/./channels",
            "/v1/../v1/channels",
            "/v1/%63hannels",
            "/v1/%2e%2e%2f",
            "/v1/%252e",
            "/v1/..%5c",
            "/v1/%00",
            "/v1/channels;a=b",
            "/v1/a*",
            "/v1/a+b",
            "/v1/a:b",
            "*",
        ] {
            assert_eq!(path(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn only_our_own_pages_have_our_origin() {
        let (own, _) = at(true);
        assert!(own.is_own_origin("https://localhost:7400"));
        for origin in ["null", "https://evil.example", "https://localhost:7401", "https://localhost:7400.evil.example"]
        {
            assert!(!own.is_own_origin(origin), "{origin}");
        }
    }
}
