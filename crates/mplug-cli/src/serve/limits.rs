//! What requests may cost, as it is typed.

use std::time::Duration;

use clap::Args;
use mplug::preprocess::image::Background;
use mplug_server::Limits;

use crate::args::{between, quantity};

/// What requests may cost.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ServeLimitArgs {
    /// Most pictures that are accepted and not answered yet; more are refused with 429
    #[arg(long, value_name = "N", default_value = "64", value_parser = between::<1, 65536>)]
    queue: usize,
    /// Most pictures of one request, at most --queue [default: 16, or --queue if that is less]
    #[arg(long, value_name = "N", value_parser = between::<1, 1024>)]
    max_images: Option<usize>,
    /// Most bytes of a request's body [default: 32 MiB]
    #[arg(long, value_name = "N", env = "MPLUG_MAX_BODY_BYTES", value_parser = quantity)]
    max_body_bytes: Option<u64>,
    /// Most pixels of a picture [default: 50 million]
    #[arg(long, value_name = "N", env = "MPLUG_MAX_PIXELS", value_parser = quantity)]
    max_pixels: Option<u64>,
    /// Lay transparent pictures over this colour: white, black, gray or #RRGGBB [default: drop alpha, as the original does]
    #[arg(long, value_name = "COLOUR", env = "MPLUG_BACKGROUND", help_heading = "Pictures")]
    background: Option<Background>,
    /// Most pictures about which texts are written together
    #[arg(long, value_name = "N", default_value = "8", value_parser = between::<1, 1024>)]
    texts_at_once: usize,
    /// Most connections
    #[arg(long, value_name = "N", default_value = "4096", value_parser = between::<1, 65536>)]
    max_connections: usize,
    /// Seconds within which an answer must be there; else 504
    #[arg(long, value_name = "N", default_value = "60", value_parser = between::<1, 3600>)]
    timeout: usize,
    /// Seconds that accepted work has when the server ends
    #[arg(long, value_name = "N", default_value = "25", value_parser = between::<0, 3600>)]
    drain_deadline: usize,
}

impl ServeLimitArgs {
    /// The limits meant: what was not typed is the library's default.
    pub(crate) fn limits(&self) -> Limits {
        let seconds = |number: usize| Duration::from_secs(number as u64);
        let mut limits = Limits::default();
        limits.queue = self.queue;
        limits.images = self.max_images.unwrap_or_else(|| limits.images.min(self.queue));
        limits.body_bytes = self
            .max_body_bytes
            .map_or(limits.body_bytes, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        limits.picture.max_file_bytes = limits.body_bytes as u64;
        limits.picture.background = self.background;
        limits.picture.max_pixels = self.max_pixels.unwrap_or(limits.picture.max_pixels);
        limits.texts_at_once = self.texts_at_once;
        limits.connections = self.max_connections;
        limits.answer_timeout = seconds(self.timeout);
        limits.drain_deadline = seconds(self.drain_deadline);
        limits
    }
}
