//! Records in memory, for engines that have their own lists, files and ways to go on: a list of pictures comes in, and their records
//! come out.

use std::ops::ControlFlow;

use mplug::preprocess::image::ImageLimits;

use crate::error::BulkError;
use crate::inputs::Input;
use crate::pipeline::{KnownCaptions, Pipeline};
use crate::record::{CaptionRecord, Style};
use crate::writer::{Writer, Writers};

/// How pictures become records.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// What of a picture's captions is reported.
    pub style: Style,
    /// What a picture may cost.
    pub limits: ImageLimits,
    /// Pictures that pass through the models together. Changes speed and memory, never a record.
    pub batch_size: usize,
}

/// The records of `inputs`, in their order: what [`BulkRun::run`](crate::BulkRun::run) writes of them. A picture that fails harms no
/// other; its record has the reason. `is_given_up` is called after each batch; where it says so, the records of what follows are
/// missing. Runs on rayon's current thread pool.
///
/// # Errors
/// The models' options; [`BulkError::Writers`] where the models do not write the languages of [`Style`]; [`BulkError::NoKeywords`] in
/// a build without keywords where some are requested.
pub fn caption_records(
    inputs: &[Input],
    writers: &[Writer<'_>],
    options: &RecordOptions,
    is_given_up: &mut dyn FnMut() -> bool,
) -> Result<Vec<CaptionRecord>, BulkError> {
    let RecordOptions { style, limits, batch_size } = options;
    if style.keywords.is_some() && cfg!(not(feature = "keywords")) {
        return Err(BulkError::NoKeywords);
    }
    let writers = &Writers::new(writers, style.languages, *limits)?;
    let pipeline = Pipeline { writers, known: &KnownCaptions::default(), explain: None };
    let indices: Vec<usize> = (0..inputs.len()).collect();
    let mut records = Vec::with_capacity(inputs.len());
    pipeline.run(inputs, &indices, *batch_size, |batch, answers| {
        for (&index, answered) in batch.iter().zip(&answers) {
            let record = |found| CaptionRecord::new(&inputs[index], found, style);
            records.extend(answered.answer.iter().map(record));
        }
        Ok(if is_given_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(records)
}
