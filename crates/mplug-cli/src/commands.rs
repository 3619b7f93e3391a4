//! The commands, and what `mplug --help` says of them all.

use clap::{Parser, Subcommand};

use crate::args::MessageArgs;
#[cfg(feature = "serve")]
use crate::serve;
use crate::status::Status;
use crate::{
    ask, bench, caption, compare, convert, doctor, eval, inspect, manual, match_texts, models, pull, synth,
    train,
};

/// Caption pictures in Chinese and English, answer questions about pictures, and score texts against pictures, with mPLUG models.
#[derive(Parser, Debug)]
#[command(
    name = "mplug",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  mplug caption photo.jpg
  mplug pull caption-base-zh
  mplug caption --model caption-base-zh photos/ --format jsonl --output captions.jsonl
  mplug ask --model ask-base-zh photo.jpg '图里有几只猫?'
  mplug serve
  mplug inspect caption-base-zh

Results go to standard output. Messages and progress go to standard error; --quiet leaves out
notes and progress. An environment variable that is empty counts as unset.
Without --model, a small built-in demo model is used, which knows drawn pictures only.

Exit codes:
  0    success
  1    some inputs failed; the results of the others are complete
  2    wrong usage, or a model or output that cannot be used
  130  stopped by Ctrl-C
  143  stopped by SIGTERM")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) messages: MessageArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One command each; the order is that of the help.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Caption(Box<caption::CaptionArgs>),
    Ask(ask::AskArgs),
    Match(match_texts::MatchArgs),
    #[cfg(feature = "serve")]
    Serve(Box<serve::ServeArgs>),
    Pull(pull::PullArgs),
    Models(models::ModelsArgs),
    Inspect(inspect::InspectArgs),
    Convert(convert::ConvertArgs),
    Synth(synth::SynthArgs),
    Train(train::TrainArgs),
    Eval(Box<eval::EvalArgs>),
    Compare(compare::CompareArgs),
    Bench(bench::BenchArgs),
    Doctor(doctor::DoctorArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

impl Command {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// When it cannot run at all; inputs that fail on their own are in the status.
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        match self {
            Self::Caption(args) => caption::run(*args),
            Self::Ask(args) => ask::run(args),
            Self::Match(args) => match_texts::run(args),
            #[cfg(feature = "serve")]
            Self::Serve(args) => serve::run(&args),
            Self::Pull(args) => pull::run(&args),
            Self::Models(args) => models::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Convert(args) => convert::run(&args),
            Self::Synth(args) => synth::run(&args),
            Self::Train(args) => train::run(&args),
            Self::Eval(args) => eval::run(*args),
            Self::Compare(args) => compare::run(&args),
            Self::Bench(args) => bench::run(args),
            Self::Doctor(args) => doctor::run(&args),
            Self::Completions(args) => manual::run_completions(&args),
            Self::Man(args) => manual::run_man(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
