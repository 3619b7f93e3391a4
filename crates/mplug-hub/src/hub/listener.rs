//! Who hears what happens while a model is pulled, and may end it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{HubError, Progress};

/// The caller's listener, and whether it broke.
pub(super) struct Listener<'a> {
    progress: &'a (dyn Fn(&Progress<'_>) -> ControlFlow<()> + Sync),
    is_stopped: AtomicBool,
}

impl<'a> Listener<'a> {
    pub(super) fn new(progress: &'a (dyn Fn(&Progress<'_>) -> ControlFlow<()> + Sync)) -> Self {
        Self { progress, is_stopped: AtomicBool::new(false) }
    }

    /// Says what happens.
    ///
    /// # Errors
    /// [`HubError::Stopped`] if the listener broke, now or at an earlier event of any thread.
    pub(super) fn hear(&self, event: &Progress<'_>) -> Result<(), HubError> {
        if (self.progress)(event).is_break() {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        if self.is_stopped.load(Ordering::Relaxed) { Err(HubError::Stopped) } else { Ok(()) }
    }
}
