//! What holds of every answer that is no success, whatever was asked.

use std::collections::HashSet;

/// Longest piece of a request that an answer may repeat.
const ECHO_BYTES: usize = 64;
/// Largest problem.
const PROBLEM_BYTES: usize = 4096;
/// Failures on the server's side that are promised: nobody's bug.
const PROMISED: [u16; 4] = [502, 503, 504, 507];

/// Asserts that a refusal is a small problem with a code, is no failure that was not promised, and repeats nothing of
/// what was sent.
pub(crate) fn assert_harmless(sent: &[&[u8]], status: u16, content_type: Option<&str>, body: &[u8]) {
    let shown = String::from_utf8_lossy(body);
    assert!(status < 500 || PROMISED.contains(&status), "{status}: {shown}");
    if body.is_empty() {
        // Of `HEAD`.
        return;
    }
    assert_eq!(content_type, Some("application/problem+json"), "{shown}");
    assert!(body.len() <= PROBLEM_BYTES, "{} bytes", body.len());
    let problem: serde_json::Value = serde_json::from_slice(body).expect("a problem is JSON");
    assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &status.into()), "{shown}");
    let code = problem["code"].as_str().expect("a problem has a code");
    assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{code}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{shown}");
    let pieces: HashSet<&[u8]> = body.windows(ECHO_BYTES + 1).collect();
    for sent in sent {
        let echoed = sent.windows(ECHO_BYTES + 1).find(|piece| pieces.contains(piece));
        assert!(echoed.is_none(), "it repeats {:?}", echoed.map(String::from_utf8_lossy));
    }
}
