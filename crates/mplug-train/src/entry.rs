//! How a run is entered: anew or from a checkpoint, and by whom it may be ended early. Knows no training.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// At its first step, in a folder that holds no run.
    #[default]
    Never,
    /// At the last checkpoint of the run in its folder; at the first step if that run was ended before its first checkpoint.
    Last,
    /// At the checkpoint of this step, which the run must have kept. Later ones are set aside.
    From(u64),
}

/// How a run is entered.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Where it begins.
    pub resume: Resume,
    /// Ends the run once it is set: an evaluation at once, a step when it is done. The state is saved.
    pub stop: Arc<AtomicBool>,
}

impl Entry {
    /// Whether the end of the run was requested.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl From<Resume> for Entry {
    fn from(resume: Resume) -> Self {
        Self { resume, ..Self::default() }
    }
}

/// Whether the run in the folder goes on from its last checkpoint.
impl From<bool> for Entry {
    fn from(resume: bool) -> Self {
        Self::from(if resume { Resume::Last } else { Resume::Never })
    }
}
