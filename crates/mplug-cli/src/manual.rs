//! `mplug completions` and `mplug man`: what shells and `man` want to know, made from the command line's own definition.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::commands::Cli;
use crate::output;
use crate::status::Status;

/// Print shell completions
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  mplug completions bash > ~/.local/share/bash-completion/completions/mplug
  mplug completions fish > ~/.config/fish/completions/mplug.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print or write the man pages
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  mplug man ~/.local/share/man/man1 && man mplug-caption
  mplug man | man -l -")]
pub(crate) struct ManArgs {
    /// Folder to write one page per command to [default: print the main page]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs `mplug completions`.
pub(crate) fn run_completions(args: &CompletionsArgs) -> anyhow::Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mplug", &mut script);
    output::write_whole(&script, None)?;
    Ok(Status::Good)
}

/// Runs `mplug man`.
pub(crate) fn run_man(args: &ManArgs) -> anyhow::Result<Status> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.folder else {
        output::write_whole(&page(&command)?, None)?;
        return Ok(Status::Good);
    };
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let pages =
        std::iter::once(&command).chain(command.get_subcommands().filter(|found| found.get_name() != "help"));
    for command in pages {
        let name = command.get_display_name().unwrap_or("mplug");
        output::write_whole(&page(command)?, Some(&folder.join(format!("{name}.1"))))?;
    }
    Ok(Status::Good)
}

fn page(command: &clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
