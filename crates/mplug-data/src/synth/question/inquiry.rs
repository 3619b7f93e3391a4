//! What may be asked about a scene: only what the scene answers in one way.
//!
//! The facts of a question and of its answer, and how a thing is named so that nothing else is meant. The same number
//! asks the same in every language. This file refuses to know words.

use super::super::random::Choices;
use super::super::scene::{Colour, Family, Group, Kind, Place, Relation, Scene};
use super::QuestionKind;

/// How many phrasings each question has, in every language.
pub(super) const PHRASINGS: usize = 3;
/// How many of 100 things that are asked after though they are not there are objects where shapes are drawn.
const STRANGER_PERCENT: usize = 25;

/// The most objects that a drawn picture has, and the highest number that has a word.
const MOST_OBJECTS: usize = 4;

/// What sets a thing apart from all others in the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mark {
    /// Nothing else is of its kind.
    Kind,
    /// "the red circle": nothing else of its kind has its colour.
    Colour(Colour),
    /// "the circle on the left"
    Spot(Relation),
}

/// A group of equal objects as a question names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Thing {
    pub(super) kind: Kind,
    pub(super) count: usize,
    pub(super) mark: Mark,
}

/// What is asked, and what is the case.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Inquiry {
    /// What is in the picture? One group for each kind, at most two, in reading order.
    Contents(Vec<Group>),
    /// What is on the grass?
    PlaceContents(Place, Group),
    /// What shape is red?
    ShapeOfColour(Colour, Group),
    /// What colour is the cat?
    ColourOf(Thing, Colour),
    /// How many cats are there?
    CountOf(Kind, usize),
    /// How many shapes are there?
    CountOfShapes(usize),
    /// Where is the cat (or: are the cat and the tree)?
    PlaceOf(Vec<Thing>, Place),
    /// Where is the first relative to the second?
    PositionOf(Thing, Relation, Thing),
    /// What is to the left of the tree?
    Neighbour(Relation, Thing, Group),
    /// Is there a cat?
    Exists(Kind, bool),
    /// Is there a black cat?
    ColouredExists(Kind, Colour, bool),
    /// Is the cat black?
    IsColour(Thing, Colour, bool),
}

impl Inquiry {
    /// What a model must see to answer.
    pub(super) fn kind(&self) -> QuestionKind {
        match self {
            Self::Contents(_) | Self::PlaceContents(..) | Self::ShapeOfColour(..) => QuestionKind::Kind,
            Self::ColourOf(..) => QuestionKind::Colour,
            Self::CountOf(..) | Self::CountOfShapes(_) => QuestionKind::Count,
            Self::PlaceOf(..) => QuestionKind::Place,
            Self::PositionOf(..) => QuestionKind::Position,
            Self::Neighbour(..) => QuestionKind::Neighbour,
            Self::Exists(..) => QuestionKind::Existence,
            Self::ColouredExists(..) | Self::IsColour(..) => QuestionKind::ColourCheck,
        }
    }
}

/// Everything that is asked about `scene`; nothing about a scene with nothing, or more than can be counted.
pub(super) fn inquiries(scene: &Scene, choices: &mut Choices) -> Vec<Inquiry> {
    if !(1..=MOST_OBJECTS).contains(&scene.objects.len()) {
        return Vec::new();
    }
    let seen = Seen::of(scene);
    let mut asked = Vec::new();
    asked.extend(seen.kinds(choices));
    asked.extend(seen.colours());
    asked.extend(seen.counts(choices));
    asked.extend(seen.place());
    asked.extend(seen.positions(choices));
    asked.extend(seen.existence(choices));
    asked.extend(seen.colour_checks(choices));
    asked
}

/// A scene as questions look at it.
struct Seen<'a> {
    scene: &'a Scene,
    groups: Vec<Group>,
    /// Where the first of two groups stands to the second.
    direction: Option<Relation>,
}

impl<'a> Seen<'a> {
    fn of(scene: &'a Scene) -> Self {
        let groups = scene.groups();
        let directions = [Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below];
        let direction = directions.into_iter().find(|r| groups.len() == 2 && scene.holds(0, *r, 1));
        Self { scene, groups, direction }
    }

