//! Captions that are false of a scene in one thing: hard negatives for image-text matching.
//!
//! A twin of the scene is made in which one thing is otherwise, and both are captioned by the same sentence. The twin
//! is one that could have been drawn (no red trees, no cats in the water, no green cars at night), so that the text alone
//! betrays nothing. What comes out is judged by `check` before it is given out. This file refuses to know words.

use serde::{Deserialize, Serialize};

use super::caption::{captions_en, captions_zh};
use super::check::check_caption;
use super::compose::{inhabitants, is_in_sky, visible_colours};
use super::random::{Choices, Purpose};
use super::scene::{Background, Colour, Family, Group, Kind, Object, Place, Relation, Scene};
use crate::dataset::Language;

/// The one thing in which a false caption differs from a true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// A cat becomes a dog.
    Kind,
    /// Red becomes blue.
    Colour,
    /// Two become three.
    Count,
    /// Left becomes right.
    Relation,
    /// The grass becomes a street.
    Place,
}

impl Difference {
    /// Every difference.
    pub const ALL: [Self; 5] = [Self::Kind, Self::Colour, Self::Count, Self::Relation, Self::Place];
}

/// A caption that is false, beside the true one that it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FalseCaption {
    /// What is not so: [`check_caption`] says that it is not true.
    pub caption: String,
    /// The true sentence.
    pub true_caption: String,
    /// What was changed.
    pub difference: Difference,
}

/// A caption of `scene` that is false in one thing, and that no other part of [`check_caption`] blames. The same
/// `number` gives the same caption, in both languages the same falsehood. Every scene of [`super::compose()`] has one;
/// `None` if nothing in the scene can be changed.
pub fn false_caption(scene: &Scene, language: Language, number: u64) -> Option<FalseCaption> {
    let mut choices = Choices::new(number, 0, Purpose::Falsehood);
    let mut differences = Difference::ALL.to_vec();
    while !differences.is_empty() {
        let difference = differences.swap_remove(choices.below(differences.len()));
        let sentence = choices.bits() as usize;
        let Some((truth, twin)) = twins(scene, difference, &mut choices) else { continue };
        let (right, wrong) = (captions(&truth, language), captions(&twin, language));
        let sentence = sentence % right.len().max(1);
        let (Some(true_caption), Some(caption)) = (right.get(sentence), wrong.get(sentence)) else {
            continue;
        };
        let (true_caption, caption) = (true_caption.clone(), caption.clone());
        let verdict = check_caption(scene, &caption);
        if verdict.understood && !verdict.is_true() && check_caption(scene, &true_caption).is_true() {
            return Some(FalseCaption { caption, true_caption, difference });
        }
    }
    None
}

fn captions(scene: &Scene, language: Language) -> Vec<String> {
    match language {
        Language::Chinese => captions_zh(scene),
        Language::English => captions_en(scene),
    }
}

/// The scene, perhaps said more exactly, and its twin that differs; `None` where nothing else could have been drawn.
fn twins(scene: &Scene, difference: Difference, choices: &mut Choices) -> Option<(Scene, Scene)> {
    let groups = scene.groups();
    let first = choices.below(groups.len().max(1));
    let chosen = choices.bits() as usize;
    if difference == Difference::Relation {
        return other_relation(scene, chosen);
    }
    let in_turn = groups.iter().cycle().skip(first).take(groups.len());
    let twin = in_turn.copied().find_map(|group| twin(scene, &groups, group, difference, chosen))?;
    Some((scene.clone(), twin))
}

/// The scene with something else about `group`.
fn twin(
    scene: &Scene,
    groups: &[Group],
    group: Group,
    difference: Difference,
    chosen: usize,
) -> Option<Scene> {
    match difference {
        Difference::Kind => {
            let kind = one_of(&other_kinds(scene, groups, group), chosen)?;
            Some(with(scene, group, |object| object.kind = kind))
        }
        Difference::Colour => {
            let colour = one_of(&other_colours(scene, groups, group), chosen)?;
            Some(with(scene, group, |object| object.colour = Some(colour)))
        }
        Difference::Count => {
            Some(with_count(scene, group, one_of(&other_counts(scene.family, group), chosen)?))
        }
        Difference::Place => {
            let place = one_of(&other_places(scene, group), chosen)?;
            Some(Scene { background: Background::Place { place, horizon: 0.5 }, ..scene.clone() })
        }
        Difference::Relation => None,
    }
}

fn one_of<T: Copy>(items: &[T], number: usize) -> Option<T> {
    (!items.is_empty()).then(|| items[number % items.len()])
}

/// The scene with every object of `group` changed.
fn with(scene: &Scene, group: Group, change: impl Fn(&mut Object)) -> Scene {
    let mut twin = scene.clone();
    twin.objects.iter_mut().filter(|o| is_in(o, group)).for_each(change);
    twin
}

fn is_in(object: &Object, group: Group) -> bool {
    (object.kind, object.colour) == (group.kind, group.colour)
}

/// The colours in which `kind` could be drawn here.
fn colours(kind: Kind, place: Option<Place>) -> Vec<Colour> {
    place.map_or_else(|| kind.colours().to_vec(), |place| visible_colours(kind, place))
}

/// Kinds that are not in the picture and could be there in the group's stead: in its colour, in its place.
fn other_kinds(scene: &Scene, groups: &[Group], group: Group) -> Vec<Kind> {
    let could_be = |kind: &Kind| {
        let is_alike = (kind.is_shape(), is_in_sky(*kind)) == (group.kind.is_shape(), is_in_sky(group.kind));
        let has_colour = match group.colour {
            Some(colour) => colours(*kind, scene.place()).contains(&colour),
            None => kind.colours().is_empty(),
        };
        let lives_here = scene.place().is_none_or(|p| is_in_sky(*kind) || inhabitants(p).contains(kind));
        let is_absent = groups.iter().all(|g| g.kind != *kind);
        is_alike && has_colour && lives_here && is_absent
    };
    Kind::all().filter(could_be).collect()
}

