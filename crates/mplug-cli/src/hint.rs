//! What to type where a library only says what is wrong: the options of this program that help.

use std::path::Path;

use mplug::config::Language;
use mplug::preprocess::image::ImageFault;
use mplug::tasks::RequestError;
use mplug_bulk::BulkError;
use mplug_data::error::DataError;
use mplug_data::journal::JournalError;
use mplug_data::message::about;
use mplug_data::picture::{Failure, Remedy};

/// Where models come from.
pub(crate) const MODELS: &str =
    "`mplug models` lists the published models with their names and sizes, `mplug pull NAME` downloads one";
/// What to do about a build that knows no Parquet.
const PARQUET: &str = "build one that does: `cargo build --release -p mplug-cli --features parquet`";

/// The option that helps against a failure.
fn remedy(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Subfolders => "`--recursive` looks into its subfolders",
        Remedy::WebAddresses => "`--allow-urls` opens it",
        Remedy::AllowedHost => "`--allow-url-host` allows one of yours",
        Remedy::Parquet => PARQUET,
        Remedy::PictureColumn => "`--image-column NAME` says which has the pictures",
        Remedy::OtherFolder => "remove it, or give another `--output DIR`",
        Remedy::WiderSearch => "more `--beams` or `--max-new-tokens` may help",
        _ => "",
    }
}

/// The option that moves the limit which a picture exceeds.
fn of_limit(fault: &ImageFault) -> Option<&'static str> {
    match fault {
        ImageFault::TooManyBytes { .. } => Some("`--max-file-bytes` sets another limit"),
        ImageFault::TooManyPixels { .. }
        | ImageFault::TooManyDecodedBytes { .. }
        | ImageFault::TooMuchMemory { .. }
        | ImageFault::TooLongScans { .. } => Some("`--max-pixels` sets another limit"),
        _ => None,
    }
}

/// `<path>: <reason>; <what helps>`.
pub(crate) fn of_failure(path: &Path, failure: &Failure) -> String {
    of_failure_in(path, None, failure)
}

/// `<path>: <language>: <reason>; <what helps>`, the language where the failure is of one.
pub(crate) fn of_failure_in(path: &Path, language: Option<Language>, failure: &Failure) -> String {
    let reason = &failure.reason;
    let message = match language {
        Some(language) => about(path, &format!("{language}: {reason}")),
        None => about(path, reason),
    };
    let limit = || failure.fault.as_deref().and_then(of_limit);
    match failure.remedy.map(remedy).or_else(limit) {
        Some(hint) if !hint.is_empty() => format!("{message}; {hint}"),
        _ => message,
    }
}

/// An error of a bulk run, with the options that help.
pub(crate) fn of_bulk(error: BulkError) -> anyhow::Error {
    let hint = match &error {
        BulkError::Unfinished { .. } => "`--resume` goes on with it, `--force` begins anew",
        BulkError::OtherRun { .. } => "`--force` begins anew",
        BulkError::OutputExists { .. } => "`--force` replaces it",
        BulkError::TextEnding { .. } => "`--extension .caption` is one",
        BulkError::NoFolder { .. } => "`--output DIR` takes its text file",
        BulkError::GoneForTar { .. } => "the same command with `--resume` goes on",
        BulkError::TextFile { .. } => remedy(Remedy::OtherFolder),
        BulkError::NoParquet => PARQUET,
        BulkError::NoKeywords => {
            "`--tags`: expected a build with the feature `jieba`, which is on by default, found none"
        }
        _ => {
            return match error {
                BulkError::Journal(error) => of_journal(error),
                BulkError::List(_) | BulkError::ListContent { .. } => {
                    anyhow::Error::from(error).context("standard input")
                }
                error => error.into(),
            };
        }
    };
    let message = format!("{error}; {hint}");
    anyhow::Error::from(error).context(message)
}

/// An error of a request, with the option that its field is.
pub(crate) fn of_request(error: RequestError) -> anyhow::Error {
    let option = match error.field {
        "min_difference" => "diverse",
        "forbidden_words" => "forbid",
        "required_words" => "include",
        "keywords" => "tags",
        field => field,
    };
    let RequestError { expected, found, .. } = error;
    anyhow::anyhow!("`--{}`: expected {expected}, found {found}", option.replace('_', "-"))
}

/// An error of the hub, with the command or option that helps.
#[cfg(feature = "hub")]
pub(crate) fn of_hub(error: mplug_hub::HubError) -> anyhow::Error {
    use mplug_hub::HubError;

    let hint = match &error {
        HubError::Name { .. } => "`mplug models` lists the short names".to_owned(),
        HubError::NotHere { named } => {
            let size = named.to_str().and_then(|name| mplug_hub::published_model(&name.parse().ok()?));
            let size = size.map_or_else(String::new, |model| {
                format!(" (about {:.1} GB)", f64::from(model.megabytes) / 1e3)
            });
            format!(
                "`mplug pull {}` downloads it{size}, `mplug models` lists the published models",
                named.display()
            )
        }
        HubError::NoSuchModel { .. } => "`mplug models` lists those known".to_owned(),
        HubError::Unreachable { id, .. } | HubError::Offline { id, .. } => {
            format!("`mplug pull {id}` there downloads it and prints its folder")
        }
        HubError::Denied { had_token: false, .. } => "`--token-env` names another variable".to_owned(),
        _ => return error.into(),
    };
    let message = format!("{error}; {hint}");
    anyhow::Error::from(error).context(message)
}

/// An error of training, with what helps: what to build, and what `to_resume` makes of settings, the command of a run that goes on.
#[cfg(feature = "train")]
pub(crate) fn of_training(
    error: mplug_train::TrainError,
    to_resume: impl Fn(&[(String, String)]) -> String,
) -> anyhow::Error {
    use mplug_train::TrainError;

    let hint = match &error {
        TrainError::Diverged { way_on, .. } => {
            let earlier = match way_on.earlier.last() {
                Some(step) => format!("with `--from {step}` from an earlier checkpoint; "),
                None => String::new(),
            };
            format!("{earlier}on the command line: {}", to_resume(&way_on.settings))
        }
        TrainError::Value { field: "run.device", .. } if !cfg!(feature = "wgpu") => {
            "the feature `wgpu` of the build has GPUs".to_owned()
        }
        _ => return error.into(),
    };
    let message = format!("{error}; {hint}");
    anyhow::Error::from(error).context(message)
}

/// An error of a data set, with what to build.
pub(crate) fn of_data(error: DataError) -> anyhow::Error {
    match error {
        DataError::NoParquet { .. } => {
            let message = format!("{error}; {PARQUET}");
            anyhow::Error::from(error).context(message)
        }
        error => error.into(),
    }
}

/// An error of a journal, with the command whose journal it is not.
pub(crate) fn of_journal(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::Foreign { path, kind } => anyhow::anyhow!(
            "{}: is not a journal of `mplug {kind}`, and stays as it is: move it away, or give another name",
            path.display()
        ),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_stands_behind_what_is_wrong() {
        let failure = Failure::lasting("no pictures in this folder").with_remedy(Remedy::Subfolders);
        let message = of_failure(Path::new("d"), &failure);
        assert_eq!(message, "d: no pictures in this folder; `--recursive` looks into its subfolders");
        assert_eq!(of_failure(Path::new("a"), &Failure::lasting("empty file")), "a: empty file");
        let error = of_bulk(BulkError::NoParquet);
        assert!(crate::report::chain(&error).ends_with("--features parquet`"), "{error:#}");
    }
}
