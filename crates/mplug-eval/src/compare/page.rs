//! A comparison as one HTML file.

use maud::{Markup, html};

use super::result_comparison::{Different, FigureDifference, ResultComparison, Said};
use super::run_comparison::{RunComparison, curve_name};
use super::text;
use crate::chart::{Chart, Series};
use crate::sheet;

pub(super) fn results(found: &ResultComparison) -> String {
    let content = html! {
        header {
            h1 { "Comparison of results" }
            (sides(&found.a, &found.b))
            p.lead { (text::facts(found)) }
        }
        main {
            h2 { "Figures" }
            (figures(&found.figures))
            @if !found.not_in_both.is_empty() { p.note { "In one of the two alone: " (found.not_in_both.join(", ")) } }
            @for note in text::notes(found) { p.note { (note) } }
            @if let (Some(by), false) = (&found.by, found.most_different.is_empty()) {
                h2 { "The " (found.most_different.len()) " that differ most, by " (by) }
                div.cards { @for one in &found.most_different { (card(one)) } }
            }
        }
    };
    sheet::document("Comparison of results", &content, "")
}

fn sides(a: &str, b: &str) -> Markup {
    html! { dl.facts { div { dt { "A" } dd { (a) } } div { dt { "B" } dd { (b) } } } }
}

fn figures(figures: &[FigureDifference]) -> Markup {
    let has_bootstrap = figures.iter().any(|figure| figure.bootstrap.is_some());
    html! {
        div.scroll tabindex="0" { table {
            thead { tr {
                th scope="col" { "figure" } th scope="col" { "A" } th scope="col" { "B" } th scope="col" { "B − A" }
                @if has_bootstrap {
                    th scope="col" { "95 % interval" } th scope="col" { "p" } th scope="col" { "B better in" } th scope="col" { "of" }
                }
            } }
            tbody { @for figure in figures { tr {
                th scope="row" { (figure.key) }
                td { (format!("{:.4}", figure.a)) } td { (format!("{:.4}", figure.b)) }
                td { b { (format!("{:+.4}", figure.difference)) } }
                @if let Some(found) = &figure.bootstrap {
                    td { (format!("{:+.4} to {:+.4}", found.low, found.high)) }
                    td { (format!("{:.4}", found.p_value)) }
                    td { (format!("{:.1} %", 100.0 * found.b_is_better)) }
                    td { (figure.pictures.unwrap_or_default()) }
                }
            } } }
        } }
    }
}

fn card(one: &Different) -> Markup {
    let score = |said: &Said| said.score.map(|score| format!("{score:.3}"));
    html! {
        article.card {
            @match &one.picture {
                Ok(address) => img src=(address) alt="" loading="lazy";,
                Err(reason) => div.missing { (reason) },
            }
            div {
                p { b { (one.name.as_deref().unwrap_or(&one.id)) } " " (difference(one)) }
                @if let Some(question) = &one.question { p { (question) } }
                @for (name, said) in [("A", &one.a), ("B", &one.b)] {
                    p.who { (name) @if let Some(score) = score(said) { ": " (score) } }
                    p.said lang="und" { @if said.text.is_empty() { em { "(empty)" } } @else { (said.text) } }
                }
                @if !one.references.is_empty() {
                    p.who { "what people say" }
                    ul lang="und" { @for reference in &one.references { li { (reference) } } }
                }
            }
        }
    }
}

/// The difference, in a colour where one of the two is better.
fn difference(one: &Different) -> Markup {
    let class = match one.a.score {
        None => "",
        Some(_) if one.difference > 0.0 => "good",
        Some(_) => "bad",
    };
    html! { span class=(class) { (format!("{:+.3}", one.difference)) } }
}

pub(super) fn runs(found: &RunComparison) -> String {
    let content = html! {
        header {
            h1 { "Comparison of runs" }
            (sides(&found.a.path, &found.b.path))
            @for (name, run) in [("A", &found.a), ("B", &found.b)] { p.lead { (name) ": " (text::in_short(run)) } }
            @for note in &found.notes { p.note { (note) } }
        }
        main {
            h2 { "Curves" }
            div.charts { @for chart in charts(found) { (chart.render()) } }
            h2 { "Figures" }
            (run_figures(found))
            h2 { "Settings that differ" }
            (settings(found))
            @if !found.samples.is_empty() {
                h2 { "Samples of the last evaluations that differ" }
                div.cards { @for sample in &found.samples { article.card { div {
                    p.who { "what a person wrote" } p lang="und" { (sample.expected) }
                    @for (name, said) in [("A", &sample.a), ("B", &sample.b)] {
                        p.who { (name) } p.said lang="und" { (said) }
                    }
                } } } }
            }
        }
    };
    sheet::document("Comparison of runs", &content, "")
}

/// Losses of both runs in one plot, then every other figure, then the learning rate and its kind.
fn charts(found: &RunComparison) -> Vec<Chart> {
    let series = |curve: &str, name: &str, is_dashed: bool| {
        let both = found.histories.iter().zip(["A", "B"]).enumerate();
        let one = both.map(move |(colour, (history, side))| {
            let series = Series::new(format!("{side} {name}").trim(), history.curve(curve), colour);
            if is_dashed { series.dashed() } else { series }
        });
        one.collect::<Vec<Series>>()
    };
    let losses = [series("loss", "training", false), series("held_out.loss", "held out", true)].concat();
    let mut charts = vec![Chart { title: "Loss".to_owned(), series: losses, may_be_logarithmic: true }];
    for figure in found.figures.iter().filter(|figure| !figure.key.ends_with("loss")) {
        let title = figure.key.replace('_', " ");
        let series = series(&curve_name(&figure.key), "", false);
        charts.push(Chart { title, series, may_be_logarithmic: false });
    }
    for name in ["learning_rate", "gradient_norm", "examples_per_second"] {
        let (title, series) = (name.replace('_', " "), series(name, "", false));
        charts.push(Chart { title, series, may_be_logarithmic: name == "gradient_norm" });
    }
    charts
}

fn run_figures(found: &RunComparison) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "figure" } @for name in ["A best (step)", "B best (step)", "A last", "B last", "A, last common step", "B, last common step"] {
                th scope="col" { (name) }
            } } }
            tbody { @for figure in &found.figures { tr {
                th scope="row" { (figure.key.replace('_', " ")) }
                td { (text::best(&figure.a)) } td { (text::best(&figure.b)) }
                td { (text::value(figure.a.last)) } td { (text::value(figure.b.last)) }
                td { (text::value(figure.a.at_common_step)) } td { (text::value(figure.b.at_common_step)) }
            } } }
        } }
    }
}

fn settings(found: &RunComparison) -> Markup {
    html! {
        @if found.settings.is_empty() { p { "None." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "setting" } th.words scope="col" { "A" } th.words scope="col" { "B" } } }
                tbody { @for one in &found.settings { tr {
                    th scope="row" { (one.key) } td.words { (text::setting(&one.a)) } td.words { (text::setting(&one.b)) }
                } } }
            } }
        }
    }
}
