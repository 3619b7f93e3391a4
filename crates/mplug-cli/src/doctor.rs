//! `mplug doctor`: does this program work on this machine? Each check stands alone; a failed one does not stop the others.

mod machine;

use std::env;
use std::io::{self, Read, Seek, Write};

use clap::{Args, CommandFactory};
use mplug_bulk::Record;
use mplug_data::message::one_line;
use serde::Serialize;

use crate::commands::Cli;
use crate::output::OutputArgs;
use crate::status::Status;
use crate::{demo, report};

/// Check that mplug works on this machine
#[derive(Args, Debug)]
#[command(after_help = "\
Exit code 1 when a check fails.

Examples:
  mplug doctor
  mplug doctor --format json")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// A check: what it found, or what is wrong.
type CheckFn = fn() -> anyhow::Result<String>;

/// What one check found.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl Check {
    fn new(name: &'static str, found: anyhow::Result<String>) -> Self {
        let ok = found.is_ok();
        let detail = found.unwrap_or_else(|error| report::chain(&error));
        Self { name, ok, detail: one_line(&detail) }
    }
}

impl Record for Check {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{:<6} {:<18} {}", if self.ok { "ok" } else { "FAILED" }, self.name, self.detail)
    }
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<Status> {
    let checks: [(&str, CheckFn); 10] = [
        ("version", version),
        ("processor", processor),
        ("threads", threads),
        ("memory", machine::memory),
        ("disk", machine::disk),
        ("devices", machine::devices),
        ("temporary folder", temporary_folder),
        ("environment", environment),
        ("models", machine::models),
        ("demo model", demo::self_check),
    ];
    let mut writer = args.output.create(None)?;
    let mut failed = 0;
    for (name, check) in checks {
        let check = Check::new(name, check());
        failed += usize::from(!check.ok);
        writer.write(&check)?;
        writer.flush()?;
    }
    writer.finish()?;
    Ok(Status::of_failures(failed))
}

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn version() -> anyhow::Result<String> {
    let features = [
        ("demo", cfg!(feature = "demo")),
        ("serve", cfg!(feature = "serve")),
        ("hub", cfg!(feature = "hub")),
        ("urls", cfg!(feature = "urls")),
        ("jieba", cfg!(feature = "jieba")),
        ("parquet", cfg!(feature = "parquet")),
        ("train", cfg!(feature = "train")),
        ("mpi", cfg!(feature = "mpi")),
        ("wgpu", cfg!(feature = "wgpu")),
    ];
    let built_in: Vec<_> = features.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let built_in = if built_in.is_empty() { "none".to_owned() } else { built_in.join(", ") };
    Ok(format!(
        "{}, {} on {}, features: {built_in}",
        env!("CARGO_PKG_VERSION"),
        env::consts::ARCH,
        env::consts::OS
    ))
}

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn processor() -> anyhow::Result<String> {
    let seen: Vec<_> = instruction_sets().iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let seen = if seen.is_empty() { "no special instructions seen".to_owned() } else { seen.join(" ") };
    let set = mplug::instruction_set();
    let bf16 = if set.multiplies_bf16() { "" } else { "; bf16 weights are multiplied at f32" };
    Ok(format!("{seen}; kernels for {} are used{bf16}", set.name()))
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    vec![
        ("avx", is_x86_feature_detected!("avx")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected;
    vec![
        ("neon", is_aarch64_feature_detected!("neon")),
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
        ("bf16", is_aarch64_feature_detected!("bf16")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    Vec::new()
}

fn threads() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{} used of {cores} available", rayon::current_num_threads()))
}

fn temporary_folder() -> anyhow::Result<String> {
    let mut file = tempfile::tempfile()?;
    file.write_all(b"mplug")?;
    file.rewind()?;
    let mut back = String::new();
    file.read_to_string(&mut back)?;
    anyhow::ensure!(
        back == "mplug",
        "{}: gives back other bytes than were written",
        env::temp_dir().display()
    );
    Ok(format!("{}: can be written", env::temp_dir().display()))
}

/// The variables set, all of which must be ones that some command reads: a misspelt one changes nothing, silently.
fn environment() -> anyhow::Result<String> {
    let mut set: Vec<String> = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("MPLUG_"))
        .collect();
    set.sort();
    let known = known_variables();
    let unknown: Vec<_> = set.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    anyhow::ensure!(
        unknown.is_empty(),
        "{}: no such setting; recognised are {}",
        unknown.join(", "),
        known.join(", ")
    );
    set.iter_mut().filter(|name| env::var_os(name).is_some_and(|value| value.is_empty())).for_each(|name| {
        name.push_str(" (empty, counts as unset)");
    });
    let set = if set.is_empty() { "none".to_owned() } else { set.join(", ") };
    Ok(format!("set: {set}; recognised: {}", known.join(", ")))
}

/// Every environment variable of the command line's own definition.
fn known_variables() -> Vec<String> {
    let command = Cli::command();
    let arguments =
        command.get_subcommands().flat_map(clap::Command::get_arguments).chain(command.get_arguments());
    let mut known: Vec<String> = arguments
        .filter_map(|argument| argument.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    known.sort();
    known.dedup();
    known
}
