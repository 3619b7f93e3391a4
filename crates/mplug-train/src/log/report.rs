//! A page about a run, written anew after each evaluation: curves of losses, learning rate and figures, and what the model
//! writes beside its pictures. One file that needs no other. Its history is the run's own `log.jsonl`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::{Progress, Sample};
use crate::checkpoint::RunFolder;
use crate::error::TrainError;

/// Size of a curve in the page's own units.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 160.0;
/// Points of a curve at most; longer ones are thinned.
const POINTS: usize = 400;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}\
.curves,.samples{display:grid;gap:1.2rem;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr))}\
.samples{grid-template-columns:repeat(auto-fill,minmax(11rem,1fr))}\
figure{margin:0}figcaption{color:#57606a}figcaption b{color:#1c2430;font-weight:600}\
svg{width:100%;height:auto;border:1px solid #d8dee4;border-radius:6px;background:#fbfcfd}\
path{fill:none;stroke:#2563a8;stroke-width:1.6}circle{fill:#2563a8}svg text{font:11px system-ui,sans-serif;fill:#57606a}\
img{width:100%;border-radius:6px;display:block}\
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dde3ea}figcaption b{color:#dde3ea}\
svg{background:#191e24;border-color:#313a44}path{stroke:#6cb0f5}circle{fill:#6cb0f5}}";

/// The page, and what it knows so far.
pub(super) struct ReportPage {
    folder: RunFolder,
    name: String,
    /// Values by step, by name.
    curves: BTreeMap<String, Vec<(u64, f64)>>,
}

impl ReportPage {
    /// The page of the run folder `folder`, with what an earlier part of the run logged.
    pub(super) fn open(folder: &RunFolder) -> Result<Self, TrainError> {
        let name = folder.path().file_name();
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut page = Self { folder: folder.clone(), name, curves: BTreeMap::new() };
        let path = folder.path().join("log.jsonl");
        let Ok(file) = std::fs::File::open(&path) else { return Ok(page) };
        for line in BufReader::new(file).lines() {
            // A line that was cut off when the run was killed says nothing.
            if let Ok(event) = serde_json::from_str::<Value>(&line.map_err(TrainError::file(&path))?) {
                page.remember(&event);
            }
        }
        Ok(page)
    }

    pub(super) fn write(&mut self, event: &Progress) -> Result<(), TrainError> {
        self.remember(&serde_json::to_value(event).expect("events are plain data"));
        match event {
            Progress::Evaluated { step, samples, .. } => {
                self.folder.write_file("report.html", self.page(*step, samples).into_string().as_bytes())
            }
            _ => Ok(()),
        }
    }

    /// Adds an event's numbers to the curves. What a resumed run does again takes the place of what it did before.
    fn remember(&mut self, event: &Value) {
        let Some(step) = event["step"].as_u64() else { return };
        if event["event"] == "started" {
            for curve in self.curves.values_mut() {
                curve.retain(|(at, _)| *at <= step);
            }
            return;
        }
        // Its loss is that of no weights that the curve goes through.
        if event["event"] == "skipped" {
            return;
        }
        let mut add = |name: &str, value: &Value| {
            if let Some(value) = value.as_f64() {
                self.curves.entry(name.to_owned()).or_default().push((step, value));
            }
        };
        for name in ["loss", "learning_rate", "gradient_norm", "reward", "examples_per_second"] {
            add(&name.replace('_', " "), &event[name]);
        }
        for (group, prefix) in [("parts", "loss: "), ("metrics", "held out: ")] {
            for (name, value) in event[group].as_object().into_iter().flatten() {
                add(&format!("{prefix}{}", name.replace('_', " ")), value);
            }
        }
    }

    /// The curves, what matters most first.
    fn ordered(&self) -> Vec<(&String, &Vec<(u64, f64)>)> {
        let first = ["loss", "reward", "held out", "learning rate"];
        let index =
            |name: &str| first.iter().position(|start| name.starts_with(start)).unwrap_or(first.len());
        let mut curves: Vec<_> = self.curves.iter().collect();
        curves.sort_by_key(|(name, _)| index(name));
        curves
    }

    fn page(&self, step: u64, samples: &[Sample]) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width,initial-scale=1";
                    title { "Training: " (self.name) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "Training: " (self.name) ", step " (step) }
                    div.curves { @for (name, points) in self.ordered() { (curve(name, points)) } }
                    @if !samples.is_empty() {
                        h2 { "What the model writes" }
                        div.samples { @for sample in samples { (shown(sample)) } }
                    }
                }
            }
        }
    }
}

