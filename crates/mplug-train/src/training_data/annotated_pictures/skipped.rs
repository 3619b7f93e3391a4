//! Pictures that could not be read and were skipped: which, why, and how many may be.

use std::collections::BTreeSet;
use std::path::Path;

use mplug_data::dataset::DataError;

use crate::config::MaxSkipped;
use crate::error::TrainError;

/// The skipped pictures of a run.
pub(super) struct Skipped {
    limit: MaxSkipped,
    /// Pictures to learn from.
    pictures: usize,
    records: BTreeSet<usize>,
    /// Those that nobody has taken yet, with the reason.
    new: Vec<(usize, String)>,
}

impl Skipped {
    pub(super) fn new(limit: MaxSkipped, pictures: usize) -> Self {
        Self { limit, pictures, records: BTreeSet::new(), new: Vec::new() }
    }

    /// Counts a picture, once however often it is skipped.
    pub(super) fn add(&mut self, record: usize, error: &DataError) {
        if self.records.insert(record) {
            self.new.push((record, error.to_string()));
        }
    }

    /// # Errors
    /// [`TrainError::Content`] if there are more than may be.
    pub(super) fn check(&self, annotations: &Path) -> Result<(), TrainError> {
        let (found, most) = (self.records.len(), self.most());
        if found <= most {
            return Ok(());
        }
        let last = self.new.last().map_or_else(String::new, |(_, reason)| format!(" (the last: {reason})"));
        let problem = format!(
            "{found} of its {} pictures could not be read{last}; `data.max_skipped` allows {most}. The run can be resumed from its \
             last checkpoint once they are mended or more are allowed",
            self.pictures
        );
        Err(TrainError::content(annotations, problem))
    }

    /// How many there may be.
    pub(super) fn most(&self) -> usize {
        self.limit.of(self.pictures)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn take(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.new)
    }
}
