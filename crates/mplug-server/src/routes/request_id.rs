//! What a request is called, in the log and in its reply: the client's own name for it, or one of ours.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, Request};

/// The header that has it.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest name that a client may give.
const MOST_BYTES: usize = 64;

/// A request's name.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The client's name for the request, if it is plain and short; else a new one.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let given = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        let is_plain = |text: &&str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            (1..=MOST_BYTES).contains(&text.len()) && text.chars().all(is_plain)
        };
        Self(given.filter(is_plain).map_or_else(new, str::to_owned))
    }

    /// The name of what a request made.
    pub(crate) fn with(&self, kind: &str) -> String {
        format!("{kind}-{}", self.0)
    }
}

/// A name that no other request of this or another run has.
fn new() -> String {
    static RUN: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", RUN.hash_one(number))
}

/// Put there before any route sees the request.
impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self(new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_kept() {
        let id =
            |given: &str| RequestId::of(&Request::builder().header(X_REQUEST_ID, given).body(()).unwrap()).0;
        assert_eq!(id("a-B_1.2"), "a-B_1.2");
        for bad in ["", "a b", "<script>", &"a".repeat(65)] {
            assert_ne!(id(bad), bad);
            assert_eq!(id(bad).len(), 16);
        }
        assert_ne!(id(""), id(""));
    }
}
