//! `mplug convert`: a model folder in, the same model with `model.safetensors` in another precision out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use mplug::{
    checkpoint::{CheckpointError, Dtype, FileFormat, Keep, WriteOptions, write_model_folder},
    config::ConfigOverrides,
};

use crate::{model, report, status::Status};

/// Convert a model to safetensors, in another precision if wanted
#[derive(Args, Debug)]
#[command(after_help = "\
DEST becomes a model folder: model.safetensors, vocab.txt and the configuration files. It appears
whole or not at all.

Examples:
  mplug convert ./mplug_base_zh ./mplug_base_zh_bf16 --dtype bf16
  mplug convert checkpoint_07.pth ./small --dtype f16 --task-only")]
pub(crate) struct ConvertArgs {
    /// Model folder, or the weight file in one
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Folder to write
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// How weights are stored
    #[arg(long, value_enum, default_value = "f32")]
    dtype: StoredType,
    /// Leave out what the model's task never reads (half of a captioning checkpoint)
    #[arg(long)]
    task_only: bool,
    /// Replace DEST where it is a model folder already
    #[arg(long)]
    force: bool,
}

/// The precisions that weights can be stored in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoredType {
    /// 4 bytes a value, exact
    F32,
    /// 2 bytes, 11 bits of precision, values up to 65504
    F16,
    /// 2 bytes, 8 bits of precision, values as large as f32's
    Bf16,
}

impl From<StoredType> for Dtype {
    fn from(stored: StoredType) -> Self {
        match stored {
            StoredType::F32 => Self::F32,
            StoredType::F16 => Self::F16,
            StoredType::Bf16 => Self::Bf16,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ConvertArgs) -> anyhow::Result<Status> {
    let source = model::open_folder(&args.model, &ConfigOverrides::default())?;
    if args.force {
        check_replaceable(&args.dest, &source.path)?;
    }
    let options = WriteOptions {
        dtype: args.dtype.into(),
        format: FileFormat::Safetensors,
        keep: if args.task_only { Keep::Task } else { Keep::All },
        overwrite: args.force,
    };
    match write_model_folder(&args.dest, &source, &options) {
        Err(CheckpointError::Exists { path }) => {
            bail!(
                "{}: exists already; choose another name, or replace a model folder with `--force`",
                path.display()
            )
        }
        written => written?,
    }
    report::message(format_args!("{}: written", args.dest.display()));
    Ok(Status::Good)
}

/// `--force` replaces a whole folder, so it must be one of ours and not somebody's home, nor the model being read.
fn check_replaceable(dest: &Path, source: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(dest) else {
        if dest.exists() {
            bail!("{}: is not a folder; `--force` replaces model folders only", dest.display());
        }
        return Ok(());
    };
    if fs::canonicalize(dest)? == fs::canonicalize(source)? {
        bail!("{}: is the model to be converted; write to another folder", dest.display());
    }
    let entries = entries.collect::<Result<Vec<_>, _>>().with_context(|| dest.display().to_string())?;
    let has_folder = entries.iter().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let is_model = ["model.safetensors", "pytorch_model.bin"].iter().any(|name| dest.join(name).is_file());
    if !entries.is_empty() && (has_folder || !is_model || !dest.join("vocab.txt").is_file()) {
        bail!(
            "{}: is not a model folder (or holds more than one); `--force` replaces nothing else",
            dest.display()
        );
    }
    Ok(())
}
