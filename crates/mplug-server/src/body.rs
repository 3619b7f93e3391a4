//! A request's body: received within a time and a size, and within what all bodies together may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{ApiError, Code};
use crate::options::Limits;

/// When to try again where all bodies together take too much.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(1);

/// How long the rest of a body that is too large is thrown away. Many clients read a reply when they have sent everything; one that finds
/// the connection closed before reports that, and not why.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that all bodies may take together.
pub(crate) struct Budget {
    held: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), most })
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// A body that was received. Its bytes count until it is dropped.
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    budget: Arc<Budget>,
    counted: usize,
}

impl Received {
    fn add(&mut self, data: &[u8], limit: usize) -> Result<(), ApiError> {
        if self.bytes.len() + data.len() > limit {
            return Err(too_large(format!("more than {limit}"), limit));
        }
        let held = self.budget.held.fetch_add(data.len(), Ordering::Relaxed);
        self.counted += data.len();
        if held + data.len() > self.budget.most {
            let message = format!("other requests hold {held} of {} bytes", self.budget.most);
            return Err(ApiError::new(Code::Overloaded, message).after(WAIT_FOR_OTHERS));
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Receives a body.
///
/// # Errors
/// If it is too large (where its length says so, before any of it is kept), too slow, or ends early.
pub(crate) async fn receive(
    headers: &HeaderMap,
    mut body: Body,
    limits: &Limits,
    budget: &Arc<Budget>,
) -> Result<Received, ApiError> {
    let limit = limits.body_bytes;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if let Some(announced) = announced.filter(|announced| *announced > limit) {
        // Who waits for leave to send has sent nothing, and is not given leave.
        if !headers.contains_key(EXPECT) {
            discard(body).await;
        }
        return Err(too_large(announced, limit));
    }
    let mut received = Received { bytes: Vec::new(), budget: Arc::clone(budget), counted: 0 };
    let deadline = Instant::now() + limits.body_timeout;
    loop {
        let frame = timeout_at(deadline, body.frame()).await;
        let frame = frame.map_err(|_| {
            let seconds = limits.body_timeout.as_secs();
            ApiError::new(Code::RequestTimeout, format!("the body was not there after {seconds} s"))
        })?;
        let Some(frame) = frame else { return Ok(received) };
        let frame = frame.map_err(|_| ApiError::new(Code::InvalidRequest, "the body ends early"))?;
        if let Some(data) = frame.data_ref()
            && let Err(error) = received.add(data, limit)
        {
            drop(received);
            discard(body).await;
            return Err(error);
        }
    }
}

/// Throws away what comes, for a while.
async fn discard(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // Who sends longer finds the connection closed.
    let _ = timeout(LINGER, rest).await;
}

fn too_large(found: impl std::fmt::Display, limit: usize) -> ApiError {
    ApiError::new(Code::TooLarge, format!("the body: expected at most {limit} bytes, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive_now(body: &'static [u8], length: Option<&'static str>) -> Result<usize, Code> {
        let limits = Limits { body_bytes: 10, ..Limits::default() };
        let mut headers = HeaderMap::new();
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
        }
        let budget = Budget::new(8);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let received = runtime.block_on(receive(&headers, Body::from(body), &limits, &budget));
        let len = received.map(|received| received.bytes.len()).map_err(|error| error.code);
        assert_eq!(budget.held(), 0, "what is dropped does not count");
        len
    }

    #[test]
    fn bodies_are_bounded_alone_and_together() {
        assert_eq!(receive_now(b"12345678", None), Ok(8));
        assert_eq!(receive_now(b"123456789", None), Err(Code::Overloaded));
        assert_eq!(receive_now(b"12345678901", None), Err(Code::TooLarge));
        assert_eq!(receive_now(b"1", Some("11")), Err(Code::TooLarge), "a length is believed at once");
    }
}
