//! mPLUG on a CPU: captions for pictures, answers to questions about them, and how well a text fits a picture, from the
//! checkpoints published on ModelScope, with the original's tokens.
//!
//! ```no_run
//! use mplug::{Captioner, load_image};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captioner = Captioner::open("path/to/model")?;
//! let picture = load_image("photo.jpg", &Default::default())?;
//! println!("{}", captioner.caption(&picture)?.text); // 一群人在海滩上
//! # Ok(())
//! # }
//! ```
//!
//! The modules stand in the order of the data's way: a model folder is opened ([`config`], [`checkpoint`]); files and
//! strings become tensors ([`preprocess`]); the stages run ([`visual_encoder`], [`text_encoder`], [`fusion_encoder`],
//! [`text_decoder`], [`contrastive_head`], all built of [`engine`]'s bricks and joined by [`model`]); [`generate`] writes a text with the
//! decoder; [`tasks`] wraps it all up for its users. Nothing here opens a network connection: the crate `mplug-hub` finds and downloads
//! models by name.
//!
//! Everything runs on rayon's current thread pool; results do not depend on its size, nor on the batch.

pub mod checkpoint;
pub mod config;
pub mod contrastive_head;
mod encoded_picture;
pub mod engine;
mod error;
pub mod explain;
pub mod fusion_encoder;
pub mod generate;
#[cfg(feature = "keywords")]
pub mod keywords;
pub mod model;
mod passing;
pub mod preprocess;
pub mod smoothing;
pub mod tasks;
pub mod text_decoder;
pub mod text_encoder;
pub mod visual_encoder;

pub use encoded_picture::EncodedPicture;
pub use error::{Error, plain_io_error};
pub use mplug_kernels::gemm::Precision;
pub use mplug_kernels::{InstructionSet, limits};
pub use passing::io_error_is_passing;
pub use preprocess::image::{RgbImage, decode_image, load_image};
pub use tasks::{Answerer, Caption, CaptionRequest, Captioner, Matcher, OpenOptions, open};

/// The Rust code in README.md, compiled by the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The vector instructions that this program found and uses.
pub fn instruction_set() -> InstructionSet {
    InstructionSet::best()
}
