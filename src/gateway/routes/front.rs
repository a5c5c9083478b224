//! The page at `/`: how the network stands, for a person with a browser.
//!
//! It has no script, takes no input and shows nothing that `…/status` does not tell everybody.

use super::network::{Status, standing};
use crate::gateway::{Shared, error::ApiError};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header;
use sha2::{Digest as _, Sha256};
use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

/// How often a browser asks again, in seconds.
const REFRESH_SECONDS: u32 = 5;
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;\
    color:#1d2733;background:#fff}h1{font-size:1.4rem}table{border-collapse:collapse;width:100%;margin:1rem 0}\
    th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #d5dce4;vertical-align:top}\
    code{font:14px ui-monospace,monospace;overflow-wrap:anywhere}.demo{padding:.6rem 1rem;background:#fff0c2}";

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/", get(front))
}

/// How the network stands, for a person.
#[utoipa::path(
    get,
    path = "/",
    tag = "operation",
    security(()),
    responses((status = 200, description = "A page for browsers.", body = String, content_type = "text/html")),
)]
pub(super) async fn front(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let node = shared.host.first();
    let page = page(&standing(node).await?.body, node.channel().founding().single_org_demo);
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'");
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy.as_str())];
    Ok((headers, page).into_response())
}

fn page(status: &Status, demo: bool) -> String {
    let mut page = String::new();
    // Writing into a string does not fail.
    let _ = write(&mut page, status, demo);
    page
}

fn write(page: &mut String, status: &Status, demo: bool) -> fmt::Result {
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>DMDL gateway</title>\
        <meta name=\"viewport\" content=\"width=device-width\">\
        <meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\"><style>{STYLE}</style></head><body>\
        <h1>DMDL gateway of channel {}</h1>",
        Escaped(&status.name)
    )?;
    if demo {
        page.push_str(
            "<p class=\"demo\">One organisation may run everything here (<code>single_org_demo</code>): it could open \
            every record alone. For trying, not for patients.</p>",
        );
    }
    page.push_str("<table>");
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for (name, value) in [
        ("Network (hash of its genesis)", status.network.to_string()),
        ("Height", status.height.to_string()),
        ("Time of the last block", status.time.to_string()),
        ("Last block", status.block.to_string()),
        ("State", status.state_root.clone()),
        ("Epoch, view", format!("{}, {}", status.epoch, or_none(status.view.map(|view| view.to_string())))),
        ("Primary", or_none(status.primary.map(|node| node.to_string()))),
        ("Events in the audit log", status.log_size.to_string()),
    ] {
        write!(page, "<tr><th>{name}</th><td><code>{}</code></td></tr>", Escaped(&value))?;
    }
    page.push_str("</table><table><tr><th>Node</th><th>Organisation</th><th>Roles</th></tr>");
    for peer in &status.peers {
        let roles = peer.roles.join(", ");
        write!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            Escaped(&peer.node.to_string()),
            Escaped(peer.org.as_str()),
            Escaped(&roles)
        )?;
    }
    page.push_str(
        "</table><p>A gateway is trusted with nothing: what it says here is its word. The program <code>dmdl</code> \
        verifies against the pinned genesis. Programs start at <a href=\"/v1/openapi.json\">/v1/openapi.json</a>.</p>\
        </body></html>",
    );
    Ok(())
}

/// Text that no browser takes for markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_text_and_never_markup() {
        let shown = Escaped("<img src=x onerror=\"a('b')\">&").to_string();
        assert_eq!(shown, "&lt;img src=x onerror=&quot;a(&#39;b&#39;)&quot;&gt;&amp;");
    }
}
