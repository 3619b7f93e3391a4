//! A page of figures, their histograms, and the worst pictures with candidate and references, sortable. One file with everything
//! in it: no script, style or picture is fetched. Captions are data: maud escapes all of it.

use caption_metrics::evaluation::Evaluation;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::Domain;

/// Bars of a histogram.
const BARS: usize = 24;
/// The size of a histogram in CSS pixels.
const WIDTH: f64 = 264.0;
const HEIGHT: f64 = 72.0;

/// What is on the page.
#[derive(Debug)]
pub struct Page<'e> {
    /// What was scored, in words.
    pub title: String,
    /// Facts below the title: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// The figures of all pictures.
    pub evaluation: &'e Evaluation,
    /// Domains with their figures.
    pub domains: &'e [Domain],
    /// The pictures shown, worst first.
    pub cards: Vec<Card<'e>>,
    /// The column by which they are the worst.
    pub worst_by: usize,
}

/// One picture.
#[derive(Debug)]
pub struct Card<'e> {
    /// Its index among all pictures.
    pub index: usize,
    /// Its id or name.
    pub name: &'e str,
    /// The picture as a `data:` address, or why there is none.
    pub picture: Result<String, String>,
    /// The caption that was scored.
    pub candidate: &'e str,
    /// What it was scored against.
    pub references: &'e [String],
}

impl Page<'_> {
    /// The whole document.
    pub fn render(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (self.title) }
                        dl { @for (name, value) in &self.facts { div { dt { (name) } dd { (value) } } } }
                    }
                    main { (self.figures()) (self.histograms()) (self.gallery()) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
        .into_string()
    }

    fn figures(&self) -> Markup {
        html! {
            section {
                h2 { "Figures" }
                table {
                    thead { tr {
                        th { "metric" } th { "all" }
                        @for domain in self.domains { th { (domain.name) small { " " (domain.images) } } }
                    } }
                    tbody { @for column in &self.evaluation.columns { tr {
                        th { (column.label) }
                        td { (figure(column.scores.corpus)) }
                        @for domain in self.domains {
                            td { (domain.evaluation.corpus(column.figure).map_or_else(String::new, figure)) }
                        }
                    } } }
                }
                @for missing in &self.evaluation.not_computed {
                    p.note { (missing.figure.key()) " was not computed: " (missing.reason) }
                }
                @for note in &self.evaluation.notes { p.note { (note) } }
            }
        }
    }

    fn histograms(&self) -> Markup {
        html! {
            section {
                h2 { "Scores of the pictures" }
                div.histograms { @for column in &self.evaluation.columns {
                    figure {
                        figcaption { (column.label) }
                        (histogram(&column.scores.images))
                    }
                } }
            }
        }
    }

    fn gallery(&self) -> Markup {
        let columns = &self.evaluation.columns;
        html! {
            section {
                h2 { "The " (self.cards.len()) " pictures with the lowest " (columns[self.worst_by].label) }
                div.controls {
                    label { "Sort by " select #key { @for (number, column) in columns.iter().enumerate() {
                        option value=(number) selected[number == self.worst_by] { (column.label) }
                    } option value="index" { "position in the file" } } }
                    label { select #order { option value="1" { "lowest first" } option value="-1" { "highest first" } } }
                    label { "Find " input #find type="search" placeholder="a word"; }
                    output #count {}
                }
                div #cards { @for card in &self.cards { (self.card(card)) } }
            }
        }
    }

    fn card(&self, card: &Card<'_>) -> Markup {
        let columns = &self.evaluation.columns;
        let scores: Vec<String> =
            columns.iter().map(|column| column.scores.images[card.index].to_string()).collect();
        html! {
            article data-index=(card.index) data-scores=(scores.join(" ")) {
                @match &card.picture {
                    Ok(address) => img src=(address) alt="" loading="lazy";,
                    Err(reason) => div.missing { (reason) },
                }
                div {
                    p.name { (card.name) }
                    p.candidate lang="und" { @if card.candidate.is_empty() { em { "(empty)" } } @else { (card.candidate) } }
                    ul { @for reference in card.references { li { (reference) } } }
                    p.scores { @for column in columns {
                        span { (column.label) " " b { (figure(column.scores.images[card.index])) } }
                    } }
                }
            }
        }
    }
}

/// Three decimals: what a person compares.
fn figure(figure: f64) -> String {
    format!("{figure:.3}")
}

