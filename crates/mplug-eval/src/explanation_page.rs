//! A page of captions whose words show the part of the picture that they stand on: under the pointer or the keyboard's focus, and each
//! in a small picture of its own. One file with everything in it: nothing is fetched, no script runs. Names and captions are data:
//! maud escapes all of it.

use std::fmt::Write;

use image::{ImageError, RgbImage};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use mplug::explain::{Explanation, Method, WordMap};

use crate::heat::veil;
use crate::thumbnail::{data_address, png_address};

/// What is on the page.
#[derive(Debug)]
pub struct ExplanationPage {
    /// What the page is called.
    pub title: String,
    /// How the maps were made.
    pub method: Method,
    /// The pictures in their order.
    pub pictures: Vec<ExplainedPicture>,
}

/// A picture, ready for the page.
#[derive(Debug)]
pub struct ExplainedPicture {
    name: String,
    caption: String,
    words: Vec<WordMap>,
    /// Width by height.
    ratio: f64,
    /// `--picture` and a `--map` for each word, as styles have them.
    style: String,
}

impl ExplainedPicture {
    /// The picture called `name`, made small, with its caption and a map for each word.
    ///
    /// # Errors
    /// If it has no pixels, or sides that no JPEG can have.
    ///
    /// # Panics
    /// If a word has several maps.
    pub fn new(
        name: String,
        image: &RgbImage,
        caption: String,
        explanation: &Explanation,
    ) -> Result<Self, ImageError> {
        let Explanation { grid, words } = explanation;
        assert!(
            words.iter().all(|word| word.values.len() == grid * grid),
            "a page shows one map for each word"
        );
        let mut style = format!("--picture:url({})", data_address(image)?);
        for (index, word) in words.iter().enumerate() {
            let address = png_address(&veil(&word.values, *grid))?;
            write!(style, ";--map{index}:url({address})").expect("a string takes everything");
        }
        let ratio = f64::from(image.width()) / f64::from(image.height());
        Ok(Self { name, caption, words: words.clone(), ratio, style })
    }

    fn section(&self, method: Method) -> Markup {
        let ratio = format!("--ratio:{:.4};", self.ratio);
        html! {
            section style={ (ratio) (self.style) } {
                h2 { (self.name) }
                div.stage {
                    div.view role="img" aria-label=(self.caption) {}
                    p.caption lang="und" { (self.sentence(method)) }
                }
                ol.tiles { @for (index, word) in self.words.iter().enumerate() {
                    li {
                        div.tile style={ "--map:var(--map" (index) ")" } role="img" aria-label={ "where " (word.text) " stands" } {}
                        b lang="und" { (word.text) }
                        small { (strength(word, method)) }
                        @if let Some(fall) = fall(word) { small { (fall) } }
                    }
                } }
            }
        }
    }

    /// The caption, its words apart from what is between them.
    fn sentence(&self, method: Method) -> Markup {
        let mut rest = self.caption.as_str();
        let mut parts = Vec::new();
        for (index, word) in self.words.iter().enumerate() {
            if let Some(at) = rest.find(&word.text) {
                parts.push(html! { (rest[..at]) });
                rest = &rest[at + word.text.len()..];
            }
            parts.push(html! {
                span.word tabindex="0" style={ "--map:var(--map" (index) ")" } title=(strength(word, method)) {
                    (word.text) span.map {}
                }
            });
        }
        html! { @for part in parts { (part) } (rest) }
    }
}

/// How much a word stands on the part that it stands on most.
fn strength(word: &WordMap, method: Method) -> String {
    let most = word.values.iter().copied().fold(0.0, f32::max);
    let sure = 100.0 * word.log_prob.exp();
    match method {
        Method::Ablation if most < 0.01 => format!("{sure:.0} % sure, map below 0.01 nats"),
        Method::Ablation => format!("{sure:.0} % sure, map up to {most:.2} nats"),
        Method::Attention(_) => format!("{sure:.0} % sure, up to {:.1} % of the attention", 100.0 * most),
    }
}

/// How far a word's probability falls without the strip that it needs most, where that is known.
fn fall(word: &WordMap) -> Option<String> {
    let most_lost = word.most_lost?;
    if most_lost <= 0.0 {
        return Some("no less likely without any strip".to_owned());
    }
    let [whole, without] = [word.log_prob, word.log_prob - most_lost].map(|log_prob| 100.0 * log_prob.exp());
    Some(format!("{whole:.0} % → {without:.0} % without the strip that it needs most"))
}

