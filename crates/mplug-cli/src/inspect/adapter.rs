//! What an adapter's folder holds.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use mplug::checkpoint::adapter::Adapter;
use mplug_bulk::{JsonPath, Record};
use serde::Serialize;

use super::lines::{grouped, line};

/// What an adapter is.
#[derive(Serialize)]
pub(super) struct AdapterFacts {
    #[serde(flatten)]
    path: JsonPath,
    adapter: &'static str,
    rank: usize,
    alpha: f32,
    weights: usize,
    parameters: usize,
    /// Weights that it changes, with `*` for a layer's number, and how many of each.
    targets: BTreeMap<String, usize>,
    base: Option<String>,
    base_weights_sha256: Option<String>,
}

impl AdapterFacts {
    /// Those of the adapter that was opened at `path`.
    pub(super) fn new(path: &Path, adapter: &Adapter) -> Self {
        Self {
            path: path.into(),
            adapter: "LoRA",
            rank: adapter.rank(),
            alpha: adapter.alpha(),
            weights: adapter.len(),
            parameters: adapter.num_parameters(),
            targets: adapter.targets(),
            base: adapter.base_name().map(str::to_owned),
            base_weights_sha256: adapter.base_fingerprint().map(str::to_owned),
        }
    }
}

impl Record for AdapterFacts {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        let Self { adapter, rank, alpha, .. } = self;
        let used = "`--adapter`, or `mplug convert --merge`";
        line(to, "adapter", &format!("{adapter}, rank {rank}, alpha {alpha}: {used}"))?;
        line(to, "base", self.base.as_deref().unwrap_or("not recorded"))?;
        line(to, "parameters", &format!("{} for {} weights", grouped(self.parameters), self.weights))?;
        self.targets.iter().try_for_each(|(name, count)| line(to, "changes", &format!("{count} of {name}")))
    }
}
