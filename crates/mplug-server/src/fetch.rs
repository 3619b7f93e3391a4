//! Pictures of web addresses, where the operator allows them. A client learns neither what an internal name leads to nor whether there
//! is such a name: both are the same reply.

#[cfg(feature = "urls")]
pub(crate) use self::guarded::Fetcher;
#[cfg(not(feature = "urls"))]
pub(crate) use self::refusing::Fetcher;
use crate::error::{ApiError, Code};

fn not_allowed() -> ApiError {
    let message = "expected a picture's bytes, found a web address: this server fetches none";
    ApiError::new(Code::UnreadablePicture, message)
}

#[cfg(not(feature = "urls"))]
mod refusing {
    use super::{ApiError, not_allowed};

    /// Fetches nothing: the server was built without.
    pub(crate) struct Fetcher;

    impl Fetcher {
        #[expect(clippy::unused_async, reason = "the same call as where something is fetched")]
        pub(crate) async fn fetch(&self, _: String, _: u64) -> Result<Vec<u8>, ApiError> {
            Err(not_allowed())
        }
    }
}

#[cfg(feature = "urls")]
mod guarded {
    use std::sync::Arc;

    use mplug_hub::fetch::{FetchError, FetchFault, FetchOptions, PictureFetcher};
    use tokio::sync::Semaphore;

    use super::{ApiError, Code, not_allowed};

    /// Pictures that are fetched at once; others wait.
    const AT_ONCE: usize = 16;

    /// Fetches pictures, or none.
    pub(crate) struct Fetcher {
        fetcher: Option<PictureFetcher>,
        places: Arc<Semaphore>,
    }

    impl Fetcher {
        /// A fetcher; without options it refuses every address.
        pub(crate) fn new(options: Option<FetchOptions>) -> Self {
            Self { fetcher: options.map(PictureFetcher::new), places: Arc::new(Semaphore::new(AT_ONCE)) }
        }

        /// The bytes at an address.
        ///
        /// # Errors
        /// If nothing is fetched, or this did not come.
        pub(crate) async fn fetch(&self, address: String, max_bytes: u64) -> Result<Vec<u8>, ApiError> {
            let Some(fetcher) = self.fetcher.clone() else { return Err(not_allowed()) };
            let ended = |_| ApiError::new(Code::Internal, "the fetching thread has ended");
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| ApiError::new(Code::Internal, "the server ends"))?;
            let fetched = tokio::task::spawn_blocking(move || {
                // The place is free when the thread is, not when the client hangs up.
                let _place = place;
                fetcher.get(&address, max_bytes)
            });
            fetched.await.map_err(ended)?.map_err(|error| in_words(&error))
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
        fn private_and_missing_names_read_alike() {
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
