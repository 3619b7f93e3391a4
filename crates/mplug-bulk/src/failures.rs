//! The inputs of a run that failed, counted by reason.

use std::collections::{BTreeMap, BTreeSet};

use mplug_data::message::one_line;

use crate::answer::Answer;

/// Different reasons that are counted one by one.
const MOST_REASONS: usize = 20;

/// The inputs that failed.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// How many.
    pub(crate) count: usize,
    reasons: BTreeMap<String, usize>,
}

impl Failures {
    /// Counts an answer that is a failure, in whatever number of languages: an input counts once, and so does each of its reasons.
    pub(crate) fn count(&mut self, answer: &Answer) {
        let reasons: BTreeSet<&str> = answer.failures().map(|(_, failure)| failure.reason.as_str()).collect();
        self.count += usize::from(!reasons.is_empty());
        for reason in reasons {
            self.count_reason(reason);
        }
    }

    fn count_reason(&mut self, reason: &str) {
        let is_new = !self.reasons.contains_key(reason);
        let reason = if is_new && self.reasons.len() == MOST_REASONS { "other reasons" } else { reason };
        *self.reasons.entry(one_line(reason)).or_default() += 1;
    }

    /// Each reason with its number of inputs, the most frequent first.
    pub(crate) fn reasons(self) -> Vec<(String, usize)> {
        let mut reasons: Vec<(String, usize)> = self.reasons.into_iter().collect();
        reasons.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use mplug_data::picture::Failure;

    use super::*;
    use crate::answer::Found;

    #[test]
    fn reasons_are_counted_the_most_frequent_first() {
        let mut failures = Failures::default();
        for reason in ["b", "a", "b", "c"] {
            failures.count(&Answer::failed(Failure::lasting(reason)));
        }
        let found = |reason| Found { language: None, captions: Err(Failure::lasting(reason)) };
        failures.count(&Answer::new(vec![found("c"), found("c")]));
        assert_eq!(failures.count, 5);
        let expected = [("b", 2), ("c", 2), ("a", 1)].map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(failures.reasons(), expected);
    }
}