    /// Group `index`, if its kind alone says which it is.
    fn by_kind(&self, index: usize) -> Option<Thing> {
        let Group { kind, count, .. } = self.groups[index];
        let is_only = self.groups.iter().filter(|g| g.kind == kind).count() == 1;
        is_only.then_some(Thing { kind, count, mark: Mark::Kind })
    }

    /// Group `index` without a word on its colour.
    fn by_kind_or_spot(&self, index: usize) -> Option<Thing> {
        let Group { kind, count, .. } = self.groups[index];
        let spot = self.direction.map(|first| if index == 0 { first } else { first.reversed() });
        self.by_kind(index).or_else(|| Some(Thing { kind, count, mark: Mark::Spot(spot?) }))
    }

    /// Group `index` without a word on its position.
    fn by_kind_or_colour(&self, index: usize) -> Option<Thing> {
        let Group { kind, count, colour, .. } = self.groups[index];
        let all_coloured = self.groups.iter().all(|g| g.colour.is_some());
        let colour = colour.filter(|_| all_coloured);
        self.by_kind(index).or_else(|| Some(Thing { kind, count, mark: Mark::Colour(colour?) }))
    }

    /// One group for each kind: left before right, above before below.
    fn merged_by_kind(&self) -> Vec<Group> {
        let mut merged: Vec<Group> = Vec::new();
        for group in &self.groups {
            match merged.iter_mut().find(|m| m.kind == group.kind) {
                Some(same) => {
                    same.count += group.count;
                    same.colour = None;
                }
                None => merged.push(*group),
            }
        }
        if matches!(self.direction, Some(Relation::RightOf | Relation::Below)) {
            merged.reverse();
        }
        merged
    }

    fn kinds(&self, choices: &mut Choices) -> Vec<Inquiry> {
        let merged = self.merged_by_kind();
        let by_place = choices.chance(50);
        let chosen = choices.below(2);
        let mut asked = match (merged.as_slice(), self.scene.place()) {
            ([one], Some(place)) if self.scene.family == Family::Places && by_place => {
                vec![Inquiry::PlaceContents(place, *one)]
            }
            ([_] | [_, _], _) => vec![Inquiry::Contents(merged.clone())],
            _ => Vec::new(),
        };
        // Shapes alone: a place has paint of its own, and what is green there may be the grass.
        if let ([a, b], None) = (self.groups.as_slice(), self.scene.place()) {
            let group = if chosen == 0 { *a } else { *b };
            if let (Some(colour), true, true) = (group.colour, a.colour != b.colour, self.all_shapes()) {
                asked.push(Inquiry::ShapeOfColour(colour, group));
            }
        }
        asked
    }

    fn all_shapes(&self) -> bool {
        self.groups.iter().all(|g| g.kind.is_shape())
    }

    fn colours(&self) -> Vec<Inquiry> {
        let indices = 0..self.groups.len();
        indices
            .filter_map(|i| Some(Inquiry::ColourOf(self.by_kind_or_spot(i)?, self.groups[i].colour?)))
            .collect()
    }

    /// How many of one kind, or how many shapes in all. Once only, since of two things most are single: else one could
    /// say "1" without looking.
    fn counts(&self, choices: &mut Choices) -> Option<Inquiry> {
        let merged = self.merged_by_kind();
        // Nobody asks how many suns there are.
        let is_countable = |g: &&Group| !matches!(g.kind, Kind::Sun | Kind::Moon);
        let each = merged.iter().filter(is_countable).map(|g| Inquiry::CountOf(g.kind, g.count));
        let shapes = self.all_shapes().then_some(Inquiry::CountOfShapes(self.scene.objects.len()));
        let countable: Vec<Inquiry> = each.chain(shapes).collect();
        countable.get(choices.below(countable.len().max(1))).cloned()
    }

    /// Only where everything is in the place: what is in the sky is not on the street.
    fn place(&self) -> Option<Inquiry> {
        let place = self.scene.place()?;
        let is_everywhere = matches!(self.scene.family, Family::Places | Family::Beside);
        let things: Option<Vec<Thing>> = (0..self.groups.len()).map(|i| self.by_kind(i)).collect();
        let things = things.filter(|things| is_everywhere && matches!(things.len(), 1 | 2))?;
        Some(Inquiry::PlaceOf(things, place))
    }