/// Bars from 0 to the largest score, and a line at the mean.
fn histogram(scores: &[f64]) -> Markup {
    let largest = scores.iter().copied().filter(|score| score.is_finite()).fold(0.0, f64::max);
    let end = if largest > 1.0 { largest.ceil() } else { 1.0 };
    let mut bars = [0_usize; BARS];
    for score in scores.iter().filter(|score| score.is_finite()) {
        bars[((score / end * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    let tallest = bars.iter().copied().max().unwrap_or(0).max(1) as f64;
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let step = WIDTH / BARS as f64;
    let at = mean / end * WIDTH;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 14.0) } role="img" {
            @for (number, &bar) in bars.iter().enumerate() {
                @let height = bar as f64 / tallest * HEIGHT;
                rect x={ (format!("{:.1}", number as f64 * step)) } y={ (format!("{:.1}", HEIGHT - height)) }
                    width={ (format!("{:.1}", step - 1.0)) } height={ (format!("{height:.1}")) } {
                    title { (bar) " pictures" }
                }
            }
            line x1={ (format!("{at:.1}")) } x2={ (format!("{at:.1}")) } y1="0" y2={ (HEIGHT) } {
                title { "mean " (figure(mean)) }
            }
            text x="0" y={ (HEIGHT + 11.0) } { "0" }
            text x={ (WIDTH) } y={ (HEIGHT + 11.0) } text-anchor="end" { (end) }
        }
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --mark: #c2410c; --bar: #4f7cac; }
body { font: 15px/1.5 system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif; margin: 0 auto; max-width: 1180px; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
dl { display: flex; flex-wrap: wrap; gap: .2rem 1.6rem; margin: .4rem 0 0; } dl div { display: flex; gap: .4rem; }
dt { opacity: .65; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; } th, td { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th:first-child { text-align: left; font-weight: 500; } small { opacity: .6; font-weight: 400; }
.note { border-left: 3px solid var(--mark); padding-left: .6rem; margin: .6rem 0; }
.histograms { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 1rem 1.6rem; }
figure { margin: 0; } figcaption { font-size: .9rem; opacity: .8; }
svg { width: 100%; height: auto; } svg rect { fill: var(--bar); } svg line { stroke: var(--mark); stroke-width: 2; } svg text { font-size: 10px; fill: currentColor; opacity: .6; }
.controls { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; position: sticky; top: 0; background: Canvas; padding: .5rem 0; border-bottom: 1px solid var(--line); }
select, input { font: inherit; }
#cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(480px, 1fr)); gap: 1rem; margin-top: 1rem; }
article { display: flex; gap: 1rem; border: 1px solid var(--line); border-radius: 8px; padding: .8rem; min-width: 0; }
article[hidden] { display: none; }
article img, .missing { width: 180px; height: 180px; flex: none; object-fit: contain; background: var(--soft); border-radius: 4px; }
.missing { display: grid; place-items: center; text-align: center; font-size: .8rem; opacity: .7; overflow-wrap: anywhere; padding: .4rem; box-sizing: border-box; }
article div { min-width: 0; } article p { margin: 0 0 .3rem; overflow-wrap: anywhere; }
.name { font-size: .8rem; opacity: .6; } .candidate { font-weight: 600; }
ul { margin: .2rem 0 .5rem; padding-left: 1.1rem; font-size: .92rem; }
.scores { font-size: .78rem; display: flex; flex-wrap: wrap; gap: .1rem .8rem; opacity: .85; }
@media (max-width: 560px) { #cards { grid-template-columns: 1fr; } article { flex-direction: column; } article img, .missing { width: 100%; } }
";

const SCRIPT: &str = "
const list = document.getElementById('cards'), cards = [...list.children];
const key = document.getElementById('key'), order = document.getElementById('order');
const find = document.getElementById('find'), count = document.getElementById('count');
const index = card => Number(card.dataset.index);
const value = card => key.value === 'index' ? index(card) : Number(card.dataset.scores.split(' ')[key.value]);
function show() {
  cards.sort((a, b) => order.value * (value(a) - value(b)) || index(a) - index(b));
  const word = find.value.toLowerCase();
  let shown = 0;
  for (const card of cards) {
    card.hidden = !card.textContent.toLowerCase().includes(word);
    shown += !card.hidden;
  }
  list.append(...cards);
  count.textContent = shown + ' shown';
}
for (const control of [key, order, find]) control.addEventListener('input', show);
show();
";

#[cfg(test)]
mod tests {
    use caption_metrics::Scores;
    use caption_metrics::evaluation::{Column, Figure};

    use super::*;

    #[test]
    fn captions_are_escaped_and_sorted_by_what_they_score() {
        let scores = Scores { corpus: 0.5, images: vec![0.25, 0.75, f64::NAN] };
        let columns = vec![Column { figure: Figure::Cider, label: "CIDEr", scores }];
        let evaluation = Evaluation { columns, not_computed: Vec::new(), notes: vec!["<i>".to_owned()] };
        let references = ["一只猫".to_owned(), "</script>".to_owned()];
        let card = Card {
            index: 1,
            name: "a&b.jpg",
            picture: Err("no \"picture\"".to_owned()),
            candidate: "<script>alert(1)</script>",
            references: &references,
        };
        let page = Page {
            title: "t".to_owned(),
            facts: vec![("images", "3".to_owned())],
            evaluation: &evaluation,
            domains: &[],
            cards: vec![card],
            worst_by: 0,
        };
        let html = page.render();
        assert_eq!(html.matches("<script>").count(), 1, "the page's own");
        assert!(
            html.contains("&lt;script&gt;alert(1)")
                && html.contains("a&amp;b.jpg")
                && html.contains("一只猫")
        );
        assert!(html.contains("data-scores=\"0.75\""));
        assert!(!html.contains("http://") && !html.contains("https://"), "nothing is fetched");
    }

    #[test]
    fn a_histogram_of_nothing_is_flat() {
        let html = histogram(&[]).into_string();
        assert_eq!(html.matches("<rect").count(), BARS);
    }
}
