//! From files and strings to the model's inputs, and from token ids back to text.
//!
//! Source: the original's `preprocessors/multi_modal.py`. Refuses to know the model: it ends at `pixel_values` and `input_ids`.

pub mod image;
pub mod text;
