//! The page's HTML.

use maud::{Markup, html};
use mplug_eval::chart::{Chart, Series, grouped, number};
use mplug_eval::run_history::{NotedEvaluation, RunHistory, duration};
use mplug_eval::sheet;
use serde_json::Value;

use super::samples::{self, Pictures};

/// Rows of the table of evaluations; of more, some in between are left out.
const ROWS: usize = 24;

/// The document. `recipe` is the run's as it stands in its folder.
pub(super) fn render(history: &RunHistory, pictures: &Pictures, recipe: &str) -> String {
    let title = format!("Training: {}", history.name);
    let done = 100.0 * history.step as f64 / history.steps.max(1) as f64;
    let content = html! {
        header {
            h1 { (title) }
            p.lead {
                @if let Some(kind) = history.settings.get("objective.kind").and_then(Value::as_str) { (kind) ", " }
                "step " (grouped(history.step)) " of " (grouped(history.steps)) ", " (format!("{done:.0} %"))
            }
            progress max=(history.steps.max(1)) value=(history.step) aria-label="steps done" {}
            (sheet::facts(facts(history)))
        }
        main {
            section {
                h2 { "Curves" }
                div.charts { @for chart in charts(history) { (chart.render()) } }
            }
            (evaluations(history))
            (samples::section(history, pictures))
            (skips(history))
            @if !recipe.is_empty() { section { h2 { "Recipe" } details { summary { "recipe.toml" } pre tabindex="0" { (recipe) } } } }
        }
        footer { p.note {
            "Curves are thinned to some hundred points; of the evaluations at most 24 keep their samples: the first, the best, the last, and "
            "others evenly between. log.jsonl has all of them."
        } }
        style { (maud::PreEscaped(STYLE)) }
    };
    sheet::document(&title, &content, samples::SCRIPT)
}

