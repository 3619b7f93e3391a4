//! What two results on the same pictures have in common and where they differ.

use std::path::Path;

use caption_metrics::corpus::Corpus;
use caption_metrics::rouge_l::rouge_l;
use caption_metrics::tokenize::Tokenization;
use serde::Serialize;
use serde_json::{Map, Value};

use super::bootstrap::{Bootstrap, bootstrap};
use super::measures::{Measure, Measures};
use super::pairs::Paired;
use super::problem::CompareProblem;
use super::results::{Item, Kind, Results, ResultsFile};
use super::{ComparePlan, Comparison, VERSION};
use crate::error::EvalError;
use crate::thumbnail;

/// The key of the difference of captions without scores.
const TEXT_DIFFERENCE: &str = "text_difference";
/// Facts of two reports without which their figures cannot be compared.
const MUST_AGREE: [&str; 7] =
    ["tokenization", "images", "references", "questions", "texts", "synth_seed", "count"];

/// Two results, `a` and `b`.
#[derive(Debug, Serialize)]
pub struct ResultComparison {
    /// Version of this form.
    pub version: u32,
    /// The first file.
    pub a: String,
    /// The second file.
    pub b: String,
    /// Pictures (or questions) that both have; none for reports.
    pub pictures: usize,
    /// Pictures without a caption in one of the two; they are left out.
    pub left_out: usize,
    /// Pictures about which both have the same text.
    pub equal_texts: usize,
    /// How captions became tokens, where it could be found out.
    pub tokenization: Option<&'static str>,
    /// Resamples of the paired bootstrap; 0 where there was none.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
    /// The figures that both have.
    pub figures: Vec<FigureDifference>,
    /// The keys of figures that one of the two has alone.
    pub not_in_both: Vec<String>,
    /// The key of the figure by which pictures differ most.
    pub by: Option<String>,
    /// The pictures that differ most, those first.
    pub most_different: Vec<Different>,
    /// What a reader of the figures should know.
    pub notes: Vec<String>,
}

/// A figure of both.
#[derive(Clone, Debug, Serialize)]
pub struct FigureDifference {
    /// Its key in reports.
    pub key: String,
    /// Of the first.
    pub a: f64,
    /// Of the second.
    pub b: f64,
    /// `b - a`.
    pub difference: f64,
    /// How many pictures (or questions) it is of; none for reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<usize>,
    /// What the resamples found; none for reports, which have no pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// What a reader should know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A picture on which both differ.
#[derive(Debug, Serialize)]
pub struct Different {
    /// Its id.
    pub id: String,
    /// Its file name or path, if the files have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was asked, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// What the first says.
    pub a: Said,
    /// What the second says.
    pub b: Said,
    /// By how much the score of the second is higher; of captions without scores, how different they are, 0 to 1.
    pub difference: f64,
    /// What people say.
    pub references: Vec<String>,
    /// The picture as a `data:` address, or why there is none.
    #[serde(skip)]
    pub picture: Result<String, String>,
}

/// A text with its score.
#[derive(Debug, Serialize)]
pub struct Said {
    /// The text.
    pub text: String,
    /// Its score, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

impl ResultsFile {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Items(results) => results.kind.name(),
            Self::Report(_) => "a report of figures",
        }
    }
}

impl ResultComparison {
    /// Compares picture by picture.
    pub(super) fn of_items(a: Results, b: Results, plan: &ComparePlan) -> Result<Comparison, EvalError> {
        let paths = [a.path.clone(), b.path.clone()];
        let keys = [&a.items, &b.items].map(|items| keys_of(items));
        let paired = Paired::of(a, b)?;
        let mut found = Self::new([&paths[0], &paths[1]]);
        found.left_out = paired.failed;
        found.pictures = paired.items[0].len();
        if found.pictures == 0 {
            found.notes.push("no picture has a caption in both".to_owned());
        }
        found.equal_texts = items(&paired).filter(|(a, b)| a.text == b.text).count();
        found.not_in_both = keys[0].iter().filter(|key| !keys[1].contains(key)).cloned().collect();
        found.not_in_both.extend(keys[1].iter().filter(|key| !keys[0].contains(key)).cloned());
        match paired.kind {
            Kind::Captions => {
                let both: Vec<String> = keys[0].iter().filter(|key| keys[1].contains(key)).cloned().collect();
                if both.is_empty() {
                    let [found_a, found_b] = keys.map(|keys| keys.join(", "));
                    let [a, b] = paths;
                    return Err(CompareProblem::NoFigures { a, b, found_a, found_b }.into());
                }
                found.add_captions(&paired, &both, plan, paths)?;
            }
            Kind::Answers => found.add_answers(&paired, plan)?,
            Kind::Texts => found.add_texts(&paired, plan)?,
        }
        Ok(Comparison::Results(Box::new(found)))
    }

