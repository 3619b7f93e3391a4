//! English questions and answers, lower case.
//!
//! Three phrasings for each question, which differ in nothing that helps to answer; colour is spelled in both ways. This
//! file refuses to know what may be asked.

use super::super::caption::phrase_en;
use super::super::scene::{Group, Kind, Place, Relation};
use super::super::words::NUMBERS_EN;
use super::inquiry::{Inquiry, Mark, PHRASINGS, Thing};
use super::{fill, pairs};

type Phrasings = [&'static str; PHRASINGS];

const CONTENTS: Phrasings = ["what is in the picture?", "what does the picture show?", "what can you see?"];
const SHAPES: Phrasings = [
    "which {shape} {is} in the picture?",
    "what {shape} does the picture show?",
    "what {shape} can you see?",
];
const PLACE_CONTENTS: Phrasings =
    ["what is {place}?", "what do you see {place}?", "what can be seen {place}?"];
const SHAPE_OF_COLOUR: Phrasings =
    ["what shape is {colour}?", "which shape is {colour}?", "what is the {colour} shape?"];
const COLOUR_OF: Phrasings = ["what colour {is} {a}?", "what color {is} {a}?", "what is the colour of {a}?"];
const COUNT_OF: Phrasings =
    ["how many {a} are there?", "how many {a} are in the picture?", "how many {a} do you see?"];
const PLACE_OF: Phrasings = ["where {is} {a}?", "in what place {is} {a}?", "where do you see {a}?"];
const POSITION_OF: Phrasings = [
    "where {is} {a} relative to {b}?",
    "where {is} {a} in relation to {b}?",
    "where {is} {a} as seen from {b}?",
];
const NEIGHBOUR: Phrasings =
    ["what is {side} {b}?", "what do you see {side} {b}?", "what can be seen {side} {b}?"];
const EXISTS: Phrasings = ["is there {a}?", "is there {a} in the picture?", "can you see {a}?"];
/// For the sun and the moon.
const EXISTS_THE_ONE: Phrasings = ["is {a} there?", "is {a} in the picture?", "can you see {a}?"];
const IS_COLOUR: Phrasings =
    ["{is} {a} {colour}?", "{do} {a} look {colour}?", "is the colour of {a} {colour}?"];

const TEMPLATES: [Phrasings; 12] = [
    CONTENTS,
    SHAPES,
    PLACE_CONTENTS,
    SHAPE_OF_COLOUR,
    COLOUR_OF,
    COUNT_OF,
    PLACE_OF,
    POSITION_OF,
    NEIGHBOUR,
    EXISTS,
    EXISTS_THE_ONE,
    IS_COLOUR,
];

const FUNCTION_WORDS: &str = "shape shapes is are do does a an the and one yes no";

/// Text with every word of questions and answers.
pub(super) fn words() -> String {
    let mut words: Vec<&str> = TEMPLATES.concat();
    words.push(FUNCTION_WORDS);
    words.extend(Relation::ALL.into_iter().flat_map(sides));
    words.extend(Place::ALL.iter().flat_map(|p| [p.nouns().1, p.where_en()]));
    words.join(" ")
}

/// The question.
pub(super) fn question(inquiry: &Inquiry, phrasing: usize) -> String {
    match inquiry {
        Inquiry::Contents(groups) if groups.iter().all(|g| g.kind.is_shape()) => {
            let are_many = groups.iter().map(|g| g.count).sum::<usize>() > 1;
            let (shape, verb) = if are_many { ("shapes", "are") } else { ("shape", "is") };
            fill(SHAPES[phrasing], &[("{shape}", shape), ("{is}", verb)])
        }
        Inquiry::Contents(_) => CONTENTS[phrasing].to_owned(),
        Inquiry::PlaceContents(place, _) => fill(PLACE_CONTENTS[phrasing], &[("{place}", place.where_en())]),
        Inquiry::ShapeOfColour(colour, _) => fill(SHAPE_OF_COLOUR[phrasing], &[("{colour}", colour.en())]),
        Inquiry::ColourOf(thing, _) => {
            fill(COLOUR_OF[phrasing], &[("{is}", is(thing.count)), ("{a}", &the(thing))])
        }
        Inquiry::CountOf(kind, _) => fill(COUNT_OF[phrasing], &[("{a}", kind.words().plural)]),
        Inquiry::CountOfShapes(_) => fill(COUNT_OF[phrasing], &[("{a}", "shapes")]),
        Inquiry::PlaceOf(things, _) => {
            let names: Vec<String> = things.iter().map(the).collect();
            let verb = is(things.iter().map(|thing| thing.count).sum());
            fill(PLACE_OF[phrasing], &[("{is}", verb), ("{a}", &names.join(" and "))])
        }
        Inquiry::PositionOf(thing, _, other) => {
            let parts = [("{is}", is(thing.count)), ("{a}", &the(thing)), ("{b}", &the(other))];
            fill(POSITION_OF[phrasing], &parts)
        }
        Inquiry::Neighbour(relation, other, _) => {
            fill(NEIGHBOUR[phrasing], &[("{side}", relation.en()), ("{b}", &the(other))])
        }
        Inquiry::Exists(kind, _) => {
            let templates = if matches!(kind, Kind::Sun | Kind::Moon) { EXISTS_THE_ONE } else { EXISTS };
            fill(templates[phrasing], &[("{a}", &one(*kind, None))])
        }
        Inquiry::ColouredExists(kind, colour, _) => {
            fill(EXISTS[phrasing], &[("{a}", &one(*kind, Some(*colour)))])
        }
        Inquiry::IsColour(thing, colour, _) => {
            let does = if thing.count == 1 { "does" } else { "do" };
            let parts =
                [("{is}", is(thing.count)), ("{do}", does), ("{a}", &the(thing)), ("{colour}", colour.en())];
            fill(IS_COLOUR[phrasing], &parts)
        }
    }
}

/// The answers that are accepted; the first is what a model learns. Articles are ignored when an answer is judged.
pub(super) fn answers(inquiry: &Inquiry) -> Vec<String> {
    match inquiry {
        Inquiry::Contents(groups) => match groups.as_slice() {
            [a, b] => pairs(&phrases(a), &phrases(b), " and "),
            groups => groups.iter().flat_map(kinds).collect(),
        },
        Inquiry::PlaceContents(_, group)
        | Inquiry::ShapeOfColour(_, group)
        | Inquiry::Neighbour(_, _, group) => kinds(group),
        Inquiry::ColourOf(_, colour) => vec![colour.en().to_owned()],
        Inquiry::CountOf(kind, count) => {
            numbers(*count, if *count == 1 { kind.words().en } else { kind.words().plural })
        }
        Inquiry::CountOfShapes(count) => numbers(*count, if *count == 1 { "shape" } else { "shapes" }),
        Inquiry::PlaceOf(_, place) => {
            vec![place.where_en().to_owned(), place.nouns().1.to_owned(), place.en().to_owned()]
        }
        Inquiry::PositionOf(_, relation, other) => {
            let mut positions: Vec<String> = sides(*relation).iter().map(|side| (*side).to_owned()).collect();
            positions.push(format!("{} {}", relation.en(), the(other)));
            positions
        }
        Inquiry::Exists(_, is_true)
        | Inquiry::ColouredExists(_, _, is_true)
        | Inquiry::IsColour(_, _, is_true) => {
            vec![if *is_true { "yes" } else { "no" }.to_owned()]
        }
    }
}

fn is(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// "the cat", "the red circle", "the circles on the left"
fn the(thing: &Thing) -> String {
    let words = thing.kind.words();
    let noun = if thing.count == 1 { words.en } else { words.plural };
    match thing.mark {
        Mark::Kind => format!("the {noun}"),
        Mark::Colour(colour) => format!("the {} {noun}", colour.en()),
        Mark::Spot(spot) => format!("the {noun} {}", spot.spot_en()),
    }
}

/// "a cat", "an orange cat", "the sun"
fn one(kind: Kind, colour: Option<super::super::scene::Colour>) -> String {
    phrase_en(&Group { kind, colour, count: 1, centre: (0.0, 0.0) })
}

/// From short to long: "cats", "black cats", "two cats", "two black cats".
fn phrases(group: &Group) -> [String; 4] {
    let words = group.kind.words();
    let noun = if group.count == 1 { words.en } else { words.plural };
    let coloured = group.colour.map_or_else(|| noun.to_owned(), |c| format!("{} {noun}", c.en()));
    [noun.to_owned(), coloured, phrase_en(&Group { colour: None, ..*group }), phrase_en(group)]
}

/// The right answers to a question for the kind.
fn kinds(group: &Group) -> Vec<String> {
    let words = group.kind.words();
    let mut kinds = phrases(group).to_vec();
    kinds.extend([words.en.to_owned(), words.plural.to_owned()]);
    kinds
}

/// "2", "two", "two cats"
fn numbers(count: usize, noun: &str) -> Vec<String> {
    let count = count.clamp(1, 4);
    let word = if count == 1 { "one" } else { NUMBERS_EN[count - 2] };
    vec![count.to_string(), word.to_owned(), format!("{word} {noun}")]
}

fn sides(relation: Relation) -> &'static [&'static str] {
    match relation {
        Relation::LeftOf => &["left", "to the left", "on the left"],
        Relation::RightOf => &["right", "to the right", "on the right"],
        Relation::Above => &["above", "over"],
        Relation::Below => &["below", "under"],
        Relation::Beside => &["beside", "next to"],
    }
}
