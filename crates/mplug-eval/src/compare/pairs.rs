//! Two results of the same pictures, side by side.

use std::collections::{HashMap, HashSet};

use mplug_data::message::one_line;

use super::problem::CompareProblem;
use super::results::{Item, Kind, Results};

/// Ids that an error names before it says how many more there are.
const NAMED: usize = 5;

/// Two results in one order of pictures, that of the first.
#[derive(Debug)]
pub(super) struct Paired {
    pub(super) kind: Kind,
    pub(super) items: [Vec<Item>; 2],
    /// Pictures without a caption in one of the two; they are left out.
    pub(super) failed: usize,
}

impl Paired {
    /// Pairs what is of the same picture.
    pub(super) fn of(a: Results, b: Results) -> Result<Self, CompareProblem> {
        if a.kind != b.kind {
            let (found_a, found_b) = (a.kind.name(), b.kind.name());
            return Err(CompareProblem::Kinds { a: a.path, b: b.path, found_a, found_b });
        }
        let place_in_b: HashMap<&str, usize> =
            b.items.iter().enumerate().map(|(index, item)| (item.id.as_str(), index)).collect();
        let in_a: HashSet<&str> = a.items.iter().map(|item| item.id.as_str()).collect();
        let failed: [HashSet<&String>; 2] = [&a, &b].map(|results| results.failed.iter().collect());
        let only = |items: &[Item], is_there: &dyn Fn(&str) -> bool, failed: &HashSet<&String>| {
            let only = items.iter().map(|item| &item.id);
            only.filter(|id| !is_there(id) && !failed.contains(id)).cloned().collect::<Vec<String>>()
        };
        let only_a = only(&a.items, &|id| place_in_b.contains_key(id), &failed[1]);
        let only_b = only(&b.items, &|id| in_a.contains(id), &failed[0]);
        if !only_a.is_empty() || !only_b.is_empty() {
            let first = list(&[&only_a[..], &only_b].concat());
            let (only_a, only_b) = (only_a.len(), only_b.len());
            return Err(CompareProblem::Pictures { a: a.path, b: b.path, only_a, only_b, first });
        }
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        for item in &a.items {
            if let Some(place) = place_in_b.get(item.id.as_str()) {
                of_a.push(item.clone());
                of_b.push(b.items[*place].clone());
            }
        }
        let differ = of_a.iter().zip(&of_b);
        let differ = differ.filter(|(a, b)| a.references != b.references || a.question != b.question);
        let differ: Vec<String> = differ.map(|(a, _)| a.id.clone()).collect();
        if !differ.is_empty() {
            let (count, first) = (differ.len(), list(&differ));
            return Err(CompareProblem::References { a: a.path, b: b.path, count, first });
        }
        let left_out = failed[0].union(&failed[1]).count();
        Ok(Self { kind: a.kind, failed: left_out, items: [of_a, of_b] })
    }
}

/// The first few ids, and how many more there are.
fn list(ids: &[String]) -> String {
    let named: Vec<String> = ids.iter().take(NAMED).map(|id| one_line(id)).collect();
    let more = ids.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::results::{ResultsFile, parse};
    use super::*;

    fn results(name: &str, text: &str) -> Results {
        match parse(Path::new(name), text) {
            Ok(ResultsFile::Items(results)) => results,
            other => panic!("{other:?}"),
        }
    }

    fn line(id: u32, reference: &str) -> String {
        format!(
            "{{\"image_id\":{id},\"candidate\":\"x{id}\",\"references\":[\"{reference}\"],\"scores\":{{\"cider\":1}}}}\n"
        )
    }

    #[test]
    fn pictures_come_in_the_order_of_the_first() {
        let a = results("a", &[line(1, "r"), line(2, "r")].concat());
        let b = results("b", &[line(2, "r"), line(1, "r")].concat());
        let paired = Paired::of(a, b).unwrap();
        let ids = |items: &[Item]| items.iter().map(|item| item.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&paired.items[0]), ids(&paired.items[1])),
            (ids(&paired.items[1]), ids(&paired.items[0]))
        );
        assert_eq!(ids(&paired.items[0]), ["1", "2"]);
    }

    #[test]
    fn other_pictures_other_references_and_other_kinds_are_named() {
        let a = || results("a", &[line(1, "r"), line(2, "r")].concat());
        let error = |b: Results| Paired::of(a(), b).unwrap_err().to_string();
        let fewer = error(results("b", &line(2, "r")));
        assert!(fewer.contains("found 1 in a alone and 0 in b alone: 1"), "{fewer}");
        let other = error(results("b", &[line(1, "r"), line(2, "s")].concat()));
        assert!(
            other.contains("expected the same references") && other.ends_with("1 pictures in b than in a: 2"),
            "{other}"
        );
        let texts = error(results("b", "{\"path\":\"1\",\"caption\":\"x\"}"));
        assert!(
            texts.contains("found captions with scores in a and captions without scores in b"),
            "{texts}"
        );
    }

    #[test]
    fn what_failed_in_one_is_left_out() {
        let a = results("a", "{\"path\":\"1\",\"caption\":\"x\"}\n{\"path\":\"2\",\"error\":\"no\"}");
        let b = results("b", "{\"path\":\"1\",\"caption\":\"x\"}\n{\"path\":\"2\",\"caption\":\"y\"}");
        let paired = Paired::of(a, b).unwrap();
        assert_eq!((paired.items[0].len(), paired.failed), (1, 1));
    }
}
