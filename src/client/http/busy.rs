//! What a gateway refuses for now because there is too much to do, and when it is asked again.
//!
//! # Source
//! RFC 9110, 10.2.3; docs/api.md

use super::answer::{Answer, number, whole};
use crate::problem::TOO_MUCH;
use http::{Response, StatusCode, header};
use http_body_util::{Either, Full};
use serde::Deserialize;
use std::time::Duration;

/// Longest problem.
const PROBLEM_BYTES: usize = 8 * 1024;

/// The answer, and how long its gateway wants to be left alone, if it is busy.
pub(super) async fn looked_at(answer: Answer) -> (Answer, Option<Duration>) {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    let (status, after) = (answer.status(), number(answer.headers(), header::RETRY_AFTER.as_str()));
    let (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(after)) = (status, after) else {
        return (answer, None);
    };
    let Answer { response, on } = answer;
    let (parts, body) = response.into_parts();
    // One that breaks off tells nothing.
    let body = whole(Answer { response: Response::new(body), on }, PROBLEM_BYTES).await.unwrap_or_default();
    let is_busy = serde_json::from_slice(&body).is_ok_and(|problem: Problem| TOO_MUCH.contains(&problem.code.as_str()));
    let response = Response::from_parts(parts, Either::Right(Full::new(body)));
    (Answer { response, on: None }, is_busy.then(|| Duration::from_secs(after)))
}

/// When to ask again: not before the gateway says, and not all at the same moment, or the same crowd would come back. `draw`
/// is random.
pub(super) fn pause(after: Duration, draw: u32) -> Duration {
    after.saturating_add(after.mul_f64(f64::from(draw) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_comes_back_before_the_gateway_says_and_not_all_at_once() {
        let after = Duration::from_secs(2);
        assert_eq!(pause(after, 0), after);
        assert_eq!(pause(after, u32::MAX), after * 2);
        assert!(pause(after, u32::MAX / 2) > after && pause(after, u32::MAX / 2) < after * 2);
    }
}
