//! What the model wrote in each evaluation, beside its pictures.

use std::collections::BTreeMap;

use maud::{Markup, html};
use mplug_eval::chart::grouped;
use mplug_eval::run_history::{ClassFigure, NotedEvaluation, NotedSample, RunHistory};

use crate::log::Sample;

/// The pictures of the samples, by place and by what a person wrote: those of another data set are not shown in their place.
#[derive(Default)]
pub(super) struct Pictures {
    found: BTreeMap<(usize, String), String>,
}

impl Pictures {
    /// Takes the pictures of an evaluation.
    pub(super) fn remember(&mut self, samples: &[Sample]) {
        let pictures = samples.iter().enumerate().filter(|(_, sample)| !sample.picture.is_empty());
        self.found =
            pictures.map(|(place, one)| ((place, one.expected.clone()), one.picture.clone())).collect();
    }

    /// Whether there was an evaluation with pictures.
    pub(super) fn are_known(&self) -> bool {
        !self.found.is_empty()
    }
}

/// The samples of all evaluations that keep them, to be chosen by evaluation; nothing where there are none.
pub(super) fn section(history: &RunHistory, pictures: &Pictures) -> Markup {
    let kept =
        |evaluation: &&NotedEvaluation| !evaluation.samples.is_empty() || !evaluation.classes.is_empty();
    let evaluations: Vec<&NotedEvaluation> = history.evaluations.iter().filter(kept).collect();
    let Some(last) = evaluations.last() else { return html! {} };
    html! {
        section #samples {
            h2 { "What the model writes" }
            div.controls {
                label for="evaluation" { "Evaluation after step" }
                select #evaluation {
                    @for evaluation in evaluations.iter().rev() {
                        option value=(evaluation.step) selected[evaluation.step == last.step] {
                            (grouped(evaluation.step)) @if evaluation.is_best { " (best)" }
                        }
                    }
                    option value="" { "all of them" }
                }
                button type="button" #earlier { "Earlier" }
                button type="button" #later { "Later" }
            }
            div.cards aria-live="polite" { @for (key, texts) in by_picture(&evaluations) { (card(&key, &texts, pictures)) } }
            @for evaluation in evaluations.iter().filter(|evaluation| !evaluation.classes.is_empty()) {
                div data-step=(evaluation.step) { (classes(evaluation)) }
            }
        }
    }
}

/// What the evaluations wrote about each picture.
type ByPicture<'e> = BTreeMap<(usize, String), Vec<(u64, &'e NotedSample)>>;

fn by_picture<'e>(evaluations: &[&'e NotedEvaluation]) -> ByPicture<'e> {
    let mut found = ByPicture::new();
    for evaluation in evaluations {
        for (place, sample) in evaluation.samples.iter().enumerate() {
            let texts = found.entry((place, sample.expected.clone())).or_default();
            texts.push((evaluation.step, sample));
        }
    }
    found
}

fn card(key: &(usize, String), texts: &[(u64, &NotedSample)], pictures: &Pictures) -> Markup {
    let number = key.0 + 1;
    html! {
        article.card data-steps=(texts.iter().map(|(step, _)| step.to_string()).collect::<Vec<_>>().join(" ")) {
            @match pictures.found.get(key) {
                Some(address) => img src=(address) alt={ "held-out picture " (number) } loading="lazy";,
                None => div.missing { "held-out picture " (number) " (not kept)" },
            }
            div {
                @if let Some(question) = texts.iter().map(|(_, one)| &one.question).find(|text| !text.is_empty()) {
                    p.who { "question" } p lang="und" { (question) }
                }
                @for (step, sample) in texts { div data-step=(step) {
                    p.who { "the model, step " (grouped(*step)) (verdict(sample.score)) }
                    p.said lang="und" { @if sample.text.is_empty() { em { "(nothing)" } } @else { (sample.text) } }
                } }
                @if !key.1.is_empty() { p.who { "a person" } p lang="und" { (key.1) } }
            }
        }
    }
}

/// Whether a text is right, where the dataset can judge it.
fn verdict(score: Option<f64>) -> Markup {
    html! {
        @match score {
            Some(score) if score >= 1.0 => { ": " span.good { "right" } },
            Some(score) if score <= 0.0 => { ": " span.bad { "wrong" } },
            Some(score) => { ": " (format!("{:.0} % right", 100.0 * score)) },
            None => {},
        }
    }
}

/// A table for each division of the examples into kinds.
fn classes(evaluation: &NotedEvaluation) -> Markup {
    let mut divisions: BTreeMap<(&str, &str), Vec<&ClassFigure>> = BTreeMap::new();
    for one in &evaluation.classes {
        divisions.entry((&one.by, &one.figure)).or_default().push(one);
    }
    html! {
        h3 { "Errors by kind of example, step " (grouped(evaluation.step)) }
        div.tables { @for ((by, figure), kinds) in divisions {
            @let is_share = figure != "cider";
            @let most = if is_share { 1.0 } else { kinds.iter().map(|one| one.score).fold(0.0, f64::max).max(1e-9) };
            div.scroll tabindex="0" { table {
                thead { tr {
                    th scope="col" { (by) } th scope="col" { "examples" }
                    th scope="col" { @if is_share { "right" } @else { (super::page::name(figure)) } } th scope="col" { span.quiet { "bar" } }
                } }
                tbody { @for one in kinds { tr {
                    th scope="row" { (one.class) } td { (grouped(one.examples)) }
                    td { @if is_share { (format!("{:.1} %", 100.0 * one.score)) } @else { (format!("{:.3}", one.score)) } }
                    td { span.share aria-hidden="true" { i style={ "width:" (format!("{:.0}%", 100.0 * one.score / most)) } {} } }
                } } }
            } }
        } }
    }
}

/// Shows the evaluation that is chosen.
pub(super) const SCRIPT: &str = "
const chosen = document.getElementById('evaluation');
if (chosen) {
  const earlier = document.getElementById('earlier'), later = document.getElementById('later');
  const section = document.getElementById('samples');
  const show = () => {
    for (const part of section.querySelectorAll('[data-step]')) part.hidden = chosen.value !== '' && part.dataset.step !== chosen.value;
    for (const card of section.querySelectorAll('[data-steps]')) card.hidden = chosen.value !== '' && !card.dataset.steps.split(' ').includes(chosen.value);
    const at = chosen.selectedIndex, count = chosen.options.length - 1;
    later.disabled = at === 0 || at === count;
    earlier.disabled = at >= count - 1;
  };
  const move = by => { chosen.selectedIndex += by; show(); };
  chosen.addEventListener('change', show);
  earlier.addEventListener('click', () => move(1));
  later.addEventListener('click', () => move(-1));
  show();
}
";
