//! The recipe as a commented file.

use std::fmt::Write as _;
use std::path::Path;

use mplug::config::Task;

use super::cost::{FROZEN, Machine, Plan};
use super::held_out::absolute;
use super::{Found, InitRequest};
use crate::error::TrainError;

/// Held-out pictures that an evaluation looks at.
const EVALUATED: usize = 200;

/// The recipe's text.
pub(super) fn recipe(
    request: &InitRequest,
    found: &Found,
    machine: &Machine,
    plan: &Plan,
) -> Result<String, TrainError> {
    let mut text = head(request, found, machine, plan);
    let output = quoted(&absolute(&request.folder)?.join("run"));
    let _ = writeln!(
        text,
        "# The run folder: models, logs, a report, and what --resume needs.\noutput = {output}\nseed = 1"
    );
    if !plan.is_lora {
        let _ = writeln!(
            text,
            "# Beginnings of tensors' names that are not trained. Without the visual encoder a step is several times faster.\n\
             freeze = [\"{FROZEN}\"]"
        );
    }
    start(&mut text, found)?;
    data(&mut text, found);
    if plan.is_lora {
        text.push_str(LORA);
    }
    if let Some(bytes) = plan.features {
        let gigabytes = (bytes as f64 * 1.05 / 1e9).ceil().max(1.0);
        let _ = writeln!(
            text,
            "\n# Each picture goes through the frozen visual encoder once; what comes out is kept on disk, {:.2} GB in all. The folder\n\
             # `features` of the run may be removed when the run is over. (No [augment]: pictures must stay as they are.)\n\
             [features]\nmax_gigabytes = {gigabytes:.1}",
            bytes as f64 / 1e9
        );
    }
    run(&mut text, found, machine, plan);
    Ok(text)
}

const LORA: &str = "
# Low-rank adaptation (LoRA): the model stays as it is, small matrices beside its weights are trained and written, some megabytes.
# They are given to a command beside the model that they are for, or merged into it: docs/training.md says how.
# More targets, and a larger rank, learn more and cost more: \"key\", \"output.dense\", \"intermediate.dense\".
[lora]
rank = 8
alpha = 16.0
targets = [\"query\", \"value\"]
";

fn head(request: &InitRequest, found: &Found, machine: &Machine, plan: &Plan) -> String {
    let memory =
        machine.memory.map_or_else(String::new, |bytes| format!(", {:.0} GB of memory", bytes as f64 / 1e9));
    let (kind, task) = match found.task {
        Task::ImageCaptioning => ("captions", "writes captions"),
        Task::VisualQuestionAnswering => ("questions", "answers questions"),
        Task::ImageTextRetrieval => ("captions", "finds pictures and texts"),
    };
    let languages = match (found.has_both_languages, found.language) {
        (true, Some(language)) => {
            format!(" in two languages, of which `data.language` chooses {}", language.code())
        }
        _ => String::new(),
    };
    let way = if plan.is_lora { "low-rank adaptation of the text side" } else { "training of the text side" };
    format!(
        "# Written by `mplug train --init` for this machine, model and data. It runs as it is; change what you like.\n\
         #\n\
         # Machine: {} cores{memory}; {:.0} billion multiplications and additions a second on each.\n\
         # Model:   {}, which {task}.\n\
         # Data:    {} ({}): {} pictures, {} {kind}{languages}; the longest text has {} tokens.\n\
         # Way:     {way}, the visual encoder frozen{}.\n\
         # Time:    about {} for {} steps, {:.2} s each{}. A rough estimate: by a factor of two.\n\n",
        machine.threads,
        machine.speed / 1e9,
        request.model.display(),
        request.data.display(),
        found.format,
        found.pictures,
        found.texts,
        found.longest,
        if plan.features.is_some() { " and each picture encoded once" } else { "" },
        duration(plan.seconds),
        plan.steps,
        plan.step_seconds,
        if plan.features.is_some() {
            format!(", {} of it to encode the pictures", duration(plan.first_epoch_seconds))
        } else {
            String::new()
        },
    )
}

fn start(text: &mut String, found: &Found) -> Result<(), TrainError> {
    let model = quoted(&absolute(&found.model)?);
    let _ = writeln!(
        text,
        "\n[start]\nmodel = {model}\n# Longest text in tokens, with those that start and end it: that of the data.\n\
         max_text_tokens = {}\ndropout = {}",
        found.longest,
        if found.texts < super::FEW_TEXTS { "0.0" } else { "0.1" }
    );
    let kind = match found.task {
        Task::ImageCaptioning => "captioning",
        Task::VisualQuestionAnswering => "answering",
        Task::ImageTextRetrieval => "retrieval",
    };
    let _ = writeln!(text, "\n[objective]\nkind = \"{kind}\"");
    if found.task == Task::ImageTextRetrieval {
        let _ = writeln!(text, "queue_size = {}", (found.texts / 16 * 16).clamp(16, 65536));
    }
    Ok(())
}

fn data(text: &mut String, found: &Found) {
    let parts = &found.parts;
    let _ = writeln!(text, "\n[data]\nkind = \"annotations\"\ntrain = {}", quoted(&parts.train));
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {value}");
        }
    };
    let string = |value: &Option<String>| value.clone().map(|value| toml::Value::String(value).to_string());
    set("train_split", string(&parts.train_split));
    set("held_out", parts.held_out.as_ref().map(|path| quoted(path)));
    set("held_out_split", string(&parts.held_out_split));
    set("images", parts.images.as_ref().map(|path| quoted(path)));
    set("language", found.language.map(|language| format!("\"{}\"", language.code())));
}

fn run(text: &mut String, found: &Found, machine: &Machine, plan: &Plan) {
    let threads = machine.threads.min(plan.batch_size);
    let micro_batch = plan.batch_size.div_ceil(threads).min(4);
    let every = plan.steps.div_ceil(4).max(1);
    let (rate, decay) = if plan.is_lora { ("2e-4", "0.0") } else { ("2e-5", "0.02") };
    let _ = write!(
        text,
        "\n[run]\nsteps = {}\n# Examples of a step, and those that a thread has in hand at once: fewer need less memory.\n\
         batch_size = {}\nmicro_batch_size = {micro_batch}\nthreads = {threads}\ndata_threads = 1\nlog_every = {}\n\
         checkpoint_every = {every}\n\n\
         [optimizer]\n# The peak; lower it if the loss jumps.\nlearning_rate = {rate}\nweight_decay = {decay}\nclip_norm = 1.0\n\n\
         [schedule]\nkind = \"cosine\"\nwarmup_steps = {}\n\n\
         [evaluation]\nevery = {every}\npictures = {}\n",
        plan.steps,
        plan.batch_size,
        plan.steps.div_ceil(50).max(1),
        plan.steps / 20,
        found.parts.held_out_len.clamp(1, EVALUATED),
    );
}

fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    match (minutes / 60, minutes % 60) {
        (0, 0 | 1) => format!("{} seconds", seconds.ceil().max(1.0)),
        (0, minutes) => format!("{minutes} minutes"),
        (hours, minutes) => format!("{hours}:{minutes:02} hours"),
    }
}
