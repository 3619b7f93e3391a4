//! Checks of values, with what was expected and what was found.

use crate::error::TrainError;

/// A rate of dropout.
pub(super) fn check_dropout(field: &'static str, rate: f32) -> Result<(), TrainError> {
    ensure((0.0..1.0).contains(&rate), field, || ("at least 0 and below 1".to_owned(), rate.to_string()))
}

/// An error unless `good`; `words` says what was expected and what was found.
pub(super) fn ensure(
    good: bool,
    field: &'static str,
    words: impl FnOnce() -> (String, String),
) -> Result<(), TrainError> {
    if good {
        return Ok(());
    }
    let (expected, found) = words();
    Err(TrainError::Value { field, expected, found })
}
