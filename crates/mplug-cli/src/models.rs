//! `mplug models`: the published models of the family, and which of them are on this machine. What is known of them is
//! `mplug_hub`'s.

use clap::Args;

use crate::output::OutputArgs;
use crate::status::Status;

/// List published models and which of them are on this machine
#[derive(Args, Debug)]
#[command(after_help = "\
Other models of this family work by their `owner/name`; `damo/` and `iic/` are the same owner.

Examples:
  mplug models
  mplug models --format json")]
pub(crate) struct ModelsArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
#[cfg(not(feature = "hub"))]
pub(crate) fn run(args: &ModelsArgs) -> anyhow::Result<Status> {
    anyhow::bail!("no {:?} list of models: {}", args.output.format, crate::model::NO_HUB)
}

/// Runs the command.
#[cfg(feature = "hub")]
pub(crate) fn run(args: &ModelsArgs) -> anyhow::Result<Status> {
    use mplug_hub::{Cache, PUBLISHED};

    let cache = Cache::from_env()?;
    let mut writer = args.output.create(None)?;
    for model in &PUBLISHED {
        writer.write(&listing::ListedModel::new(model, &cache))?;
    }
    writer.finish()?;
    Ok(Status::Good)
}

#[cfg(feature = "hub")]
mod listing {
    use std::io::{self, Write};
    use std::path::PathBuf;

    use mplug_bulk::Record;
    use mplug_hub::{Cache, PublishedModel};
    use serde::Serialize;

    /// A published model, as it is listed.
    #[derive(Serialize)]
    pub(super) struct ListedModel {
        name: &'static str,
        id: String,
        task: &'static str,
        language: &'static str,
        size: &'static str,
        million_parameters: Option<u32>,
        /// What is downloaded, an estimate.
        megabytes: u32,
        is_cached: bool,
        folder: Option<String>,
    }

    impl ListedModel {
        pub(super) fn new(model: &PublishedModel, cache: &Cache) -> Self {
            let folder: Option<PathBuf> = cache.find(&model.id(), None).map(|found| found.folder);
            Self {
                name: model.short_name,
                id: model.id().to_string(),
                task: model.task.map_or("pre-training", |task| task.name()),
                language: model.language,
                size: model.size,
                million_parameters: model.million_parameters,
                megabytes: model.megabytes,
                is_cached: folder.is_some(),
                folder: folder.map(|folder| folder.display().to_string()),
            }
        }
    }

    impl Record for ListedModel {
        fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
            let size = match self.million_parameters {
                Some(million) => format!("{} ({million} M)", self.size),
                None => self.size.to_owned(),
            };
            let missing = || format!("not downloaded (about {:.1} GB)", f64::from(self.megabytes) / 1e3);
            let cached = self.folder.clone().unwrap_or_else(missing);
            writeln!(
                to,
                "{:<17} {:<51} {:<25} {}  {size:<13} {cached}",
                self.name, self.id, self.task, self.language
            )
        }
    }
}
