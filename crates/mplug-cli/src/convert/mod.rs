//! `mplug convert`: a model folder in, the same model in another precision or file format out; PyTorch's is for the original.
//! int8 needs a look at what the layers are given first: see `calibrate`.

mod calibrate;
mod replaceable;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use mplug::checkpoint::{
    CheckpointError, Dtype, FileFormat, Keep, ModelFolder, WriteOptions, Written, write_int8_model_folder,
    write_model_folder,
};
use mplug::config::{ConfigOverrides, ModelConfig, Task};
use mplug::smoothing::Smoothings;

use self::calibrate::Calibration;
use self::replaceable::check_replaceable;
use crate::args::StrictArg;
use crate::eval::TaskArg;
use crate::precision::PrecisionArg;
use crate::status::Status;
use crate::{model, report};

/// Convert a model to another file format or precision
#[derive(Args, Debug)]
#[command(after_help = "\
DEST becomes a model folder with the weights, vocab.txt and the configuration files. It is
complete when it appears.

--format pytorch writes pytorch_model.bin as the original mPLUG and PyTorch load it: tied
weights have both names, and position_ids are included. Parts that MODEL lacks (CLIP's text
tower, momentum models, with --task-only everything that the task does not use) are missing;
the original loads such a file and initialises those parts at random.

Unexpected tensors are copied, except with --task-only and for int8. NaN or infinity in a
tensor that the task uses is an error; in other tensors it is copied with a warning.

--precision int8 stores the linear layers that the task uses as 8-bit integers. If the inputs
of a layer have outlier channels, these are moved into its weights (SmoothQuant), provided
that the error on calibration pictures falls clearly. Calibration pictures are those of
--calibrate, or a dozen drawn ones. The last message says in how many layers. An int8 folder
runs at int8 by default.

Examples:
  mplug convert caption-base-zh ./base-zh-bf16 --dtype bf16
  mplug convert caption-base-zh ./base-zh-int8 --precision int8 --calibrate photos/
  mplug convert checkpoint_07.pth ./small --dtype f16 --task-only
  mplug convert ./runs/caption/best ./for_modelscope --format pytorch
  mplug convert backbone-base-en ./start --task caption
  mplug convert caption-base-zh ./mine --merge ./runs/lora/best")]
pub(crate) struct ConvertArgs {
    /// Model folder, a weight file in such a folder, or the name of a downloaded model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Folder to create
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// Merge a LoRA adapter (the folder of PEFT's files) that was trained on MODEL into the weights
    #[arg(long, value_name = "DIR", visible_alias = "merge")]
    adapter: Option<PathBuf>,
    /// Task of a model whose folder does not say it, such as a pre-trained backbone; written into DEST
    #[arg(long, value_enum)]
    task: Option<TaskArg>,
    /// Format of the weight file
    #[arg(long, value_enum, default_value = "safetensors")]
    format: FormatArg,
    /// Number format of the stored weights
    #[arg(long, value_enum, default_value = "f32")]
    dtype: StoredType,
    /// Precision to prepare the model for: f32 and bf16 set --dtype, int8 quantizes
    #[arg(long, value_enum, conflicts_with = "dtype")]
    precision: Option<PrecisionArg>,
    /// Calibration pictures or folders for int8, similar to those that you will use [default: drawn pictures]
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "precision")]
    calibrate: Vec<PathBuf>,
    /// Drop tensors that the model's task does not use (half of a captioning checkpoint)
    #[arg(long)]
    task_only: bool,
    /// Replace DEST if it is a model folder
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    strict: StrictArg,
}

/// The formats of weight files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// model.safetensors
    Safetensors,
    /// pytorch_model.bin, for PyTorch and the original
    Pytorch,
    /// pytorch_model.bin with the prefix `model.`, as ModelScope's trainer writes it
    PytorchTrainer,
}

impl From<FormatArg> for FileFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Safetensors => Self::Safetensors,
            FormatArg::Pytorch => Self::Pytorch,
            FormatArg::PytorchTrainer => Self::PytorchTrainer,
        }
    }
}

/// The precisions that weights can be stored in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoredType {
    /// 4 bytes a value, exact
    F32,
    /// 2 bytes a value, 11 bits of precision, up to 65504
    F16,
    /// 2 bytes a value, 8 bits of precision, the range of f32
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

