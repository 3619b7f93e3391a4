//! How a download looks: a bar on a terminal, elsewhere a line at each tenth. Knows `mplug_hub`'s events, not what is downloaded.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use mplug_hub as hub;

use crate::progress::Progress;
use crate::report;

/// Shows the events of a download, from whatever thread they come.
#[derive(Default)]
pub(crate) struct DownloadReport {
    transfer: Mutex<Transfer>,
}

/// How far a download is.
#[derive(Default)]
struct Transfer {
    bar: Option<Progress>,
    size: u64,
    /// Bytes of each file that are here.
    have: HashMap<String, u64>,
    tenths_shown: u64,
    is_waiting: bool,
}

impl DownloadReport {
    /// Shows one event. Ctrl-C ends the program; what came is kept.
    pub(crate) fn show(&self, event: &hub::Progress<'_>) -> ControlFlow<()> {
        let mut transfer = self.transfer.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            hub::Progress::Waiting if !std::mem::replace(&mut transfer.is_waiting, true) => {
                report::info("another program downloads this model: waiting for it");
            }
            hub::Progress::Checking { path } => report::info(format!("checking {path}")),
            hub::Progress::Planned { files, bytes } => transfer.begin(*files, *bytes),
            hub::Progress::File { path, have, .. } => transfer.advance(path, *have),
            hub::Progress::Retrying { path, reason, wait } => {
                let seconds = wait.as_secs_f32();
                report::message(format!("{path}: {reason}; trying again in {seconds:.0} s"));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Transfer {
    fn begin(&mut self, files: usize, bytes: u64) {
        report::info(format!("downloading {files} files, {}", megabytes(bytes)));
        self.size = bytes;
        if std::io::stderr().is_terminal() && !report::is_json() && !report::is_quiet() {
            self.bar = Some(Progress::of_bytes(bytes));
        }
    }

    fn advance(&mut self, path: &str, have: u64) {
        match self.have.get_mut(path) {
            Some(known) => *known = have,
            None => {
                self.have.insert(path.to_owned(), have);
            }
        }
        let have: u64 = self.have.values().sum();
        if let Some(bar) = &self.bar {
            bar.set(have);
            return;
        }
        let tenths = (have * 10).checked_div(self.size).unwrap_or(10);
        if tenths > self.tenths_shown {
            self.tenths_shown = tenths;
            report::info(format!("{} % of {}", tenths * 10, megabytes(self.size)));
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