    fn positions(&self, choices: &mut Choices) -> Vec<Inquiry> {
        let (first, asks_after_first) = (choices.below(2), choices.below(2));
        let says_beside = choices.chance(50);
        let Some(direction) = self.direction else { return Vec::new() };
        let of = |index: usize| if index == 0 { direction } else { direction.reversed() };
        let mut asked = Vec::new();
        if let (Some(a), Some(b)) = (self.by_kind_or_colour(first), self.by_kind_or_colour(1 - first)) {
            asked.push(Inquiry::PositionOf(a, of(first), b));
        }
        if let Some(other) = self.by_kind_or_colour(1 - asks_after_first) {
            let is_beside = self.scene.relation == Some(Relation::Beside) && says_beside;
            let relation = if is_beside { Relation::Beside } else { of(asks_after_first) };
            asked.push(Inquiry::Neighbour(relation, other, self.groups[asks_after_first]));
        }
        asked
    }

    /// One thing that is there, one that is not: as many "yes" as "no".
    fn existence(&self, choices: &mut Choices) -> Vec<Inquiry> {
        let is_absent = |kind: &Kind| self.groups.iter().all(|g| g.kind != *kind);
        let is_stranger = choices.chance(STRANGER_PERCENT);
        let has_shapes = self.groups.iter().any(|g| g.kind.is_shape());
        let absent: Vec<Kind> = match (has_shapes, is_stranger) {
            (true, false) => Kind::SHAPES.into_iter().filter(is_absent).collect(),
            // A yellow circle may pass for the sun.
            (true, true) => {
                let is_clear = |kind: &Kind| !matches!(kind, Kind::Sun | Kind::Moon) && is_absent(kind);
                Kind::OBJECTS.into_iter().filter(is_clear).collect()
            }
            // Never a shape: roofs are triangles, and the sun is a circle.
            (false, _) => Kind::OBJECTS.into_iter().filter(is_absent).collect(),
        };
        if absent.is_empty() {
            return Vec::new();
        }
        let present = choices.pick(&self.groups).kind;
        vec![Inquiry::Exists(present, true), Inquiry::Exists(choices.pick(&absent), false)]
    }

    /// One colour that is right, one that is wrong: as many "yes" as "no".
    fn colour_checks(&self, choices: &mut Choices) -> Vec<Inquiry> {
        let indices = 0..self.groups.len();
        let coloured: Vec<usize> = indices.filter(|i| self.groups[*i].colour.is_some()).collect();
        if coloured.is_empty() {
            return Vec::new();
        }
        let right = self.colour_check(choices.pick(&coloured), true, choices);
        let wrong = self.colour_check(choices.pick(&coloured), false, choices);
        match (right, wrong) {
            (Some(right), Some(wrong)) => vec![right, wrong],
            _ => Vec::new(),
        }
    }

    fn colour_check(&self, index: usize, is_right: bool, choices: &mut Choices) -> Option<Inquiry> {
        let group = self.groups[index];
        let asks_for_existence = choices.below(3) == 0;
        let thing = self.by_kind_or_spot(index).filter(|_| !asks_for_existence);
        let colour =
            if is_right { group.colour? } else { self.wrong_colour(group, thing.is_none(), choices)? };
        Some(match thing {
            Some(thing) => Inquiry::IsColour(thing, colour, is_right),
            None => Inquiry::ColouredExists(group.kind, colour, is_right),
        })
    }

    /// A colour that `group` could have but has not, in half of the cases one that something else in the picture has.
    /// With `nowhere`, nothing of its kind has it.
    fn wrong_colour(&self, group: Group, nowhere: bool, choices: &mut Choices) -> Option<Colour> {
        let has = |kind: Kind, colour: Colour| {
            self.groups.iter().any(|g| g.kind == kind && g.colour == Some(colour))
        };
        let is_wrong = |c: &Colour| group.colour != Some(*c) && !(nowhere && has(group.kind, *c));
        let wrong: Vec<Colour> = group.kind.colours().iter().copied().filter(is_wrong).collect();
        let elsewhere = wrong.iter().copied().find(|c| self.groups.iter().any(|g| g.colour == Some(*c)));
        let prefers_elsewhere = choices.chance(50);
        match elsewhere {
            Some(colour) if prefers_elsewhere => Some(colour),
            _ => (!wrong.is_empty()).then(|| choices.pick(&wrong)),
        }
    }
}
