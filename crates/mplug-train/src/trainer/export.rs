//! What a finished run writes for other programs.

use super::Trainer;
use crate::checkpoint::{BEST, LAST, MODELSCOPE};
use crate::error::TrainError;

/// The width and the patches in pixels of the visual encoders that the original builds.
const ORIGINALS: [[usize; 2]; 2] = [[768, 16], [1024, 14]];

impl Trainer<'_> {
    /// What is to be written at the end of the run can be written, and the original can load it.
    ///
    /// # Errors
    /// [`TrainError::Value`] for a model that the original does not build, [`TrainError::Content`] where its place is taken.
    pub(super) fn check_export(&self) -> Result<(), TrainError> {
        if self.config.run.export.is_none() || !self.ranks.leads() {
            return Ok(());
        }
        let vision = &self.shape.vision;
        if !ORIGINALS.contains(&[vision.hidden_size, vision.patch_size]) {
            return Err(TrainError::Value {
                field: "run.export",
                expected: "a visual encoder of width 768 with patches of 16 pixels, or of width 1024 with patches of 14, for the \
                           original builds no other"
                    .to_owned(),
                found: format!("width {} with patches of {}", vision.hidden_size, vision.patch_size),
            });
        }
        self.folder.check_place(MODELSCOPE)
    }

    /// Writes the best model, or the last where nothing was evaluated, for the original, unless it is there already.
    pub(super) fn export(&self) -> Result<(), TrainError> {
        if self.config.run.export.is_none() || !self.ranks.leads() {
            return Ok(());
        }
        let Some(from) = [BEST, LAST].into_iter().find(|name| self.folder.pointed(name).is_some()) else {
            return Ok(());
        };
        if self.folder.pointed(MODELSCOPE) == self.folder.pointed(from) {
            return Ok(());
        }
        let base = self.config.start.as_ref().and_then(|start| start.model.as_deref());
        let base = base.filter(|_| self.adapter.is_some());
        self.folder.write_for_original(MODELSCOPE, from, base)
    }
}
