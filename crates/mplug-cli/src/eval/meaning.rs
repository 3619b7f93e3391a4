//! Which options mean something for what is evaluated: one that would be ignored is refused. Computes nothing.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use mplug::config::Task;

use super::EvalArgs;
use crate::model;

/// An option and whether it was typed.
type Typed = (&'static str, bool);

/// Options of a model mean nothing where no model runs.
pub(super) fn refuse_model_options(args: &EvalArgs) -> anyhow::Result<()> {
    let model = args.model.model.as_ref().map(|path| path.to_string_lossy().into_owned());
    let image_size = args.engine.image_size.map(|size| size.to_string());
    let precision = args.engine.precision.and_then(|precision| precision.to_possible_value());
    let precision = precision.as_ref().map(PossibleValue::get_name);
    let engine = [
        ("--model", is_typed(model.as_deref(), "MPLUG_MODEL")),
        ("--image-size", is_typed(image_size.as_deref(), "MPLUG_IMAGE_SIZE")),
        ("--precision", is_typed(precision, "MPLUG_PRECISION")),
        ("--strict", args.model.strict.strict && std::env::var_os("MPLUG_STRICT").is_none()),
        ("--task", args.task.is_some()),
        ("--rerank", args.rerank.is_some()),
    ];
    match engine.into_iter().chain(search(args)).find(|(_, is_typed)| *is_typed) {
        Some((option, _)) => anyhow::bail!("`{option}` has no meaning with `--candidates`: no model runs"),
        None => Ok(()),
    }
}

/// Options of one task mean nothing for a model of another.
pub(super) fn refuse_options_of_other_tasks(args: &EvalArgs, task: Task) -> anyhow::Result<()> {
    let refused: Vec<Typed> = match task {
        Task::ImageCaptioning => retrieval(args).to_vec(),
        Task::VisualQuestionAnswering => [&captioning(args)[..], &retrieval(args)].concat(),
        Task::ImageTextRetrieval => {
            let per_image = ("--per-image", args.output.per_image.is_some());
            [&captioning(args)[..], &search(args), &[per_image]].concat()
        }
    };
    match refused.into_iter().find(|(_, is_typed)| *is_typed) {
        Some((option, _)) => {
            anyhow::bail!("`{option}` has no meaning for a model for {}", model::task_name(task))
        }
        None => Ok(()),
    }
}

/// Options of captions mean nothing `where_not`.
pub(super) fn refuse_caption_options(args: &EvalArgs, where_not: &str) -> anyhow::Result<()> {
    match captioning(args).into_iter().find(|(_, is_typed)| *is_typed) {
        Some((option, _)) => anyhow::bail!("`{option}` has no meaning {where_not}"),
        None => Ok(()),
    }
}

/// What only captions have.
fn captioning(args: &EvalArgs) -> Vec<Typed> {
    let own = [("--resume", args.resume.is_some()), ("--html", args.output.html.is_some())];
    own.into_iter().chain(args.figures.typed()).collect()
}

/// What only texts that are written have.
fn search(args: &EvalArgs) -> [Typed; 3] {
    [
        ("--beams", args.search.beams.is_some()),
        ("--max-new-tokens", args.search.max_new_tokens.is_some()),
        ("--min-new-tokens", args.search.min_new_tokens.is_some()),
    ]
}

/// What only retrieval has.
fn retrieval(args: &EvalArgs) -> [Typed; 1] {
    [("--rerank", args.rerank.is_some())]
}

/// Whether a value was typed: what the environment says is for other runs, too.
pub(super) fn is_typed(value: Option<&str>, variable: &str) -> bool {
    value.is_some() && value != std::env::var(variable).ok().as_deref()
}
