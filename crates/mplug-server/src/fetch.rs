//! Pictures of web addresses, where the operator allows them. A client learns neither what an internal name leads to nor whether there
//! is such a name: both are the same reply.

#[cfg(feature = "urls")]
pub(crate) use self::guarded::Fetcher;
#[cfg(not(feature = "urls"))]
pub(crate) use self::refusing::Fetcher;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{ApiError, Code};

/// A picture's bytes, wherever they came from.
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    /// Of an address: its place among those that are fetched or wait for the models.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

fn not_allowed() -> ApiError {
    let message = "expected a picture's bytes, found a web address: this server fetches none";
    ApiError::new(Code::UnreadablePicture, message)
}

#[cfg(not(feature = "urls"))]
mod refusing {
    use super::{ApiError, Fetched, not_allowed};

    /// Fetches nothing: the server was built without.
    pub(crate) struct Fetcher;

    impl Fetcher {
        #[expect(clippy::unused_async, reason = "the same call as where something is fetched")]
        pub(crate) async fn fetch(&self, _: String, _: u64) -> Result<Fetched, ApiError> {
            Err(not_allowed())
        }
    }
}

#[cfg(feature = "urls")]
mod guarded {
    use std::sync::Arc;
    use std::time::Duration;

    use mplug_hub::fetch::{FetchError, FetchFault, FetchOptions, PictureFetcher};
    use tokio::sync::Semaphore;

    use super::{ApiError, Code, Fetched, not_allowed};

    /// Pictures that are fetched at once; others wait.
    const AT_ONCE: usize = 16;
    /// When to try again where too many addresses wait.
    const WAIT_FOR_OTHERS: Duration = Duration::from_secs(1);

    /// Fetches pictures, or none.
    pub(crate) struct Fetcher {
        client: Option<PictureFetcher>,
        /// Of those that are fetched or wait for it or for the models.
        waiting: Arc<Semaphore>,
        /// Of those that are fetched.
        threads: Arc<Semaphore>,
    }

    impl Fetcher {
        /// A fetcher for at most `most` addresses; without options it refuses every address.
        pub(crate) fn new(options: Option<FetchOptions>, most: usize) -> Self {
            let (waiting, threads) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(AT_ONCE)));
            Self { client: options.map(PictureFetcher::new), waiting, threads }
        }

        /// The bytes at an address.
        ///
        /// # Errors
        /// If nothing is fetched, too many others wait, or this did not come.
        pub(crate) async fn fetch(&self, address: String, max_bytes: u64) -> Result<Fetched, ApiError> {
            let Some(client) = self.client.clone() else { return Err(not_allowed()) };
            let ended = |_| ApiError::new(Code::Internal, "the fetching thread has ended");
            let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| {
                let message = "too many addresses of pictures are waiting";
                ApiError::new(Code::Overloaded, message).after(WAIT_FOR_OTHERS)
            })?;
            let thread = Arc::clone(&self.threads).acquire_owned().await;
            let thread = thread.map_err(|_| ApiError::new(Code::Internal, "the server ends"))?;
            let fetched = tokio::task::spawn_blocking(move || {
                // It is free when the thread is, not when the client hangs up.
                let _thread = thread;
                client.get(&address, max_bytes)
            });
            let bytes = fetched.await.map_err(ended)?.map_err(|error| in_words(&error))?;
            Ok(Fetched { bytes, place: Some(place) })
        }
    }

    /// What a stranger may know of a failure.
    fn in_words(error: &FetchError) -> ApiError {
        let message = match &error.fault {
            FetchFault::Url { problem } => format!("the address {problem}"),
            FetchFault::TooManyBytes { limit, .. } => {
                return ApiError::new(Code::TooLarge, format!("the address has more than {limit} bytes"));
            }
            FetchFault::Status { code, .. } => format!("the address answers {code}: expected 200"),
            FetchFault::Encoded { .. } => "the address sends its answer encoded: expected plain".to_owned(),
            FetchFault::Timeout { .. } => "the address did not answer in time".to_owned(),
            // Names that are private, missing, or lead to nothing that listens cannot be distinguished.
            _ => "the address has no picture for this server".to_owned(),
        };
        ApiError::new(Code::UnreadablePicture, message)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn private_and_missing_names_have_the_same_reply() {
            let of = |fault| in_words(&FetchError { url: String::new(), fault });
            let private = of(FetchFault::NotPublic {
                host: "intra".to_owned(),
                address: [10, 0, 0, 1].into(),
                what: "a private address",
            });
            assert_eq!(private, of(FetchFault::NoHost { host: "x".to_owned(), source: None }));
            assert!(!private.message.contains("10.0"));
        }
    }
}
