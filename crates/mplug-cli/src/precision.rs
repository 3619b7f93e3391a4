//! `--precision`: how many bits the products of a model take, and what is said where this CPU lacks them.

use clap::ValueEnum;
use mplug::checkpoint::ModelFolder;
use mplug::tasks::LoadOptions;
use mplug::{Precision, instruction_set};

use crate::report;

/// The precisions that can be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// 32-bit floats: the original's tokens
    F32,
    /// 16-bit weights: half the memory, nearly always the same captions
    Bf16,
    /// 8-bit weights: a quarter of the memory, the fastest; some captions differ
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::Bf16 => Self::Bf16,
            PrecisionArg::Int8 => Self::Int8,
        }
    }
}

/// How to load `folder` when `typed` was requested, or nothing: then the weights' own precision. Says on standard error
/// what this CPU does in another way.
pub(crate) fn load_options(folder: &ModelFolder, typed: Option<PrecisionArg>) -> LoadOptions<'static> {
    let precision = typed.map(Precision::from);
    if precision == Some(Precision::Bf16) && !instruction_set().multiplies_bf16() {
        report::message(
            "note: this CPU multiplies bf16 numbers slowly or not at all; weights are kept as bf16 and multiplied at f32",
        );
    }
    if precision.is_some_and(|precision| precision != Precision::Int8)
        && folder.stored_precision() == Precision::Int8
    {
        report::message(
            "note: the weights are stored as int8: another precision cannot bring back what that lost",
        );
    }
    LoadOptions { precision, observer: None }
}
