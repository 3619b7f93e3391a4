//! Writes captions of a scene, Chinese and English, from a few shapes of sentence per family.
//!
//! Our own templates. Every caption states the scene's main facts in full, so that it can be judged; the words come
//! from `words`. This file refuses to know pixels.

use super::scene::{Colour, Family, Group, Kind, Place, Relation, Scene};
use super::words::{NUMBERS_EN, NUMBERS_ZH};

/// Chinese captions of a scene, three to four, all true and complete; joined, without a full stop. The first is the
/// plainest.
pub fn captions_zh(scene: &Scene) -> Vec<String> {
    let phrases: Vec<String> = scene.groups().iter().map(phrase_zh).collect();
    match (phrases.as_slice(), scene.relation, scene.place()) {
        ([a, b], Some(relation), _) => relation_zh(a, relation, b),
        ([a, ..], _, Some(place)) if scene.family == Family::Places => {
            let place = place.zh();
            vec![format!("{place}有{a}"), format!("{a}在{place}"), format!("这是{place}的{a}")]
        }
        ([a, ..], ..) => vec![a.clone(), format!("图中有{a}"), format!("这是{a}")],
        ([], ..) => Vec::new(),
    }
}

fn relation_zh(a: &str, relation: Relation, b: &str) -> Vec<String> {
    let (here, there) = (relation.zh(), relation.reversed().zh());
    let mut captions =
        vec![format!("{a}在{b}{here}"), format!("{b}在{a}{there}"), format!("{a}{there}有{b}")];
    if relation == Relation::Beside {
        captions.push(format!("{b}{here}有{a}"));
    } else {
        let ((first, a), (second, b)) = in_reading_order((relation, a), (relation.reversed(), b));
        captions.push(format!("{}是{a}，{}是{b}", first.zh(), second.zh()));
    }
    captions
}

/// Left before right, above before below.
fn in_reading_order<T>(a: (Relation, T), b: (Relation, T)) -> ((Relation, T), (Relation, T)) {
    if matches!(a.0, Relation::RightOf | Relation::Below) { (b, a) } else { (a, b) }
}

/// "两棵绿色的树"
pub(super) fn phrase_zh(group: &Group) -> String {
    let words = group.kind.words();
    let number = NUMBERS_ZH[group.count.clamp(1, 4) - 1];
    let colour = group.colour.map_or_else(String::new, |c| format!("{}的", c.zh()));
    format!("{number}{}{colour}{}", words.measure, words.zh)
}

/// English captions of a scene, three to four, lower case, all true and complete. The first is the plainest.
pub fn captions_en(scene: &Scene) -> Vec<String> {
    let groups = scene.groups();
    let phrases: Vec<String> = groups.iter().map(phrase_en).collect();
    let verbs: Vec<&str> = groups.iter().map(|g| if g.count == 1 { "is" } else { "are" }).collect();
    match (phrases.as_slice(), scene.relation, scene.place()) {
        ([a, b], Some(relation), _) => {
            let (here, there) = (relation.en(), relation.reversed().en());
            let mut captions = vec![
                format!("{a} {} {here} {b}", verbs[0]),
                format!("{b} {} {there} {a}", verbs[1]),
                format!("there {} {a} {here} {b}", verbs[0]),
            ];
            if relation != Relation::Beside {
                let ((first, a), (second, b)) = in_reading_order((relation, a), (relation.reversed(), b));
                captions.push(format!("{a} {} and {b} {}", first.spot_en(), second.spot_en()));
            }
            captions
        }
        ([a, ..], _, Some(place)) if scene.family == Family::Places => {
            let (place, verb) = (place.en(), verbs[0]);
            vec![
                format!("{a} {place}"),
                format!("there {verb} {a} {place}"),
                format!("a picture of {a} {place}"),
            ]
        }
        ([a, ..], ..) => vec![a.clone(), format!("there {} {a}", verbs[0]), format!("a picture of {a}")],
        ([], ..) => Vec::new(),
    }
}

/// "two green trees", "an orange cat"
pub(super) fn phrase_en(group: &Group) -> String {
    let words = group.kind.words();
    let noun = if group.count == 1 { words.en } else { words.plural };
    let described = group.colour.map_or_else(|| noun.to_owned(), |c| format!("{} {noun}", c.en()));
    match group.count {
        0 | 1 if matches!(group.kind, Kind::Sun | Kind::Moon) => format!("the {described}"),
        0 | 1 if described.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {described}"),
        0 | 1 => format!("a {described}"),
        count => format!("{} {described}", NUMBERS_EN[count.min(4) - 2]),
    }
}

/// Text with every Chinese character and every English word that captions can have.
pub(super) fn caption_words() -> String {
    let mut words: Vec<&str> = vec!["图中有这是在的", "there is are a an the picture of and"];
    for kind in Kind::all().map(Kind::words) {
        words.extend([kind.zh, kind.measure, kind.en, kind.plural]);
    }
    words.extend(Colour::ALL.iter().flat_map(|c| [c.zh(), c.en()]));
    words.extend(Place::ALL.iter().flat_map(|p| [p.zh(), p.en()]));
    words.extend(Relation::ALL.iter().flat_map(|r| [r.zh(), r.en(), r.spot_en()]));
    words.extend(NUMBERS_ZH);
    words.extend(NUMBERS_EN);
    words.join(" ")
}