const STYLE: &str = "
progress { width: 100%; height: .6rem; accent-color: var(--c0); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
.tables { display: flex; flex-wrap: wrap; gap: 1rem 3rem; }
.quiet { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
tr.best th, tr.best td { font-weight: 650; }
footer { margin-top: 3rem; }
";

/// What stands at the top: how far, how long, how fast, on what.
fn facts(history: &RunHistory) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut add = |name: &'static str, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    let is_over = history.step >= history.steps;
    let setting = |name: &str| history.settings.get(name);
    let machine = |name: &str| history.machine.get(name);
    add("time taken", (history.seconds > 0.0).then(|| duration(history.seconds)));
    add("time left", history.last("seconds_left").filter(|_| !is_over).map(duration));
    add(
        "speed",
        history.last("examples_per_second").map(|speed| {
            let seconds =
                history.last("step_seconds").map(|seconds| format!(", {} s a step", number(seconds)));
            format!("{} examples/s{}", number(speed), seconds.unwrap_or_default())
        }),
    );
    add("best evaluation", history.best().map(|best| format!("step {}", grouped(best.step))));
    add("parameters", (history.parameters > 0).then(|| grouped(history.parameters)));
    add("processor", machine("processor").and_then(Value::as_str).map(str::to_owned));
    add(
        "threads",
        machine("threads").and_then(Value::as_u64).map(|threads| {
            match setting("run.threads").and_then(Value::as_u64) {
                Some(used) => format!("{used} of {threads}"),
                None => threads.to_string(),
            }
        }),
    );
    let bytes = |value: Option<f64>| value.map(|bytes| format!("{:.1} GB", bytes / 1e9));
    let whole = bytes(machine("memory_bytes").and_then(Value::as_f64));
    add(
        "memory, at most held",
        bytes(history.last("peak_memory")).map(|held| match &whole {
            Some(whole) => format!("{held} of {whole}"),
            None => held,
        }),
    );
    add("system", machine("system").and_then(Value::as_str).map(str::to_owned));
    add(
        "device, precision",
        setting("run.device").and_then(Value::as_str).map(|device| {
            let precision = setting("run.precision").and_then(Value::as_str);
            precision.map_or_else(|| device.to_owned(), |precision| format!("{device}, {precision}"))
        }),
    );
    add("starts", (history.starts > 1).then(|| history.starts.to_string()));
    add("steps skipped", (history.skipped_step_count > 0).then(|| grouped(history.skipped_step_count)));
    add(
        "pictures skipped",
        (history.skipped_picture_count > 0).then(|| grouped(history.skipped_picture_count)),
    );
    facts
}

/// Both losses in one plot, then the figures of evaluations, then how training went.
fn charts(history: &RunHistory) -> Vec<Chart> {
    let chart = |title: &str, series: Vec<Series>, may_be_logarithmic: bool| Chart {
        title: title.to_owned(),
        series,
        may_be_logarithmic,
    };
    let one = |title: &str, curve: &str| vec![Series::new(title, history.curve(curve), 0)];
    let losses = vec![
        Series::new("training", history.curve("loss"), 0),
        Series::new("held out", history.curve("held_out.loss"), 1).dashed(),
    ];
    let parts = history.curve_names().filter(|name| name.starts_with("parts."));
    let part = |(colour, curve): (usize, &str)| {
        Series::new(curve["parts.".len()..].replace('_', " "), history.curve(curve), colour)
    };
    let mut charts = vec![
        chart("Loss", losses, true),
        chart("Losses of the objectives", parts.enumerate().map(part).collect(), true),
        chart("Reward", one("Reward", "reward"), false),
    ];
    for figure in history.figures().into_iter().filter(|figure| *figure != "loss") {
        let title = format!("{}, held out", name(figure));
        let series = Series::new(title.as_str(), history.curve(&format!("held_out.{figure}")), 1);
        charts.push(chart(&title, vec![series.dashed()], false));
    }
    charts.push(chart("Learning rate", one("Learning rate", "learning_rate"), false));
    charts.push(chart("Gradient norm", one("Gradient norm", "gradient_norm"), true));
    charts.push(chart("Examples a second", one("Examples a second", "examples_per_second"), false));
    charts
}

/// A figure's name for people.
pub(super) fn name(figure: &str) -> String {
    let known = [
        ("cider", "CIDEr"),
        ("rouge_l", "ROUGE-L"),
        ("meteor", "METEOR"),
        ("meteor_exact_stem", "METEOR (exact+stem)"),
        ("spice", "SPICE"),
        ("truth", "true captions"),
        ("accuracy", "accuracy"),
        ("loss", "loss"),
        ("r_mean", "mean recall"),
    ];
    if let Some((_, name)) = known.iter().find(|(key, _)| *key == figure) {
        return (*name).to_owned();
    }
    if let Some(order) = figure.strip_prefix("bleu_") {
        return format!("BLEU-{order}");
    }
    for (start, what) in [("text_r", "texts, recall at"), ("image_r", "pictures, recall at")] {
        if let Some(rank) = figure.strip_prefix(start) {
            return format!("{what} {rank}");
        }
    }
    figure.replace('_', " ")
}

/// The figures of evaluations as a table.
fn evaluations(history: &RunHistory) -> Markup {
    let all = &history.evaluations;
    let figures = history.figures();
    if all.is_empty() {
        return html! {};
    }
    let every = all.len().div_ceil(ROWS);
    let is_shown = |(index, one): &(usize, &NotedEvaluation)| {
        (all.len() - 1 - index).is_multiple_of(every) || one.is_best
    };
    let left_out = all.len() - all.iter().enumerate().filter(is_shown).count();
    html! {
        section {
            h2 { "Evaluations" }
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "step" } @for figure in &figures { th scope="col" { (name(figure)) } } } }
                tbody { @for (_, one) in all.iter().enumerate().filter(is_shown) {
                    tr.best[one.is_best] {
                        th scope="row" { (grouped(one.step)) @if one.is_best { " (best)" } }
                        @for figure in &figures { td {
                            @if let Some(value) = one.metrics.get(*figure).and_then(Value::as_f64) { (format!("{value:.4}")) } @else { "–" }
                        } }
                    }
                } }
            } }
            @if left_out > 0 { p.note { (left_out) " evaluations in between are not listed." } }
        }
    }
}

/// Steps and pictures that were passed over, and warnings.
fn skips(history: &RunHistory) -> Markup {
    let steps: Vec<String> =
        history.skipped_steps.iter().map(|(step, said)| format!("step {}: {said}", grouped(*step))).collect();
    let pictures: Vec<String> = history.skipped_pictures.iter().cloned().collect();
    let warnings: Vec<String> = history.warnings.iter().cloned().collect();
    html! {
        @for (title, what, count, last) in [
            ("Skipped steps", "Steps whose loss or gradient was not finite; they changed no weight.", history.skipped_step_count, steps),
            ("Skipped pictures", "Pictures that could not be read.", history.skipped_picture_count, pictures),
            ("Warnings", "", warnings.len() as u64, warnings),
        ] {
            @if count > 0 { section {
                h2 { (title) ": " (grouped(count)) }
                p.note { (what) @if count > last.len() as u64 { " The last " (last.len()) ":" } }
                ul { @for one in &last { li { (one) } } }
            } }
        }
    }
}
