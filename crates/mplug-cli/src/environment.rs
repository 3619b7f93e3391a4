//! Settings from environment variables, besides what the command line's definition does with them: an empty one counts as unset,
//! and an error says which variable is at fault where nothing was typed.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use crate::report;

/// What was typed, and what the environment sets besides. A usage error ends the program.
pub(crate) fn parse<Cli: CommandFactory + FromArgMatches>() -> Cli {
    let mut command = without_empty(Cli::command());
    let typed = command.try_get_matches_from_mut(env::args_os());
    typed.and_then(|matches| Cli::from_arg_matches(&matches)).unwrap_or_else(|error| {
        // What cannot be printed is lost; the exit code says it too.
        let _ = error.print();
        if let Some(variable) = at_fault(&command, &error) {
            report::message(format!("that value is the environment variable {variable}'s"));
        }
        std::process::exit(error.exit_code())
    })
}

/// The definition without variables that are set to nothing.
fn without_empty(command: Command) -> Command {
    let heeded = |arg: Arg| {
        let is_empty = arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(Resettable::Reset) } else { arg }
    };
    command.mut_args(heeded).mut_subcommands(|command| command.mut_args(heeded))
}

/// The variable whose value an error is about.
fn at_fault(command: &Command, error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return None };
    // `--threads <N>`
    let long = named.split([' ', '=', '[']).next()?.strip_prefix("--")?;
    let arguments = command.get_subcommands().flat_map(Command::get_arguments).chain(command.get_arguments());
    let variables = arguments.filter(|argument| argument.get_long() == Some(long)).filter_map(|argument| {
        let name =
            argument.get_env().filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))?;
        (!is_typed(long, argument.get_short())).then(|| name.to_string_lossy().into_owned())
    });
    variables.into_iter().next()
}

/// Whether an option was typed, as far as its name shows.
fn is_typed(long: &str, short: Option<char>) -> bool {
    let begins = |typed: OsString| {
        let typed = typed.to_string_lossy().into_owned();
        let rest = typed.strip_prefix("--").and_then(|rest| rest.strip_prefix(long));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            || short.is_some_and(|short| typed.strip_prefix('-').is_some_and(|rest| rest.starts_with(short)))
    };
    env::args_os().skip(1).any(begins)
}

/// ` (of the environment variable MPLUG_MODEL)` behind a model that was not typed.
pub(crate) fn origin_of_model(named: &Path) -> &'static str {
    let is_set = env::var_os("MPLUG_MODEL").is_some_and(|value| Path::new(&value) == named);
    if is_set && !is_typed("model", Some('m')) { " (of the environment variable MPLUG_MODEL)" } else { "" }
}