    fn new([a, b]: [&Path; 2]) -> Self {
        Self {
            version: VERSION,
            a: a.display().to_string(),
            b: b.display().to_string(),
            pictures: 0,
            left_out: 0,
            equal_texts: 0,
            tokenization: None,
            resamples: 0,
            seed: 0,
            figures: Vec::new(),
            not_in_both: Vec::new(),
            by: None,
            most_different: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn add_captions(
        &mut self,
        paired: &Paired,
        keys: &[String],
        plan: &ComparePlan,
        [path_a, path_b]: [std::path::PathBuf; 2],
    ) -> Result<(), EvalError> {
        let found = Measures::of_captions([&paired.items[0], &paired.items[1]], keys);
        if let [Some(a), Some(b)] = found.tokenizations {
            if a != b {
                let (found_a, found_b) = (a.name().to_owned(), b.name().to_owned());
                let what = "tokenization";
                return Err(CompareProblem::Differs { a: path_a, b: path_b, what, found_a, found_b }.into());
            }
            self.tokenization = Some(a.name());
        }
        self.add_measures(&found, plan);
        // As the files have them, whatever they are computed from.
        self.figures.sort_by_key(|figure| keys.iter().position(|key| *key == figure.key));
        let by = chosen(plan, keys, "cider")?;
        let measure = found.all.iter().find(|measure| measure.key == by).expect("it is one of them");
        let scores = measure.scores.clone();
        self.add_most_different(paired, &by, plan, |index| {
            let [a, b] = scores.each_ref().map(|scores| scores[index]);
            (b - a, [Some(a), Some(b)])
        });
        Ok(())
    }

    fn add_answers(&mut self, paired: &Paired, plan: &ComparePlan) -> Result<(), EvalError> {
        let [a, b] = &paired.items;
        for (key, has_people) in [("vqa_accuracy", true), ("soft_score", false)] {
            let of_kind: Vec<usize> =
                (0..a.len()).filter(|index| a[*index].has_people == has_people).collect();
            if !of_kind.is_empty() {
                let [a, b] =
                    [a, b].map(|items| of_kind.iter().map(|index| items[*index].clone()).collect::<Vec<_>>());
                self.add_measures(&Measures::of_answers(key, [&a, &b]), plan);
            }
        }
        let by = chosen(plan, &["score".to_owned()], "score")?;
        self.add_most_different(paired, &by, plan, |index| {
            let [a, b] = [a, b].map(|items| items[index].score("score"));
            (b.unwrap_or_default() - a.unwrap_or_default(), [a, b])
        });
        Ok(())
    }

    /// Captions that nothing is known of but what they say: they differ by how little of one is in the other.
    fn add_texts(&mut self, paired: &Paired, plan: &ComparePlan) -> Result<(), EvalError> {
        let [a, b] = &paired.items;
        let suited = Tokenization::suited_to(a.iter().map(|item| item.text.as_str()));
        let texts = |items: &[Item]| items.iter().map(|item| item.text.clone()).collect::<Vec<_>>();
        let written = suited.tokenize(&texts(a))?;
        let against: Vec<Vec<String>> =
            suited.tokenize(&texts(b))?.into_iter().map(|text| vec![text]).collect();
        let similar = rouge_l(&Corpus::new(&written, &against)?).images;
        let is_equal = |index: usize| a[index].text == b[index].text;
        self.tokenization = Some(suited.name());
        self.notes.push(
            "captions without scores: they differ by 1 - ROUGE-L of one against the other, which says nothing of which is better"
                .to_owned(),
        );
        let mean = |items: &[Item]| {
            items.iter().map(|item| item.text.chars().count()).sum::<usize>() as f64
                / items.len().max(1) as f64
        };
        self.figures.push(FigureDifference::of("characters", [mean(a), mean(b)]));
        let by = chosen(plan, &[TEXT_DIFFERENCE.to_owned()], TEXT_DIFFERENCE)?;
        self.add_most_different(paired, &by, plan, |index| {
            (if is_equal(index) { 0.0 } else { 1.0 - similar[index] }, [None, None])
        });
        Ok(())
    }

    fn add_measures(&mut self, found: &Measures, plan: &ComparePlan) {
        let pictures = found.all.first().map_or(0, |measure| measure.scores[0].len());
        (self.resamples, self.seed) = (plan.resamples, plan.seed);
        let resampled = bootstrap(&found.paired, pictures, plan.resamples, plan.seed);
        for (measure, bootstrap) in found.all.iter().zip(resampled) {
            let Measure { key, a, b, note, .. } = measure;
            let figure = FigureDifference::of(key, [*a, *b]);
            let (pictures, bootstrap, note) = (Some(pictures), Some(bootstrap), note.clone());
            self.figures.push(FigureDifference { pictures, bootstrap, note, ..figure });
        }
    }

    /// The pictures with the largest differences, by what `difference` gives: the difference and both scores.
    fn add_most_different(
        &mut self,
        paired: &Paired,
        by: &str,
        plan: &ComparePlan,
        difference: impl Fn(usize) -> (f64, [Option<f64>; 2]),
    ) {
        let found: Vec<(f64, [Option<f64>; 2])> = (0..paired.items[0].len()).map(difference).collect();
        let mut order: Vec<usize> = (0..found.len()).filter(|index| found[*index].0 != 0.0).collect();
        order.sort_by(|x, y| found[*y].0.abs().total_cmp(&found[*x].0.abs()));
        self.by = Some(by.to_owned());
        self.most_different = order
            .into_iter()
            .take(plan.shown)
            .map(|index| {
                let [a, b] = paired.items.each_ref().map(|items| &items[index]);
                let (difference, [score_a, score_b]) = found[index];
                let name = a.name.clone().or_else(|| b.name.clone());
                Different {
                    id: a.id.clone(),
                    picture: picture(name.as_deref().unwrap_or(&a.id), plan.images.as_deref()),
                    name,
                    question: a.question.clone(),
                    a: Said { text: a.text.clone(), score: score_a },
                    b: Said { text: b.text.clone(), score: score_b },
                    difference,
                    references: a.references.clone(),
                }
            })
            .collect();
    }

    /// Compares the figures of two reports, which say nothing of single pictures.
    pub(super) fn of_reports(
        paths: [&Path; 2],
        reports: [Map<String, Value>; 2],
    ) -> Result<Comparison, EvalError> {
        for what in MUST_AGREE {
            let [found_a, found_b] = reports.each_ref().map(|report| report.get(what).map(Value::to_string));
            if found_a != found_b {
                let shown = |found: Option<String>| found.unwrap_or_else(|| "none".to_owned());
                let [a, b] = paths.map(Path::to_owned);
                let (found_a, found_b) = (shown(found_a), shown(found_b));
                return Err(CompareProblem::Differs { a, b, what, found_a, found_b }.into());
            }
        }
        let figures = reports.map(|report| numbers(&report));
        let mut found = Self::new(paths);
        for (key, a) in &figures[0] {
            match figures[1].iter().find(|(other, _)| other == key) {
                Some((_, b)) => found.figures.push(FigureDifference::of(key, [*a, *b])),
                None => found.not_in_both.push(key.clone()),
            }
        }
        let is_new = |key: &&String| !figures[0].iter().any(|(other, _)| other == *key);
        found.not_in_both.extend(figures[1].iter().map(|(key, _)| key).filter(is_new).cloned());
        if found.figures.is_empty() {
            let [found_a, found_b] = figures.map(|figures| {
                let keys: Vec<String> = figures.into_iter().map(|(key, _)| key).collect();
                keys.join(", ")
            });
            let [a, b] = paths.map(Path::to_owned);
            return Err(CompareProblem::NoFigures { a, b, found_a, found_b }.into());
        }
        found.notes.push(
            "reports have no scores of single pictures: whether a difference could be an accident is not computed".to_owned(),
        );
        Ok(Comparison::Results(Box::new(found)))
    }
}

impl FigureDifference {
    fn of(key: &str, [a, b]: [f64; 2]) -> Self {
        Self { key: key.to_owned(), a, b, difference: b - a, pictures: None, bootstrap: None, note: None }
    }
}

fn items(paired: &Paired) -> impl Iterator<Item = (&Item, &Item)> {
    paired.items[0].iter().zip(&paired.items[1])
}

/// The keys of the scores that every item has, in the order of the first.
fn keys_of(items: &[Item]) -> Vec<String> {
    let first = items.iter().take(1).flat_map(|item| item.scores.keys());
    first.filter(|key| items.iter().all(|item| item.score(key).is_some())).cloned().collect()
}

/// The figure by which pictures are ordered.
fn chosen(plan: &ComparePlan, keys: &[String], usual: &str) -> Result<String, CompareProblem> {
    let known = |key: &str| keys.iter().any(|other| other == key);
    match &plan.by {
        Some(key) if known(key) => Ok(key.clone()),
        Some(key) => Err(CompareProblem::UnknownFigure { key: key.clone(), known: keys.join(", ") }),
        None if known(usual) => Ok(usual.to_owned()),
        None => Ok(keys.first().cloned().unwrap_or_default()),
    }
}

/// The numbers of a report by the path of their keys, those aside that say what was evaluated.
fn numbers(report: &Map<String, Value>) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    for (key, value) in report {
        let is_fact = ["version", "failed", "rerank", "domains", "judged", "right"].contains(&&key[..])
            || MUST_AGREE.contains(&&key[..]);
        match value {
            Value::Number(number) if !is_fact => {
                found.extend(number.as_f64().map(|number| (key.clone(), number)));
            }
            Value::Object(inner) if !is_fact => {
                let inner = numbers(inner).into_iter();
                found.extend(inner.map(|(name, number)| {
                    (if key == "scores" { name } else { format!("{key}.{name}") }, number)
                }));
            }
            _ => {}
        }
    }
    found
}

/// A picture by its name, below the folder of pictures or where the name itself leads.
fn picture(name: &str, images: Option<&Path>) -> Result<String, String> {
    let below = images.map(|folder| folder.join(name)).filter(|path| path.is_file());
    let path = below.unwrap_or_else(|| Path::new(name).to_owned());
    if !path.is_file() {
        return Err("no picture of that name was found".to_owned());
    }
    let image =
        mplug::preprocess::image::load_image(&path, &mplug::preprocess::image::ImageLimits::default());
    let image = image.map_err(|error| error.to_string())?;
    thumbnail::data_address(&image).map_err(|error| error.to_string())
}