/// Colours that the group could have here and none of its kind has.
fn other_colours(scene: &Scene, groups: &[Group], group: Group) -> Vec<Colour> {
    let is_free = |colour: &Colour| {
        group.colour.is_some() && groups.iter().all(|g| g.kind != group.kind || g.colour != Some(*colour))
    };
    colours(group.kind, scene.place()).into_iter().filter(is_free).collect()
}

/// One more and one fewer, where scenes of the family have that many.
fn other_counts(family: Family, group: Group) -> Vec<usize> {
    let most = match family {
        Family::Counts => 4,
        Family::Places => 3,
        Family::Above if group.kind == Kind::Bird => 2,
        _ => 1,
    };
    let near = [group.count.saturating_sub(1), group.count + 1];
    near.into_iter().filter(|count| (1..=most).contains(count)).collect()
}

/// The scene with one object more or fewer in the group.
fn with_count(scene: &Scene, group: Group, count: usize) -> Scene {
    let mut twin = scene.clone();
    let Some(last) = scene.objects.iter().rposition(|o| is_in(o, group)) else { return twin };
    if count > group.count {
        twin.objects.insert(last, scene.objects[last]);
    } else {
        twin.objects.remove(last);
    }
    twin
}

/// Two things in another relation. Things beside each other are told apart as left and right, in truth and twin.
fn other_relation(scene: &Scene, chosen: usize) -> Option<(Scene, Scene)> {
    let directions = [Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below];
    let right = directions.into_iter().find(|r| scene.holds(0, *r, 1))?;
    let others: Vec<Relation> = match scene.family {
        // The opposite is the hardest to tell: every second time.
        Family::Relations if chosen.is_multiple_of(2) => {
            directions.into_iter().filter(|r| *r != right).collect()
        }
        Family::Relations | Family::Beside => vec![right.reversed()],
        // A house above a bird is known to be false without looking.
        _ => Vec::new(),
    };
    let wrong = one_of(&others, chosen / 2)?;
    let related = |relation| Scene { relation: Some(relation), ..scene.clone() };
    Some((related(right), related(wrong)))
}

/// Other places where the group could be, if captions name the place.
fn other_places(scene: &Scene, group: Group) -> Vec<Place> {
    let Some(here) = scene.place().filter(|_| scene.family == Family::Places) else { return Vec::new() };
    let could_be = |place: &Place| {
        let is_seen = group.colour.is_none_or(|c| visible_colours(group.kind, *place).contains(&c));
        *place != here && is_seen && inhabitants(*place).contains(&group.kind)
    };
    Place::ALL.into_iter().filter(could_be).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::{EVAL_SEED, compose};
    use super::*;

    const LANGUAGES: [Language; 2] = [Language::Chinese, Language::English];

    #[test]
    fn false_captions_are_false_in_the_one_thing_that_was_changed() {
        let mut seen: BTreeMap<Difference, usize> = BTreeMap::new();
        for number in 0..2000 {
            let scene = compose(EVAL_SEED, number);
            let [zh, en] = LANGUAGES.map(|language| false_caption(&scene, language, number).expect("one"));
            assert_eq!(zh.difference, en.difference, "both languages say the same");
            *seen.entry(zh.difference).or_default() += 1;
            for made in [zh, en] {
                let right = check_caption(&scene, &made.true_caption);
                assert!(right.is_true(), "{number} {made:?}: {right:?}");
                let v = check_caption(&scene, &made.caption);
                assert!(v.understood && v.complete && !v.is_true(), "{number} {made:?}: {v:?}");
                let blamed = [v.kind, v.colour, v.count, v.relation, v.place].map(|part| part == Some(false));
                let changed = Difference::ALL.map(|part| part == made.difference);
                assert_eq!(blamed, changed, "{number} {made:?}: {v:?}");
            }
        }
        assert!(Difference::ALL.iter().all(|difference| seen[difference] >= 60), "{seen:?}");
    }

    /// No false caption is known by its text alone: each could be true of some drawn picture.
    #[test]
    fn false_captions_are_true_of_other_pictures() {
        let drawn: BTreeSet<String> =
            (0..30_000).flat_map(|index| captions_en(&compose(EVAL_SEED, index))).collect();
        let simple = (0..2000).filter_map(|number| {
            let scene = compose(EVAL_SEED, number);
            let made = false_caption(&scene, Language::English, number).expect("one");
            // Captions of one thing are few enough to have been drawn, all of them.
            (scene.relation.is_none()).then_some(made.caption)
        });
        let (known, unknown): (Vec<String>, Vec<String>) =
            simple.partition(|caption| drawn.contains(caption));
        assert!(known.len() > 900 && unknown.is_empty(), "{} {unknown:?}", known.len());
    }

    #[test]
    fn the_same_number_gives_the_same_and_others_differ() {
        let scene = compose(EVAL_SEED, 3);
        for language in LANGUAGES {
            let made = |number| false_caption(&scene, language, number).expect("one");
            assert_eq!(made(7), made(7));
            let different: BTreeSet<String> = (0..50).map(|number| made(number).caption).collect();
            assert!(different.len() >= 10, "{different:?}");
        }
    }

    #[test]
    fn a_scene_without_anything_has_no_false_caption() {
        let empty = Scene { objects: Vec::new(), relation: None, ..compose(EVAL_SEED, 0) };
        assert_eq!(false_caption(&empty, Language::Chinese, 0), None);
    }
}
