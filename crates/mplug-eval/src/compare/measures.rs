//! From two results of the same pictures to what the bootstrap resamples: figures, with the sums that they are computed from. BLEU and
//! METEOR are not means of the pictures' scores, so their counts are taken from the captions again, and kept only if they give the
//! very scores that the files have.

use caption_metrics::bleu::{Counts, counts};
use caption_metrics::corpus::Corpus;
use caption_metrics::meteor::{Meteor, MeteorData, Statistics};
use caption_metrics::tokenize::Tokenization;
use rayon::prelude::*;

use super::bootstrap::Paired;
use super::results::Item;

/// How near a score computed again must be to the file's.
const NEAR: f64 = 1e-9;
/// The keys of BLEU, by order.
const BLEU: [&str; 4] = ["bleu_1", "bleu_2", "bleu_3", "bleu_4"];
/// The key of METEOR without its data, which alone can be computed from captions.
const METEOR: &str = "meteor_exact_stem";

/// A figure of both systems.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    pub(super) key: String,
    pub(super) a: f64,
    pub(super) b: f64,
    /// Each picture's scores.
    pub(super) scores: [Vec<f64>; 2],
    /// What a reader should know of it.
    pub(super) note: Option<String>,
}

/// The figures of some pictures and what they are resampled from: each of `paired` gives one figure or, of BLEU, several, in the order of
/// `all`.
#[derive(Debug, Default)]
pub(super) struct Measures {
    pub(super) all: Vec<Measure>,
    pub(super) paired: Vec<Paired>,
    /// How the captions of each system became tokens, where it could be found out.
    pub(super) tokenizations: [Option<Tokenization>; 2],
}

/// The captions of one system as counts.
struct Counted {
    tokenization: Tokenization,
    bleu: Vec<Counts>,
    meteor: Option<Vec<Statistics>>,
}

impl Measures {
    /// The figures that every picture of both has; pictures are in the same order.
    pub(super) fn of_captions(both: [&[Item]; 2], keys: &[String]) -> Self {
        let counted = both.map(|items| Counted::of(items, keys.iter().any(|key| key == METEOR)));
        let tokenizations = counted.each_ref().map(|one| one.as_ref().map(|one| one.tokenization));
        let mut found = Self { tokenizations, ..Self::default() };
        let [a, b] = counted;
        let both_counted = a.zip(b).filter(|(a, b)| a.tokenization == b.tokenization);
        let (bleu, meteor) = match both_counted {
            Some((a, b)) => (Some([a.bleu, b.bleu]), a.meteor.zip(b.meteor).map(|(a, b)| [a, b])),
            None => (None, None),
        };
        if let Some(counts) = bleu {
            let orders: Vec<usize> =
                (0..BLEU.len()).filter(|order| keys.iter().any(|key| key == BLEU[*order])).collect();
            for order in &orders {
                let [a, b] = counts
                    .each_ref()
                    .map(|counts| counts.iter().fold(Counts::default(), Counts::plus).bleu()[*order]);
                found.all.push(Measure::new(BLEU[*order], [a, b], both));
            }
            if !orders.is_empty() {
                found.paired.push(Paired::Bleu { counts, orders });
            }
        }
        if let Some(statistics) = meteor {
            let [a, b] = statistics.each_ref().map(|statistics| {
                let mut sum = Statistics::default();
                for one in statistics {
                    sum.add(one);
                }
                sum.score()
            });
            found.all.push(Measure::new(METEOR, [a, b], both));
            found.paired.push(Paired::Meteor(statistics));
        }
        let known: Vec<String> = found.all.iter().map(|measure| measure.key.clone()).collect();
        for key in keys.iter().filter(|key| !known.contains(key)) {
            found.add_mean(key, both);
        }
        found
    }

    /// The mean score of questions.
    pub(super) fn of_answers(key: &str, both: [&[Item]; 2]) -> Self {
        let mut found = Self::default();
        found.add_mean("score", both);
        key.clone_into(&mut found.all[0].key);
        found
    }

    fn add_mean(&mut self, key: &str, both: [&[Item]; 2]) {
        let mut measure = Measure::new(key, [0.0; 2], both);
        let [a, b] =
            measure.scores.each_ref().map(|scores| scores.iter().sum::<f64>() / scores.len().max(1) as f64);
        (measure.a, measure.b) = (a, b);
        if key.starts_with("bleu_") || key.starts_with("meteor") {
            measure.note = Some(
                "the mean of the pictures' scores, not the figure of all pictures, whose counts are not in the files".to_owned(),
            );
        }
        let [a, b] = &measure.scores;
        self.paired.push(Paired::Mean(a.iter().zip(b).map(|(a, b)| b - a).collect()));
        self.all.push(measure);
    }
}

impl Measure {
    fn new(key: &str, [a, b]: [f64; 2], both: [&[Item]; 2]) -> Self {
        let scores = both.map(|items| items.iter().map(|item| item.score(key).unwrap_or(f64::NAN)).collect());
        Self { key: key.to_owned(), a, b, scores, note: None }
    }
}

impl Item {
    /// Its score of that key.
    pub(super) fn score(&self, key: &str) -> Option<f64> {
        self.scores.get(key)?.as_f64()
    }
}

impl Counted {
    /// The counts of captions, over those tokens that give the scores which the captions have; `None` if no tokens do.
    fn of(items: &[Item], wants_meteor: bool) -> Option<Self> {
        let orders: Vec<usize> = (0..BLEU.len())
            .filter(|order| items.iter().all(|item| item.score(BLEU[*order]).is_some()))
            .collect();
        if orders.is_empty() && !wants_meteor {
            return None;
        }
        let texts = || items.iter().flat_map(|item| item.references.iter().map(String::as_str));
        let suited = Tokenization::suited_to(texts());
        let all = [
            Tokenization::Ptb,
            Tokenization::Char,
            Tokenization::Jieba,
            Tokenization::Aic,
            Tokenization::None,
        ];
        let others = all.into_iter().filter(|other| *other != suited);
        std::iter::once(suited).chain(others).find_map(|tokenization| {
            let candidates: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
            let references: Vec<&Vec<String>> = items.iter().map(|item| &item.references).collect();
            let references: Vec<Vec<String>> = references.into_iter().cloned().collect();
            let candidates = tokenization.tokenize(&candidates).ok()?;
            let references = tokenization.tokenize_images(&references).ok()?;
            let bleu = counts(&Corpus::new(&candidates, &references).ok()?);
            let is_same = |(item, counts): (&Item, &Counts)| {
                let found = counts.bleu();
                orders.iter().all(|order| is_near(item.score(BLEU[*order]), found[*order]))
            };
            if !items.iter().zip(&bleu).all(is_same) {
                return None;
            }
            let meteor = wants_meteor.then(|| meteor_of(&candidates, &references)).filter(|statistics| {
                items.iter().zip(statistics).all(|(item, one)| is_near(item.score(METEOR), one.score()))
            });
            let is_proven = !orders.is_empty() || meteor.is_some();
            is_proven.then_some(Self { tokenization, bleu, meteor })
        })
    }
}

fn is_near(score: Option<f64>, found: f64) -> bool {
    score.is_some_and(|score| (score - found).abs() <= NEAR)
}

fn meteor_of(candidates: &[String], references: &[Vec<String>]) -> Vec<Statistics> {
    let data = MeteorData::without_resources();
    let meteor = Meteor::new(&data);
    let pictures = candidates.par_iter().zip(references);
    pictures
        .map(|(candidate, references)| {
            let references: Vec<&str> = references.iter().map(String::as_str).collect();
            meteor.score(candidate, &references)
        })
        .collect()
}