/// What the weights become.
enum Form {
    Floats(Dtype),
    Int8(Calibration),
}

/// Runs the command.
pub(crate) fn run(args: &ConvertArgs) -> anyhow::Result<Status> {
    let overrides = ConfigOverrides { task: args.task.map(Task::from), ..ConfigOverrides::default() };
    let source = model::open_folder(&args.model, &overrides, args.strict, args.adapter.as_ref())?;
    if args.force {
        check_replaceable(&args.dest, &source.path)?;
    }
    let form = form(args, &source)?;
    let written = match write(args, &source, &form) {
        Err(CheckpointError::Exists { path }) => {
            bail!(
                "{}: exists already; choose another name, or replace a model folder with `--force`",
                path.display()
            )
        }
        written => written?,
    };
    if !written.not_finite.is_empty() {
        report::message(format_args!(
            "warning: {}: {} of the tensors that the task does not use have NaN or infinity, copied as they are: {}",
            args.dest.display(),
            written.not_finite.len(),
            report::names(written.not_finite.iter().map(|(name, _)| name.as_str()))
        ));
    }
    let dest = args.dest.display();
    match &form {
        Form::Floats(_) => report::info(format_args!("{dest}: written")),
        Form::Int8(calibration) => report::info(format_args!("{dest}: written; {calibration}")),
    }
    if args.format != FormatArg::Safetensors && !is_built_by_original(&source.config) {
        report::message(
            "note: PyTorch loads these weights, but the original mPLUG cannot: its visual encoders are of width 768 with \
             patches of 16, or of width 1024 with patches of 14",
        );
    }
    Ok(Status::Good)
}

/// Whether the original can build this model: it knows two visual encoders by name (`MPlug._initialize_clip`).
fn is_built_by_original(config: &ModelConfig) -> bool {
    matches!((config.vision.hidden_size, config.vision.patch_size), (768, 16) | (1024, 14))
}

/// The form requested; int8 is calibrated.
fn form(args: &ConvertArgs, source: &ModelFolder) -> anyhow::Result<Form> {
    Ok(Form::Floats(match args.precision {
        Some(PrecisionArg::Int8) if args.format != FormatArg::Safetensors => {
            bail!(
                "int8 is stored in safetensors only: neither PyTorch nor the original reads it; leave out `--format`"
            )
        }
        Some(PrecisionArg::Int8) => {
            let calibration = Calibration::new(source, &args.calibrate)?;
            report_errors(&calibration.smoothings);
            return Ok(Form::Int8(calibration));
        }
        _ if !args.calibrate.is_empty() => bail!("`--calibrate` is for `--precision int8`"),
        Some(PrecisionArg::Bf16) => Dtype::Bf16,
        Some(PrecisionArg::F32) => Dtype::F32,
        None => args.dtype.into(),
    }))
}

/// Writes the folder.
fn write(args: &ConvertArgs, source: &ModelFolder, form: &Form) -> Result<Written, CheckpointError> {
    match form {
        Form::Int8(calibration) => {
            let smoothings = &calibration.smoothings;
            write_int8_model_folder(&args.dest, source, smoothings, args.force).map(|()| Written::default())
        }
        Form::Floats(dtype) => {
            let options = WriteOptions {
                dtype: *dtype,
                format: args.format.into(),
                keep: if args.task_only { Keep::Task } else { Keep::All },
                overwrite: args.force,
            };
            write_model_folder(&args.dest, source, &options)
        }
    }
}

/// What int8 costs the layers: mean and largest error of their outputs, and what smoothing gained.
fn report_errors(smoothings: &Smoothings) {
    let (mut before, mut after, mut count, mut worst) = (0.0, 0.0, 0, ("", 0.0_f32));
    for (name, choice) in smoothings.iter() {
        (before, after, count) = (before + choice.error_before, after + choice.error_after, count + 1);
        if choice.error_after > worst.1 {
            worst = (name, choice.error_after);
        }
    }
    let mean = |sum: f32| 100.0 * sum / count.max(1) as f32;
    report::info(format_args!(
        "int8 error of {count} linear layers' outputs: {:.2} % in the mean ({:.2} % before smoothing), at most {:.2} % ({})",
        mean(after),
        mean(before),
        100.0 * worst.1,
        worst.0
    ));
}
