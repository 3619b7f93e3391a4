//! Chinese questions and answers.
//!
//! Three phrasings for each question, which differ in nothing that helps to answer. This file refuses to know what may
//! be asked.

use super::super::caption::phrase_zh;
use super::super::scene::{Group, Kind, Place, Relation};
use super::super::words::NUMBERS_ZH;
use super::inquiry::{Inquiry, Mark, PHRASINGS, Thing};
use super::{fill, pairs};

type Phrasings = [&'static str; PHRASINGS];

const CONTENTS: Phrasings = ["图中有什么？", "图上画的是什么？", "这张图画了什么？"];
const SHAPES: Phrasings = ["图中有什么形状？", "图上画的是什么形状？", "这张图画了什么形状？"];
const PLACE_CONTENTS: Phrasings = ["{place}有什么？", "{place}的是什么？", "图中{place}有什么？"];
const SHAPE_OF_COLOUR: Phrasings =
    ["{colour}的是什么形状？", "什么形状是{colour}的？", "{colour}的形状是什么？"];
const COLOUR_OF: Phrasings = ["{a}是什么颜色？", "{a}是什么颜色的？", "{a}的颜色是什么？"];
const COUNT_OF: Phrasings = ["图中有几{measure}{a}？", "有几{measure}{a}？", "图里一共有多少{measure}{a}？"];
const PLACE_OF: Phrasings = ["{a}在哪里？", "{a}在什么地方？", "图中的{a}在哪里？"];
const POSITION_OF: Phrasings = ["{a}在{b}的什么位置？", "{a}位于{b}的哪个方向？", "相对于{b}，{a}在哪里？"];
const NEIGHBOUR: Phrasings = ["{b}的{side}是什么？", "{b}{side}有什么？", "什么在{b}的{side}？"];
const EXISTS: Phrasings = ["有{a}吗？", "图中有{a}吗？", "图里有没有{a}？"];
const IS_COLOUR: Phrasings = ["{a}是{colour}的吗？", "{a}是不是{colour}的？", "{a}的颜色是{colour}吗？"];

const TEMPLATES: [Phrasings; 11] = [
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
    IS_COLOUR,
];

const THERE: [&str; 3] = ["有", "有的", "是的"];
const NOT_THERE: [&str; 3] = ["没有", "没", "否"];
const RIGHT: [&str; 3] = ["是", "是的", "对"];
const WRONG: [&str; 3] = ["不是", "不", "否"];

/// Text with every character of questions and answers.
pub(super) fn words() -> String {
    let mut words: Vec<&str> = TEMPLATES.concat();
    words.extend([THERE, NOT_THERE, RIGHT, WRONG].concat());
    words.push("和形状在的");
    words.extend(Relation::ALL.into_iter().flat_map(sides));
    words.extend(Place::ALL.iter().map(|p| p.nouns().0));
    words.extend(Kind::all().flat_map(|k| k.words().synonyms_zh));
    words.join(" ")
}

/// The question. With `by_synonym`, things are called by their other names, where they have any.
pub(super) fn question(inquiry: &Inquiry, phrasing: usize, by_synonym: bool) -> String {
    let name = |thing: &Thing| named(thing, by_synonym);
    match inquiry {
        Inquiry::Contents(groups) => {
            let are_shapes = groups.iter().all(|g| g.kind.is_shape());
            (if are_shapes { SHAPES } else { CONTENTS })[phrasing].to_owned()
        }
        Inquiry::PlaceContents(place, _) => fill(PLACE_CONTENTS[phrasing], &[("{place}", place.zh())]),
        Inquiry::ShapeOfColour(colour, _) => fill(SHAPE_OF_COLOUR[phrasing], &[("{colour}", colour.zh())]),
        Inquiry::ColourOf(thing, _) => fill(COLOUR_OF[phrasing], &[("{a}", &name(thing))]),
        Inquiry::CountOf(kind, _) => {
            let parts = [("{measure}", kind.words().measure), ("{a}", noun(*kind, by_synonym))];
            fill(COUNT_OF[phrasing], &parts)
        }
        Inquiry::CountOfShapes(_) => fill(COUNT_OF[phrasing], &[("{measure}", "个"), ("{a}", "形状")]),
        Inquiry::PlaceOf(things, _) => {
            let names: Vec<String> = things.iter().map(name).collect();
            fill(PLACE_OF[phrasing], &[("{a}", &names.join("和"))])
        }
        Inquiry::PositionOf(thing, _, other) => {
            fill(POSITION_OF[phrasing], &[("{a}", &name(thing)), ("{b}", &name(other))])
        }
        Inquiry::Neighbour(relation, other, _) => {
            fill(NEIGHBOUR[phrasing], &[("{b}", &name(other)), ("{side}", relation.zh())])
        }
        Inquiry::Exists(kind, _) => fill(EXISTS[phrasing], &[("{a}", noun(*kind, by_synonym))]),
        Inquiry::ColouredExists(kind, colour, _) => {
            let described = format!("{}的{}", colour.zh(), noun(*kind, by_synonym));
            fill(EXISTS[phrasing], &[("{a}", &described)])
        }
        Inquiry::IsColour(thing, colour, _) => {
            fill(IS_COLOUR[phrasing], &[("{a}", &name(thing)), ("{colour}", colour.zh())])
        }
    }
}

/// The answers that are accepted; the first is what a model learns.
pub(super) fn answers(inquiry: &Inquiry) -> Vec<String> {
    let owned = |answers: [&str; 3]| answers.map(str::to_owned).to_vec();
    match inquiry {
        Inquiry::Contents(groups) => match groups.as_slice() {
            [a, b] => pairs(&phrases(a), &phrases(b), "和"),
            groups => groups.iter().flat_map(kinds).collect(),
        },
        Inquiry::PlaceContents(_, group)
        | Inquiry::ShapeOfColour(_, group)
        | Inquiry::Neighbour(_, _, group) => kinds(group),
        Inquiry::ColourOf(_, colour) => {
            let (full, short) = (colour.zh(), colour.zh().trim_end_matches('色'));
            vec![full.to_owned(), short.to_owned(), format!("{full}的")]
        }
        Inquiry::CountOf(kind, count) => numbers(*count, kind.words().measure, kind.words().zh),
        Inquiry::CountOfShapes(count) => numbers(*count, "个", "形状"),
        Inquiry::PlaceOf(_, place) => {
            vec![place.zh().to_owned(), format!("在{}", place.zh()), place.nouns().0.to_owned()]
        }
        Inquiry::PositionOf(_, relation, other) => positions(*relation, &named(other, false)),
        Inquiry::Exists(_, is_true) | Inquiry::ColouredExists(_, _, is_true) => {
            owned(if *is_true { THERE } else { NOT_THERE })
        }
        Inquiry::IsColour(_, _, is_true) => owned(if *is_true { RIGHT } else { WRONG }),
    }
}

fn noun(kind: Kind, by_synonym: bool) -> &'static str {
    let words = kind.words();
    words.synonyms_zh.first().copied().filter(|_| by_synonym).unwrap_or(words.zh)
}

