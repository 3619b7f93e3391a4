//! The command line `mplug`: what was typed (`commands`, and the options that commands share in `args`) becomes the plan of a
//! library, which runs; its events become messages, and its errors get the names of options (`hint`). This crate alone prints: results on standard output, messages on standard error.
//! Exit codes: 0 all good, 1 some inputs failed, 2 usage, an unusable model or an output that cannot be written, 130 stopped by Ctrl-C, 143 by SIGTERM.

mod args;
mod ask;
mod bench;
mod caption;
mod commands;
mod compare;
mod convert;
mod dataset;
mod demo;
mod doctor;
#[cfg(feature = "hub")]
mod download;
mod environment;
mod eval;
mod hint;
mod inspect;
mod interrupt;
mod manual;
mod match_texts;
mod model;
mod models;
mod output;
mod pool;
mod precision;
mod progress;
mod pull;
mod report;
#[cfg(feature = "serve")]
mod serve;
mod status;
mod synth;
mod texts;
mod train;
mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli: commands::Cli = environment::parse();
    report::begin(&cli.messages);
    match cli.command.run() {
        Ok(status) => status.into(),
        // `mplug caption photos | head -3`: the reader has what it wanted.
        Err(error) if status::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report::message(report::chain(&error));
            ExitCode::from(2)
        }
    }
}
