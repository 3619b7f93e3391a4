//! Ctrl-C and SIGTERM: the first requests the end of a run after the work at hand, the second ends the program at once. Knows nothing of
//! what runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a run that Ctrl-C ended, as shells have it: 128 and the signal's number.
pub(crate) const EXIT_CODE: u8 = 130;

/// Whether the end of the run was requested.
pub(crate) struct Interrupt {
    requested: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, and only then sets it.
            flag::register_conditional_shutdown(signal, EXIT_CODE.into(), Arc::clone(&requested))
                .and_then(|_| flag::register(signal, Arc::clone(&requested)))
                .context("cannot listen for signals")?;
        }
        Ok(Self { requested })
    }

    /// Whether one came.
    pub(crate) fn came(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}