/// "猫", "红色的圆形", "左边的圆形"
fn named(thing: &Thing, by_synonym: bool) -> String {
    let noun = noun(thing.kind, by_synonym);
    match thing.mark {
        Mark::Kind => noun.to_owned(),
        Mark::Colour(colour) => format!("{}的{noun}", colour.zh()),
        Mark::Spot(spot) => format!("{}的{noun}", spot.zh()),
    }
}

/// From short to long: "猫", "黑色的猫", "一只猫", "一只黑色的猫".
fn phrases(group: &Group) -> [String; 4] {
    let noun = group.kind.words().zh;
    let coloured = group.colour.map_or_else(|| noun.to_owned(), |c| format!("{}的{noun}", c.zh()));
    [noun.to_owned(), coloured, phrase_zh(&Group { colour: None, ..*group }), phrase_zh(group)]
}

/// The right answers to a question for the kind.
fn kinds(group: &Group) -> Vec<String> {
    let mut kinds = phrases(group).to_vec();
    kinds.extend(group.kind.words().synonyms_zh.iter().map(|synonym| (*synonym).to_owned()));
    kinds
}

/// "两只", "两", "两只猫": numerals of other scripts are made equal when an answer is judged.
fn numbers(count: usize, measure: &str, noun: &str) -> Vec<String> {
    let number = NUMBERS_ZH[count.clamp(1, 4) - 1];
    vec![format!("{number}{measure}"), number.to_owned(), format!("{number}{measure}{noun}")]
}

fn sides(relation: Relation) -> &'static [&'static str] {
    match relation {
        Relation::LeftOf => &["左边", "左侧", "左面", "左"],
        Relation::RightOf => &["右边", "右侧", "右面", "右"],
        Relation::Above => &["上面", "上方", "上边", "上"],
        Relation::Below => &["下面", "下方", "下边", "下"],
        Relation::Beside => &["旁边"],
    }
}

fn positions(relation: Relation, other: &str) -> Vec<String> {
    let side = relation.zh();
    let mut positions: Vec<String> = sides(relation).iter().map(|side| (*side).to_owned()).collect();
    positions.extend([format!("在{side}"), format!("{other}{side}"), format!("{other}的{side}")]);
    positions.extend([format!("在{other}{side}"), format!("在{other}的{side}")]);
    positions
}
