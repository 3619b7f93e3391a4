//! From files and strings to the model's inputs, and from token ids back to text.

pub mod image;
pub mod text;
