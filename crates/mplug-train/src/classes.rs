//! Figures of kinds of examples in an evaluation: which scenes, which questions, how long references. Judges nothing itself.

use std::collections::BTreeMap;

use mplug_eval::run_history::ClassFigure;

/// Kinds of one division that are kept; the smallest of more become one.
const CLASSES: usize = 12;
/// What the smallest kinds together are called.
const OTHERS: &str = "others";

/// A kind of examples: what divides them, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// What the kinds divide by: `scene`, `question`.
    pub by: &'static str,
    /// The kind.
    pub class: String,
}

/// The scores of examples, by kind. Memory grows with the number of kinds alone.
#[derive(Clone, Debug, Default)]
pub struct ByClass {
    /// Examples and the sum of their scores.
    found: BTreeMap<(&'static str, Class), (u64, f64)>,
}

impl ByClass {
    /// Adds one example's score of the figure of that name.
    pub fn add(&mut self, figure: &'static str, class: Class, score: f64) {
        let (examples, sum) = self.found.entry((figure, class)).or_default();
        *examples += 1;
        *sum += score;
    }

    /// Adds a score to the kinds by the length of references in tokens.
    pub fn add_length(&mut self, figure: &'static str, tokens: f64, score: f64) {
        let class = match tokens {
            tokens if tokens <= 6.0 => "to 6 tokens",
            tokens if tokens <= 10.0 => "to 10 tokens",
            tokens if tokens <= 15.0 => "to 15 tokens",
            _ => "more tokens",
        };
        self.add(figure, Class { by: "reference length", class: class.to_owned() }, score);
    }

    /// The means, by figure and division, the worst kinds first.
    pub fn figures(&self) -> Vec<ClassFigure> {
        // By figure and division: kind, examples, sum of scores.
        type Kinds<'k> = Vec<(&'k str, u64, f64)>;
        let mut divisions: BTreeMap<(&str, &str), Kinds<'_>> = BTreeMap::new();
        for ((figure, class), (examples, sum)) in &self.found {
            let kinds = divisions.entry((figure, class.by)).or_default();
            kinds.push((&class.class, *examples, *sum));
        }
        let mut figures = Vec::new();
        for ((figure, by), mut kinds) in divisions {
            kinds.sort_by_key(|(_, examples, _)| std::cmp::Reverse(*examples));
            if kinds.len() > CLASSES {
                let others = kinds.split_off(CLASSES - 1);
                let (examples, sum) = others.iter().fold((0, 0.0), |(n, sum), one| (n + one.1, sum + one.2));
                kinds.push((OTHERS, examples, sum));
            }
            let mean = |(class, examples, sum): (&str, u64, f64)| ClassFigure {
                by: by.to_owned(),
                class: class.to_owned(),
                examples,
                score: sum / examples as f64,
                figure: figure.to_owned(),
            };
            let mut means: Vec<ClassFigure> = kinds.into_iter().map(mean).collect();
            means.sort_by(|a, b| a.score.total_cmp(&b.score));
            figures.extend(means);
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_means_by_kind_the_worst_first_and_small_kinds_are_joined() {
        let mut found = ByClass::default();
        for (class, score) in [("colour", 1.0), ("colour", 0.0), ("count", 0.0), ("kind", 1.0)] {
            found.add("accuracy", Class { by: "question", class: class.to_owned() }, score);
        }
        let shown = |found: &ByClass| {
            let figures = found.figures().into_iter();
            figures.map(|one| (one.class, one.examples, one.score)).collect::<Vec<_>>()
        };
        let of = |class: &str, examples, score| (class.to_owned(), examples, score);
        assert_eq!(shown(&found), [of("count", 1, 0.0), of("colour", 2, 0.5), of("kind", 1, 1.0)]);
        let mut many = ByClass::default();
        for class in 0..100 {
            many.add("accuracy", Class { by: "question", class: class.to_string() }, 1.0);
        }
        let shown = shown(&many);
        assert_eq!(shown.len(), CLASSES);
        assert!(shown.contains(&of(OTHERS, 89, 1.0)), "{shown:?}");
    }

    #[test]
    fn captions_without_a_judge_are_divided_by_length() {
        let mut found = ByClass::default();
        for (tokens, score) in [(5.0, 2.0), (6.0, 4.0), (6.5, 1.0), (30.0, 0.5)] {
            found.add_length("cider", tokens, score);
        }
        let figures = found.figures();
        let classes: Vec<(&str, f64)> = figures.iter().map(|one| (&one.class[..], one.score)).collect();
        assert_eq!(classes, [("more tokens", 0.5), ("to 10 tokens", 1.0), ("to 6 tokens", 3.0)]);
    }
}
