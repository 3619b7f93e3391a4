//! Adds verdicts up: how many captions were true, and which part was wrong where not.
//!
//! Our own measure, for drawn pictures only. This file refuses to know how a verdict came about.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::check::Verdict;
use super::scene::Family;

/// How often something was right among the texts that were judged: a part among the captions that spoke of it, an answer. In JSON also `share`, 0 to 1 (null without any).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Texts judged.
    pub judged: usize,
    /// Of these, right.
    pub right: usize,
}

impl Share {
    /// `right / judged`; `None` where nothing was judged.
    pub fn share(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.right as f64 / self.judged as f64)
    }

    /// Counts one; `None` is not judged.
    pub fn add(&mut self, part: Option<bool>) {
        if let Some(is_right) = part {
            self.judged += 1;
            self.right += usize::from(is_right);
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Share", 3)?;
        object.serialize_field("judged", &self.judged)?;
        object.serialize_field("right", &self.right)?;
        object.serialize_field("share", &self.share())?;
        object.end()
    }
}

/// The verdicts of one family of scenes, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FamilyTruth {
    /// Understood, complete, and nothing false.
    pub fully_true: Share,
    /// A sentence of the caption language.
    pub understood: Share,
    /// Mentions every main object (of those understood).
    pub complete: Share,
    /// Every named thing is there.
    pub kind: Share,
    /// Every named colour is right.
    pub colour: Share,
    /// Every named number is right.
    pub count: Share,
    /// The named relation holds.
    pub relation: Share,
    /// The named place is right.
    pub place: Share,
}

impl FamilyTruth {
    fn add(&mut self, verdict: Verdict) {
        self.fully_true.add(Some(verdict.is_true()));
        self.understood.add(Some(verdict.understood));
        self.complete.add(verdict.understood.then_some(verdict.complete));
        self.kind.add(verdict.kind);
        self.colour.add(verdict.colour);
        self.count.add(verdict.count);
        self.relation.add(verdict.relation);
        self.place.add(verdict.place);
    }
}

/// The truth of a model's captions over many drawn pictures. Serialises to JSON as
/// `{"all": {"fully_true": {"judged", "right", "share"}, …}, "families": {"counts": {…}, …}}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TruthReport {
    /// Over all pictures.
    pub all: FamilyTruth,
    /// For each family that was seen.
    pub families: BTreeMap<Family, FamilyTruth>,
}

impl TruthReport {
    /// Adds one picture's verdict.
    pub fn add(&mut self, family: Family, verdict: Verdict) {
        self.all.add(verdict);
        self.families.entry(family).or_default().add(verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_by_part_and_family() {
        let right = Verdict { understood: true, complete: true, kind: Some(true), ..Verdict::default() };
        let wrong = Verdict { colour: Some(false), ..right };
        let mut report = TruthReport::default();
        report.add(Family::Counts, right);
        report.add(Family::Counts, wrong);
        report.add(Family::Above, Verdict::default());
        let json = serde_json::to_value(&report).expect("plain data");
        assert_eq!(json["all"]["fully_true"]["judged"], 3);
        assert_eq!(json["all"]["kind"]["share"], 1.0);
        assert_eq!(json["all"]["colour"]["share"], 0.0);
        assert_eq!(json["all"]["relation"]["share"], serde_json::Value::Null);
        assert_eq!(json["families"]["counts"]["fully_true"]["share"], 0.5);
        assert_eq!(json["families"]["above"]["understood"]["right"], 0);
    }
}
