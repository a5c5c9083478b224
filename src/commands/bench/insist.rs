//! What has to be done before anything is measured: while the network has too much to do, it is asked for again.

use crate::{exit::Failure, problem::TOO_MUCH};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The first pause; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(2);

/// What an attempt gave that came to something, or the last of those that did not: there are attempts for as long as the
/// patience, and after one that failed otherwise there is none.
pub(super) async fn insist<T>(
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (begun, mut pause) = (Instant::now(), PAUSE);
    loop {
        match attempt().await {
            Err(failure) if TOO_MUCH.contains(&&*failure.code) && begun.elapsed() + pause < patience => {
                tracing::debug!(code = %failure.code, ?pause, "there is too much to do; asked for again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    /// How many attempts there are within half a second of something that fails so often, and what they come to.
    fn attempts(failures: usize, code: &'static str) -> (usize, Result<(), String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut made = 0;
        let done = runtime.block_on(insist(Duration::from_millis(500), async || {
            made += 1;
            if made > failures { Ok(()) } else { Err(Failure::new(Exit::Unavailable, code, "it was to fail")) }
        }));
        (made, done.map_err(|failure| failure.code.into_owned()))
    }

    #[test]
    fn what_a_busy_network_refuses_is_asked_for_again() {
        assert_eq!(attempts(1, "busy"), (2, Ok(())));
    }

    #[test]
    fn what_may_have_been_done_is_not() {
        assert_eq!(attempts(1, "timeout"), (1, Err("timeout".to_owned())));
    }

    #[test]
    fn nobody_asks_for_ever() {
        let (made, done) = attempts(usize::MAX, "busy");
        assert_eq!(done, Err("busy".to_owned()));
        assert!((1..5).contains(&made), "{made}");
    }
}