impl ExplanationPage {
    /// The whole document.
    pub fn render(&self) -> String {
        let what = match self.method {
            Method::Ablation => {
                "A word stands on the parts of the picture without which the model would be less sure of it. These parts are bright; \
                 the rest is veiled. Below each word is the largest value of its map, in nats: what it loses there, less half of what \
                 other words lose, and less where the model looks less. Then how far its probability falls without the strip of the picture that it needs \
                 most."
            }
            Method::Attention(_) => {
                "Bright are the parts of the picture that the model looks at while it writes a word; the rest is veiled."
            }
        };
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
                    header { h1 { (self.title) } p { (what) } p { "Point at a word of a caption, or reach it with the Tab key." } }
                    main { @for picture in &self.pictures { (picture.section(self.method)) } }
                }
            }
        }
        .into_string()
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --mark: #c2410c; }
body { font: 15px/1.5 system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif; margin: 0 auto; max-width: 1180px; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: .85rem; font-weight: 400; opacity: .7; margin: 0 0 .6rem; overflow-wrap: anywhere; }
header p { margin: .3rem 0 0; max-width: 72ch; opacity: .8; }
section { border-top: 1px solid var(--line); margin-top: 1.5rem; padding-top: 1rem; }
section { display: grid; grid-template-columns: minmax(260px, 400px) 1fr; column-gap: 2rem; align-items: start; }
h2 { grid-column: 1 / -1; }
.stage { position: relative; max-width: 440px; }
.view, .map, .tile { aspect-ratio: var(--ratio); border-radius: 6px; background-size: 100% 100%; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.view { background-image: var(--picture); }
.map { position: absolute; inset: 0 0 auto 0; background-image: var(--map); opacity: 0; transition: opacity .12s; pointer-events: none; }
.caption { font-size: 1.35rem; line-height: 1.9; margin: .6rem 0 0; overflow-wrap: anywhere; }
.word { border-bottom: 2px solid var(--line); border-radius: 4px 4px 0 0; padding: .1em .12em; margin: 0 .06em; cursor: default; outline: none; display: inline-block; line-height: 1.5; }
.word:hover, .word:focus { background: var(--mark); border-color: var(--mark); color: #fff; }
.word:hover > .map, .word:focus > .map { opacity: 1; }
.stage:has(.word:hover) .word:not(:hover):focus > .map { opacity: 0; }
.tiles { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); gap: .9rem; }
.tiles li { min-width: 0; } .tiles b, .tiles small { display: block; overflow-wrap: anywhere; line-height: 1.35; } .tiles b { margin-top: .3rem; font-weight: 600; }
.tiles small { opacity: .65; font-size: .74rem; font-variant-numeric: tabular-nums; }
.tile { background-image: var(--map), var(--picture); }
@media (max-width: 760px) { section { grid-template-columns: 1fr; row-gap: 1rem; } .tiles { grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); } }
@media (prefers-reduced-motion: reduce) { .map { transition: none; } }
";

#[cfg(test)]
mod tests {
    use mplug::explain::Heads;

    use super::*;

    fn word(text: &str, values: [f32; 4]) -> WordMap {
        WordMap {
            text: text.to_owned(),
            tokens: 0..1,
            log_prob: -0.5,
            most_lost: None,
            values: values.to_vec(),
        }
    }

    fn page(method: Method) -> String {
        let words = vec![
            word("红色", [0.0, 1.5, 0.0, 0.0]),
            word("<b>", [0.0; 4]),
            word("猫", [0.25, 0.0, 0.0, 0.0]),
        ];
        let explanation = Explanation { grid: 2, words };
        let image = RgbImage::new(40, 20);
        let caption = "红色，<b>猫。".to_owned();
        let picture = ExplainedPicture::new("a&b.png".to_owned(), &image, caption, &explanation).unwrap();
        ExplanationPage { title: "t".to_owned(), method, pictures: vec![picture] }.render()
    }

    #[test]
    fn words_carry_their_maps_and_all_is_escaped() {
        let html = page(Method::Ablation);
        assert_eq!(html.matches("class=\"word\" tabindex=\"0\"").count(), 3);
        assert_eq!(html.matches("<li>").count(), 3);
        assert!(html.contains("a&amp;b.png") && html.contains("&lt;b&gt;") && !html.contains("<b>猫"));
        assert!(html.contains("--ratio:2.0000") && html.contains("--map2:url(data:image/png;base64,"));
        assert!(
            html.contains("，<span class=\"word\"") && html.contains("</span>。</p>"),
            "what is between words stays"
        );
        assert!(html.contains("61 % sure, map up to 1.50 nats"));
        assert!(page(Method::Attention(Heads::Mean)).contains("up to 150.0 % of the attention"));
    }

    #[test]
    fn a_word_says_how_far_its_probability_falls() {
        let fall_of = |most_lost| fall(&WordMap { most_lost, log_prob: -0.0726, ..word("a", [0.0; 4]) });
        assert_eq!(fall_of(Some(2.048)).as_deref(), Some("93 % → 12 % without the strip that it needs most"));
        assert_eq!(fall_of(Some(-0.5)).as_deref(), Some("no less likely without any strip"));
        assert_eq!(fall_of(None), None, "attention leaves nothing out");
        let words = vec![WordMap { most_lost: Some(9.0), ..word("a", [1.0; 4]) }];
        let explanation = Explanation { grid: 2, words };
        let picture =
            ExplainedPicture::new("p".to_owned(), &RgbImage::new(2, 2), "a".to_owned(), &explanation)
                .unwrap();
        assert!(picture.section(Method::Ablation).into_string().contains("61 % → 0 % without the strip"));
    }

    #[test]
    fn nothing_is_fetched_and_no_script_runs() {
        let html = page(Method::Ablation);
        assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("<script"));
    }
}
