//! How a server runs: what it allows, and where it ends.

use std::net::SocketAddr;
use std::time::Duration;

use mplug::preprocess::image::ImageLimits;

/// What one request, one client and all of them together may cost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Most pictures that are accepted and not answered yet. One more is refused with 429.
    pub queue: usize,
    /// Most pictures of one request.
    pub images: usize,
    /// Most bytes of a request's body.
    pub body_bytes: usize,
    /// Most bytes of all bodies that are being received.
    pub all_body_bytes: usize,
    /// Most connections; another one waits until one ends.
    pub connections: usize,
    /// What a picture may cost.
    pub picture: ImageLimits,
    /// Most pictures about which texts are written together. More of them share a decoder's step, and each waits for more pictures to
    /// be encoded.
    pub texts_at_once: usize,
    /// A request's head comes in this time, from the connection's start or the reply before on.
    pub head_timeout: Duration,
    /// A request's body comes in this time.
    pub body_timeout: Duration,
    /// An answer is there in this time, waiting included.
    pub answer_timeout: Duration,
    /// When the server ends, accepted work has this time.
    pub drain_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 64,
            images: 16,
            body_bytes: 32 << 20,
            all_body_bytes: 256 << 20,
            connections: 4096,
            picture: ImageLimits { max_pixels: 50_000_000, max_file_bytes: 32 << 20, background: None },
            texts_at_once: 8,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_mins(1),
            drain_deadline: Duration::from_secs(25),
        }
    }
}

/// How a server runs.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// What requests may cost.
    pub limits: Limits,
    /// Keys of which a client must name one; without keys everybody is served.
    pub api_keys: Vec<String>,
    /// Names by which clients may call the server, beside its address and `localhost`. `*` allows any.
    pub hosts: Vec<String>,
    /// Ollama's routes too.
    pub ollama: bool,
    /// How pictures of web addresses are fetched; nothing is fetched without.
    #[cfg(feature = "urls")]
    pub fetch: Option<mplug_hub::fetch::FetchOptions>,
    /// Threads of the models; one for each core if absent.
    pub threads: Option<usize>,
}

impl ServeOptions {
    /// Whether a client of another machine reaches `address` without a key.
    pub fn is_open_to_all(&self, address: SocketAddr) -> bool {
        !address.ip().is_loopback() && self.api_keys.is_empty()
    }
}
