//! The inputs of a run that failed, counted by reason.

use std::collections::BTreeMap;

use mplug_data::message::one_line;

use crate::pipeline::Answer;

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
    /// Counts an answer that is a failure.
    pub(crate) fn count(&mut self, answer: &Answer) {
        let Err(failure) = answer else { return };
        self.count += 1;
        let reason = &failure.reason;
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

    #[test]
    fn reasons_are_counted_the_most_frequent_first() {
        let mut failures = Failures::default();
        for reason in ["b", "a", "b", "c"] {
            failures.count(&Err(Failure::lasting(reason)));
        }
        assert_eq!(failures.count, 4);
        let expected = [("b", 2), ("a", 1), ("c", 1)].map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(failures.reasons(), expected);
    }
}