/// A text beside its picture.
fn shown(sample: &Sample) -> Markup {
    html! {
        figure {
            @if !sample.picture.is_empty() { img src=(sample.picture) alt=""; }
            figcaption { b { (sample.text) } @if !sample.expected.is_empty() { br; (sample.expected) } }
        }
    }
}

/// A curve with its name, its last value and its range.
fn curve(name: &str, points: &[(u64, f64)]) -> Markup {
    let finite: Vec<(u64, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let Some((last_step, last)) = finite.last().copied() else { return html! {} };
    let first_step = finite[0].0;
    let (low, high) = finite.iter().fold((f64::MAX, f64::MIN), |(l, h), (_, v)| (l.min(*v), h.max(*v)));
    let across = |step: u64| {
        let span = (last_step - first_step).max(1) as f64;
        10.0 + (WIDTH - 20.0) * (step - first_step) as f64 / span
    };
    let up = |value: f64| {
        let span = if high > low { high - low } else { 1.0 };
        HEIGHT - 22.0 - (HEIGHT - 44.0) * (value - low) / span
    };
    let every = finite.len().div_ceil(POINTS);
    let mut path = String::new();
    for (index, (step, value)) in finite.iter().enumerate() {
        if index % every == 0 || index + 1 == finite.len() {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{letter}{:.1} {:.1}", across(*step), up(*value)).expect("text grows");
        }
    }
    let number = |value: f64| {
        if value != 0.0 && value.abs() < 0.001 { format!("{value:.2e}") } else { format!("{value:.4}") }
    };
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(name) {
                text x="10" y="16" { (number(high)) }
                text x="10" y=(HEIGHT - 6.0) { (number(low)) }
                text x=(WIDTH - 10.0) y=(HEIGHT - 6.0) text-anchor="end" { "step " (last_step) }
                path d=(path) {}
                circle cx=(across(last_step)) cy=(up(last)) r="2.5" {}
            }
            figcaption { (name) " " b { (number(last)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_every_curve_and_escapes_texts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = RunFolder::create(folder.path()).expect("made");
        run.claim(false).expect("it is empty");
        let log = concat!(
            r#"{"event":"step","step":10,"loss":3.0,"learning_rate":0.1}"#,
            "\n",
            r#"{"event":"step","step":20,"loss":2.0,"learning_rate":0.1}"#,
            "\n",
            r#"{"event":"st"#,
        );
        std::fs::write(folder.path().join("log.jsonl"), log).expect("written");
        let mut page = ReportPage::open(&run).expect("readable");
        page.remember(
            &serde_json::json!({"event": "skipped", "step": 21, "loss": 9.0, "gradient_norm": "inf"}),
        );
        assert_eq!(page.curves["loss"], [(10, 3.0), (20, 2.0)]);
        let started = Progress::Started { step: 10, steps: 30, parameters: 1, trained: 1, vocab_size: 2 };
        page.write(&started).expect("nothing is written");
        assert_eq!(page.curves["loss"], [(10, 3.0)]);
        let samples =
            vec![Sample { text: "<b>猫".to_owned(), expected: "狗".to_owned(), picture: String::new() }];
        let metrics = BTreeMap::from([("cider", 1.5)]);
        page.write(&Progress::Evaluated { step: 20, metrics, best: true, samples }).expect("written");
        let html = std::fs::read_to_string(folder.path().join("report.html")).expect("a page");
        assert!(html.contains("held out: cider") && html.contains("&lt;b&gt;猫") && html.contains("狗"));
        assert_eq!(html.matches("<svg").count(), page.curves.len());
    }
}
