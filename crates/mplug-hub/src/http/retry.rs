//! How often and after which pause something is tried again: twice the pause each time, or what the server requests.

use std::time::Duration;

use ureq::http::StatusCode;

/// No pause is longer, whatever the server requests.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The patience of a download.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    /// Attempts after the first.
    pub(crate) retries: u32,
    /// The first pause; each later one is twice as long.
    pub(crate) first_pause: Duration,
}

impl Retry {
    /// Whether an answer of this status may be another one later.
    pub(crate) fn is_worth(status: StatusCode) -> bool {
        status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
    }

    /// The pause after the failure number `failures` (from 1).
    pub(crate) fn wait(&self, failures: u32, requested: Option<Duration>) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        requested.unwrap_or(doubled).min(LONGEST_PAUSE)
    }

    /// Sleeps that long.
    pub(crate) fn pause(&self, failures: u32, requested: Option<Duration>) {
        std::thread::sleep(self.wait(failures, requested));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let retry = Retry { retries: 5, first_pause: Duration::from_secs(1) };
        let waits = [1, 2, 3, 6, 7, 100].map(|failures| retry.wait(failures, None).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60]);
        let requested = |seconds| retry.wait(1, Some(Duration::from_secs(seconds))).as_secs();
        assert_eq!([requested(7), requested(100_000)], [7, 60]);
    }
}
