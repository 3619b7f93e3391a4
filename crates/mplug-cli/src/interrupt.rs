//! Ctrl-C and SIGTERM: the first requests the end of a run after the work at hand, the second ends the program at once. Knows nothing of
//! what runs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The number of the signal that came first; 0 before.
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// The exit code of a run that a signal ended, as shells have it: 128 and the signal's number. 130 is Ctrl-C, 143 is SIGTERM.
pub(crate) fn exit_code() -> u8 {
    match SIGNAL.load(Ordering::Relaxed) {
        0 => code_of(SIGINT),
        signal => 128 + signal as u8,
    }
}

fn code_of(signal: i32) -> u8 {
    128 + signal as u8
}

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
            flag::register_conditional_shutdown(signal, code_of(signal).into(), Arc::clone(&requested))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&SIGNAL), signal as usize))
                .and_then(|_| flag::register(signal, Arc::clone(&requested)))
                .context("cannot listen for signals")?;
        }
        Ok(Self { requested })
    }

    /// What is set when one comes.
    #[cfg(feature = "train")]
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.requested)
    }

    /// Answers the first signal with a message about the run, if that has not ended after a second.
    #[cfg(feature = "train")]
    pub(crate) fn answer(&self, message: &'static str) -> anyhow::Result<()> {
        let requested = self.flag();
        let wait = move || {
            while !requested.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
            crate::report::message(message);
        };
        std::thread::Builder::new().spawn(wait).map(|_| ()).context("cannot start a thread")
    }

    /// Whether one came.
    pub(crate) fn came(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}
