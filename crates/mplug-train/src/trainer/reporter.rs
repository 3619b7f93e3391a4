//! Where a run's events go: into its logs, and to its listener, who may end the run.

use super::Listener;
use crate::checkpoint::RunFolder;
use crate::error::TrainError;
use crate::log::{Progress, RunLog};

/// Takes the events of a run. Only that of the leading process has logs; others are silent.
pub(super) struct Reporter<'a> {
    log: Option<RunLog>,
    listener: Listener<'a>,
    /// Whether the listener broke.
    pub(super) is_stopped: bool,
}

impl<'a> Reporter<'a> {
    /// Opens the logs in `folder`, if this process leads; the first `len` bytes of its log are the run's so far.
    pub(super) fn open(
        folder: Option<&RunFolder>,
        len: u64,
        listener: Listener<'a>,
    ) -> Result<Self, TrainError> {
        let log = folder.map(|folder| RunLog::open(folder, len)).transpose()?;
        Ok(Self { log, listener, is_stopped: false })
    }

    /// Logs an event and hands it to the listener.
    pub(super) fn report(&mut self, event: &Progress) -> Result<(), TrainError> {
        let mut warnings = Vec::new();
        if let Some(log) = self.log.as_mut().filter(|_| event.is_logged()) {
            log.write(event)?;
            warnings = log.warnings();
        }
        self.tell(event);
        for warning in &warnings {
            self.tell(warning);
        }
        Ok(())
    }

    /// Hands the log to the disk; gives its length.
    pub(super) fn synced_len(&mut self) -> Result<u64, TrainError> {
        self.log.as_mut().map_or(Ok(0), RunLog::synced_len)
    }

    /// Hands an event to the listener alone.
    pub(super) fn tell(&mut self, event: &Progress) {
        if self.log.is_some() {
            self.is_stopped |= (self.listener)(event).is_break();
        }
    }
}
