//! What the pages about runs share: the frame of one HTML file that needs no other, colours for light and dark, tables and cards.
//! Contrast of text and curves against both backgrounds is at least 4.5 and 3 (a test computes it).

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart;

/// A document with the title and the content, and with the script of its plots and `script`.
pub fn document(title: &str, content: &Markup, script: &str) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(chart::STYLE)) }
            }
            body {
                (content)
                script { (PreEscaped(chart::SCRIPT)) (PreEscaped(script)) }
            }
        }
    }
    .into_string()
}

/// Names with values, as a list that wraps.
pub fn facts<'f>(facts: impl IntoIterator<Item = (&'f str, String)>) -> Markup {
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

/// How the pages look.
pub const STYLE: &str = "
:root { color-scheme: light dark; --back: #ffffff; --card: #f6f8fa; --text: #1c2430; --soft-text: #57606a; --line: #d0d7de; --mark: #b4540a; --good: #116329; --bad: #a40e26;
  --c0: #1f6feb; --c1: #b4540a; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #57606a; }
@media (prefers-color-scheme: dark) { :root { --back: #12161b; --card: #1a2027; --text: #e2e8ef; --soft-text: #9aa6b2; --line: #333d48; --mark: #f0a35e; --good: #56d364; --bad: #ff8182;
  --c0: #6cb0f5; --c1: #f0a35e; --c2: #56d364; --c3: #c297ff; --c4: #ff80c8; --c5: #9aa6b2; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.2rem 4rem; color: var(--text); background: var(--back); }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.12rem; margin: 2.4rem 0 .7rem; padding-top: .6rem; border-top: 1px solid var(--line); }
p { margin: .3rem 0; } .lead, .note, small, figcaption small { color: var(--soft-text); } .note { font-size: .9rem; }
a { color: var(--c0); } :focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 10rem), 1fr)); gap: .7rem 1.4rem; margin: 1rem 0 0; }
.facts dt { color: var(--soft-text); font-size: .84rem; } .facts dd { margin: 0; font-weight: 550; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 550; } thead th { color: var(--soft-text); font-size: .88rem; }
th:first-child, td.words, th.words { text-align: left; } td.words { overflow-wrap: anywhere; min-width: 7rem; }
td .share { display: inline-block; width: 5rem; height: .55rem; background: var(--card); border: 1px solid var(--line); border-radius: 3px; overflow: hidden; vertical-align: middle; }
td .share i { display: block; height: 100%; background: var(--c0); }
details { margin: .6rem 0; } summary { cursor: pointer; } pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .8rem; font-size: .84rem; line-height: 1.45; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem .8rem; margin: 0 0 1rem; }
select, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .3rem .7rem; min-height: 2.2rem; max-width: 100%; }
button:disabled { opacity: .5; }
.cards { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
.card { border: 1px solid var(--line); border-radius: 8px; background: var(--card); overflow: hidden; min-width: 0; }
.card img, .card .missing { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: var(--back); }
.card .missing { display: grid; place-items: center; color: var(--soft-text); font-size: .84rem; }
.card > div { padding: .6rem .8rem; } .card p { overflow-wrap: anywhere; } .card .said { font-weight: 600; }
.card .who { color: var(--soft-text); font-size: .8rem; margin: .35rem 0 0; }
.card ul { margin: 0; padding-left: 1.1rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
[hidden] { display: none !important; }
@media print { .controls { display: none; } }
";

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        let linear = |c: f64| if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(channel(0)) + 0.7152 * linear(channel(2)) + 0.0722 * linear(channel(4))
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn texts_and_curves_stand_out_in_light_and_dark() {
        let (light, dark) = STYLE.split_once("@media (prefers-color-scheme: dark)").unwrap();
        let dark = dark.split_once("* {").unwrap().0;
        for theme in [light, dark] {
            let colour = |name: &str| {
                let (_, after) = theme.split_once(&format!("--{name}: #")).unwrap();
                &after[..6]
            };
            for back in ["back", "card"] {
                for (name, least) in
                    [("text", 4.5), ("soft-text", 4.5), ("good", 4.5), ("bad", 4.5), ("mark", 4.5)]
                        .into_iter()
                        .chain(["c0", "c1", "c2", "c3", "c4", "c5"].map(|name| (name, 3.0)))
                {
                    let found = contrast(colour(name), colour(back));
                    assert!(found >= least, "{name} on {back}: {found:.2}");
                }
            }
        }
    }

    #[test]
    fn a_document_fetches_nothing() {
        let html = document("<t>", &html! { p { "x" } }, "");
        assert!(html.contains("<title>&lt;t&gt;</title>") && !html.contains("http"), "{html}");
    }
}
