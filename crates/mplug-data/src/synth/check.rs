//! Judges a caption against the scene that it should describe.
//!
//! A small parser of the caption language (Chinese raw "一 个 圆 形" or joined, and English), a few synonyms and
//! sentence shapes wider than what `caption` writes, since a model may mix them. Facts are judged, style is not: a
//! wrong measure word or article is let pass. This file refuses to know where the caption came from.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::scene::{Colour, Group, Kind, Place, Relation, Scene};
use super::words::{NUMBERS_EN, NUMBERS_ZH};

/// What a caption got right. A part is `None` where the caption says nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// The caption is a sentence of the caption language.
    pub understood: bool,
    /// It mentions every main object of the scene.
    pub complete: bool,
    /// Every named thing is there.
    pub kind: Option<bool>,
    /// Every named colour is right.
    pub colour: Option<bool>,
    /// Every named number is right.
    pub count: Option<bool>,
    /// The named relation holds, whichever of the two is named first.
    pub relation: Option<bool>,
    /// The named place is right.
    pub place: Option<bool>,
}

impl Verdict {
    /// Understood, every main object mentioned, nothing false.
    pub fn is_true(&self) -> bool {
        let parts = [self.kind, self.colour, self.count, self.relation, self.place];
        self.understood && self.complete && !parts.contains(&Some(false))
    }
}

/// Judges `caption` against `scene`. A caption that cannot be parsed is not understood and so not true.
///
/// A thing that is claimed but not there, or there in another kind, blames `kind`; the rest is judged on the best
/// match between the claimed things and the scene's groups.
pub fn check_caption(scene: &Scene, caption: &str) -> Verdict {
    ParsedCaption::new(caption).check(scene)
}

/// A caption that is read once and judged against many scenes.
#[derive(Debug, PartialEq)]
pub struct ParsedCaption(Option<Claim>);

impl ParsedCaption {
    /// Reads `caption`.
    pub fn new(caption: &str) -> Self {
        Self(parse(caption))
    }

    /// Judges it, as [`check_caption`].
    pub fn check(&self, scene: &Scene) -> Verdict {
        let Some(claim) = &self.0 else { return Verdict::default() };
        let groups = scene.groups();
        let matched = best_match(scene, &groups, claim);
        let pairs = claim.things.iter().zip(&matched).map(|(t, m)| (t, m.map(|i| &groups[i])));
        Verdict {
            understood: true,
            complete: (0..groups.len()).all(|i| matched.contains(&Some(i))),
            kind: Some(pairs.clone().all(|(t, g)| g.is_some_and(|g| g.kind == t.kind))),
            colour: all_of(pairs.clone().filter_map(|(t, g)| colour_is_right(t, g?))),
            count: all_of(pairs.filter_map(|(t, g)| Some(t.count? == g?.count))),
            relation: relation_is_right(scene, claim, &matched),
            place: claim.place.map(|p| scene.place() == Some(p)),
        }
    }
}

fn all_of(parts: impl Iterator<Item = bool>) -> Option<bool> {
    parts.fold(None, |all, part| Some(all.unwrap_or(true) && part))
}

fn colour_is_right(thing: &Thing, group: &Group) -> Option<bool> {
    let colour = thing.colour?;
    Some(match group.colour {
        Some(right) => right == colour,
        None => group.kind.usual_colours().contains(&colour),
    })
}

fn relation_is_right(scene: &Scene, claim: &Claim, matched: &[Option<usize>]) -> Option<bool> {
    let (a, relation, b) = claim.relation?;
    Some(scene.holds(matched[a]?, relation, matched[b]?))
}

/// For every claimed thing the scene's group that it best speaks of; no group twice.
fn best_match(scene: &Scene, groups: &[Group], claim: &Claim) -> Vec<Option<usize>> {
    let score = |matched: &[Option<usize>]| {
        let mut score = 0;
        for (thing, group) in claim.things.iter().zip(matched) {
            let Some(group) = group.map(|i| &groups[i]) else { continue };
            score += if thing.kind == group.kind { 8 } else { 1 };
            score += if colour_is_right(thing, group) == Some(false) { 0 } else { 4 };
            score += if thing.count == Some(group.count) { 2 } else { 0 };
        }
        2 * score + i32::from(relation_is_right(scene, claim, matched) == Some(true))
    };
    let mut best = vec![None; claim.things.len()];
    // At most two things are claimed, and at most two groups are there.
    let choices = || (0..groups.len()).map(Some).chain([None]);
    for first in choices() {
        for second in choices() {
            let matched: Vec<Option<usize>> = [first, second].into_iter().take(best.len()).collect();
            let twice = matched.len() == 2 && first.is_some() && first == second;
            if !twice && score(&matched) > score(&best) {
                best = matched;
            }
        }
    }
    best
}

/// What a caption says.
#[derive(Debug, Default, PartialEq)]
struct Claim {
    things: Vec<Thing>,
    relation: Option<(usize, Relation, usize)>,
    place: Option<Place>,
}

/// One noun phrase.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Thing {
    kind: Kind,
    colour: Option<Colour>,
    count: Option<usize>,
}

/// One word (or fixed phrase) of either language.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Word {
    Number(usize),
    Measure,
    Colour(Colour),
    Kind(Kind),
    Place(Place),
    /// 左边, "on the left": a spot, seen from the picture or from the thing before it.
    Spot(Relation),
    /// "to the left of": relates the thing before to the thing after.
    Relation(Relation),
    /// 在
    At,
    /// 有, 是, 这是, "there is", "a picture of"
    Has,
    /// 的
    Of,
    /// 和, a comma
    And,
    /// 图中
    Picture,
    /// "is"
    Is,
    /// "the"
    The,
}

/// A part of a sentence, noun phrases taken together.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Thing(Thing),
    Word(Word),
}

fn parse(caption: &str) -> Option<Claim> {
    let is_chinese = caption.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let words = if is_chinese { words_zh(caption)? } else { words_en(caption)? };
    let parts = noun_phrases(&words)?;
    sentence(&parts)
}

/// Cuts joined or spaced Chinese into words, longest first; `None` at an unknown character.
fn words_zh(caption: &str) -> Option<Vec<Word>> {
    let joined: String = caption.chars().filter(|c| !c.is_whitespace()).collect();
    let mut rest = joined.trim_end_matches(['。', '.', '！']);
    let lexicon = LEXICON_ZH.as_slice();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (text, word) =
            lexicon.iter().filter(|(text, _)| rest.starts_with(text)).max_by_key(|(text, _)| text.len())?;
        words.push(*word);
        rest = &rest[text.len()..];
    }
    Some(words)
}

/// Cuts English into words and fixed phrases, longest first; `None` at an unknown word.
fn words_en(caption: &str) -> Option<Vec<Word>> {
    let lower = caption.to_lowercase().replace(',', " , ");
    let text = lower.trim().trim_end_matches(['.', '!']);
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let lexicon = LEXICON_EN.as_slice();
    let mut words = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (length, word) = lexicon
            .iter()
            .filter(|(phrase, _)| {
                let length = phrase.split(' ').count();
                tokens[at..].len() >= length && phrase.split(' ').eq(tokens[at..at + length].iter().copied())
            })
            .map(|(phrase, word)| (phrase.split(' ').count(), *word))
            .max_by_key(|(length, _)| *length)?;
        words.push(word);
        at += length;
    }
    Some(words)
}

static LEXICON_ZH: LazyLock<Vec<(&'static str, Word)>> = LazyLock::new(lexicon_zh);
static LEXICON_EN: LazyLock<Vec<(&'static str, Word)>> = LazyLock::new(lexicon_en);

fn lexicon_zh() -> Vec<(&'static str, Word)> {
    let mut lexicon = vec![
        ("二", Word::Number(2)),
        ("座", Word::Measure),
        ("颗", Word::Measure),
        ("轮", Word::Measure),
        ("左侧", Word::Spot(Relation::LeftOf)),
        ("右侧", Word::Spot(Relation::RightOf)),
        ("上方", Word::Spot(Relation::Above)),
        ("下方", Word::Spot(Relation::Below)),
        ("在", Word::At),
        ("有", Word::Has),
        ("是", Word::Has),
        ("这是", Word::Has),
        ("的", Word::Of),
        ("和", Word::And),
        ("，", Word::And),
        (",", Word::And),
        ("图中", Word::Picture),
    ];
    lexicon.extend(NUMBERS_ZH.iter().enumerate().map(|(i, text)| (*text, Word::Number(i + 1))));
    lexicon.extend(Colour::ALL.map(|c| (c.zh(), Word::Colour(c))));
    lexicon.extend(Kind::all().map(|k| (k.words().zh, Word::Kind(k))));
    lexicon
        .extend(Kind::all().flat_map(|k| k.words().synonyms_zh.iter().map(move |zh| (*zh, Word::Kind(k)))));
    lexicon.extend(Kind::all().map(|k| (k.words().measure, Word::Measure)));
    lexicon.extend(Place::ALL.map(|p| (p.zh(), Word::Place(p))));
    lexicon.extend(Relation::ALL.map(|r| (r.zh(), Word::Spot(r))));
    lexicon
}

fn lexicon_en() -> Vec<(&'static str, Word)> {
    let mut lexicon = vec![
        ("a", Word::Number(1)),
        ("an", Word::Number(1)),
        ("one", Word::Number(1)),
        ("the", Word::The),
        ("is", Word::Is),
        ("are", Word::Is),
        ("there is", Word::Has),
        ("there are", Word::Has),
        ("a picture of", Word::Has),
        ("and", Word::And),
        (",", Word::And),
        ("left of", Word::Relation(Relation::LeftOf)),
        ("on the left of", Word::Relation(Relation::LeftOf)),
        ("right of", Word::Relation(Relation::RightOf)),
        ("on the right of", Word::Relation(Relation::RightOf)),
        ("over", Word::Relation(Relation::Above)),
        ("under", Word::Relation(Relation::Below)),
        ("next to", Word::Relation(Relation::Beside)),
    ];
    lexicon.extend(NUMBERS_EN.iter().enumerate().map(|(i, text)| (*text, Word::Number(i + 2))));
    lexicon.extend(Colour::ALL.map(|c| (c.en(), Word::Colour(c))));
    lexicon.extend(Kind::all().map(|k| (k.words().en, Word::Kind(k))));
    lexicon.extend(Kind::all().map(|k| (k.words().plural, Word::Kind(k))));
    lexicon.extend(Place::ALL.map(|p| (p.en(), Word::Place(p))));
    lexicon.extend(Relation::ALL.map(|r| (r.en(), Word::Relation(r))));
    let spots = Relation::ALL.into_iter().filter(|r| *r != Relation::Beside);
    lexicon.extend(spots.map(|r| (r.spot_en(), Word::Spot(r))));
    lexicon
}

/// Takes each `[number [measure] | the] [colour [的]] kind` together; `None` for a phrase that ends without a kind.
fn noun_phrases(words: &[Word]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = words;
    while let [word, ..] = *rest {
        if !matches!(word, Word::Number(_) | Word::Measure | Word::Colour(_) | Word::Kind(_) | Word::The) {
            parts.push(Part::Word(word));
            rest = &rest[1..];
            continue;
        }
        let mut count = None;
        if let [Word::Number(number), after @ ..] = rest {
            (count, rest) = (Some(*number), after);
            if let [Word::Measure, after @ ..] = rest {
                rest = after;
            }
        } else if let [Word::The, after @ ..] = rest {
            rest = after;
        }
        let mut colour = None;
        if let [Word::Colour(named), after @ ..] = rest {
            (colour, rest) = (Some(*named), after);
            if let [Word::Of, after @ ..] = rest {
                rest = after;
            }
        }
        let [Word::Kind(kind), after @ ..] = rest else { return None };
        parts.push(Part::Thing(Thing { kind: *kind, colour, count }));
        rest = after;
    }
    Some(parts)
}

/// Reads the shapes of sentence; `None` where none fits.
fn sentence(parts: &[Part]) -> Option<Claim> {
    use Part::{Thing as T, Word as W};
    use Word::{And, At, Has, Is, Of, Place as In, Relation as Rel, Spot};

    let parts = opening_removed(&plain(parts));
    let one = |a: Thing, place| Claim { things: vec![a], relation: None, place };
    let two = |a: Thing, relation: Relation, b: Thing, place| Claim {
        things: vec![a, b],
        relation: Some((0, relation, 1)),
        place,
    };
    Some(match *parts.as_slice() {
        [T(a)] => one(a, None),
        [W(In(p)), W(Has | Of), T(a)] | [T(a), W(At | Is), W(In(p))] | [T(a), W(In(p))] => one(a, Some(p)),
        [T(a), W(And), T(b)] => Claim { things: vec![a, b], ..Claim::default() },
        [W(In(p)), W(Has), T(a), W(And), T(b)] => {
            Claim { things: vec![a, b], relation: None, place: Some(p) }
        }
        [W(Spot(r)), W(Has), T(a), W(And), W(Spot(s)), W(Has), T(b)]
        | [T(a), W(Spot(r)), W(And), T(b), W(Spot(s))]
            if s == r.reversed() && r != Relation::Beside =>
        {
            two(a, r, b, None)
        }
        [T(a), W(At), T(b), W(Spot(r))]
        | [T(b), W(Spot(r)), W(Has), T(a)]
        | [T(a), W(Rel(r)), T(b)]
        | [T(a), W(Is), W(Rel(r)), T(b)] => two(a, r, b, None),
        [W(In(p)), W(Has), T(a), W(At), T(b), W(Spot(r))]
        | [T(a), W(Rel(r)), T(b), W(In(p))]
        | [T(a), W(Is), W(Rel(r)), T(b), W(In(p))] => two(a, r, b, Some(p)),
        _ => return None,
    })
}

/// 的 between a thing and a spot says nothing: "房子的上面" is "房子上面".
fn plain(parts: &[Part]) -> Vec<Part> {
    let mut plain: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        let is_spot = matches!(part, Part::Word(Word::Spot(_)));
        if is_spot && matches!(plain.as_slice(), [.., Part::Thing(_), Part::Word(Word::Of)]) {
            plain.pop();
        }
        plain.push(*part);
    }
    plain
}

/// Without "图中有", "这是", "there is" or "a picture of" at the beginning.
fn opening_removed(parts: &[Part]) -> Vec<Part> {
    match parts {
        [Part::Word(Word::Picture), Part::Word(Word::Has), rest @ ..]
        | [Part::Word(Word::Has), rest @ ..] => rest.to_vec(),
        all => all.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Background, Family, Object};
    use super::super::{EVAL_SEED, captions_en, captions_zh, compose};
    use super::*;

    fn object(kind: Kind, colour: Option<Colour>, x: f32, y: f32) -> Object {
        Object { kind, colour, x, y, size: 0.3, rotation: 0.0, mirrored: false }
    }

    fn cat_left_of_tree() -> Scene {
        Scene {
            family: Family::Beside,
            width: 100,
            height: 100,
            background: Background::Place { place: Place::Grass, horizon: 0.5 },
            objects: vec![
                object(Kind::Cat, Some(Colour::Black), 0.2, 0.6),
                object(Kind::Tree, Some(Colour::Green), 0.8, 0.6),
            ],
            relation: Some(Relation::Beside),
        }
    }

    #[test]
    fn both_directions_of_a_relation_are_accepted() {
        let scene = cat_left_of_tree();
        for caption in [
            "一只黑色的猫在一棵绿色的树旁边",
            "一 棵 绿 色 的 树 在 一 只 黑 色 的 猫 的 右 边 。",
            "一只黑色的猫右边有一棵绿色的树",
            "左边是一只黑色的猫，右边是一棵绿色的树",
            "草地上有一只黑色的猫和一棵绿色的树",
            "a black cat is to the left of a green tree.",
            "there is a green tree next to a black cat on the grass",
            "a green tree on the right and a black cat on the left",
        ] {
            let verdict = check_caption(&scene, caption);
            assert!(verdict.is_true(), "{caption}: {verdict:?}");
        }
    }

    #[test]
    fn the_wrong_part_is_blamed() {
        let scene = cat_left_of_tree();
        let blamed = |caption: &str| {
            let v = check_caption(&scene, caption);
            assert!(v.understood && !v.is_true(), "{caption}: {v:?}");
            [v.kind, v.colour, v.count, v.relation, v.place].map(|part| part == Some(false))
        };
        assert_eq!(blamed("一只黑色的狗在一棵绿色的树旁边"), [true, false, false, false, false]);
        assert_eq!(blamed("一只白色的猫在一棵绿色的树旁边"), [false, true, false, false, false]);
        assert_eq!(blamed("一只黑色的猫在两棵绿色的树旁边"), [false, false, true, false, false]);
        assert_eq!(blamed("一只黑色的猫在一棵绿色的树右边"), [false, false, false, true, false]);
        assert_eq!(blamed("a black cat is above a green tree"), [false, false, false, true, false]);
        assert_eq!(blamed("雪地上有一只黑色的猫和一棵绿色的树"), [false, false, false, false, true]);
    }

    #[test]
    fn leaving_out_a_main_object_or_talking_nonsense_is_not_true() {
        let scene = cat_left_of_tree();
        let half = check_caption(&scene, "草地上有一只黑色的猫");
        assert!(half.understood && !half.complete && half.kind == Some(true) && !half.is_true());
        for nonsense in [
            "",
            "的",
            "一只猫在",
            "一只的猫",
            "猫猫",
            "两两只猫",
            "一只龙",
            "a cat is a",
            "图中",
            "左边是一只猫，左边是一棵树",
        ] {
            assert!(!check_caption(&scene, nonsense).understood, "{nonsense}");
        }
        // Said less, but all of it true and every main object named.
        assert!(check_caption(&scene, "猫在树旁边").is_true());
    }

    /// Every caption, and the same raw as a tokenizer decodes it.
    fn captions(scene: &Scene) -> Vec<String> {
        let mut captions = captions_zh(scene);
        let raw = |c: &String| c.chars().map(String::from).collect::<Vec<_>>().join(" ");
        captions.extend(captions.clone().iter().map(raw));
        captions.extend(captions_en(scene));
        captions
    }

    #[test]
    fn every_caption_is_true_of_its_own_scene() {
        for index in 0..2000 {
            let scene = compose(EVAL_SEED, index);
            for caption in captions(&scene) {
                let verdict = check_caption(&scene, &caption);
                assert!(verdict.is_true(), "{index} {caption}: {verdict:?} {scene:?}");
                assert!(verdict.kind.is_some() && verdict.relation.is_some() == scene.relation.is_some());
                assert!(verdict.count.is_some() || caption.contains("the "), "{caption}");
                let coloured = scene.objects.iter().any(|o| o.colour.is_some());
                assert_eq!(verdict.colour.is_some(), coloured, "{caption}");
            }
        }
    }

    /// Changes the equal objects of the first group all alike.
    fn change(scene: &Scene, with: impl Fn(&mut Object)) -> Scene {
        let mut changed = scene.clone();
        let first = scene.objects[0];
        let same = |o: &&mut Object| (o.kind, o.colour) == (first.kind, first.colour);
        changed.objects.iter_mut().filter(same).for_each(with);
        changed
    }

    fn assert_blames(scene: &Scene, lie: &Scene, part: impl Fn(&Verdict) -> Option<bool>) {
        for caption in captions(lie) {
            let verdict = check_caption(scene, &caption);
            assert!(verdict.understood && !verdict.is_true(), "{caption}: {verdict:?}");
            assert_eq!(part(&verdict), Some(false), "{caption}: {verdict:?} {scene:?}");
        }
    }

    #[test]
    fn mutated_captions_are_false_and_the_right_part_is_blamed() {
        for index in 0..1000 {
            let scene = compose(EVAL_SEED, index);
            let groups = scene.groups();
            let first = scene.objects[0];
            let taken = |kind, colour| groups.iter().any(|g| (g.kind, g.colour) == (kind, colour));
            for colour in Colour::ALL.into_iter().filter(|c| !taken(first.kind, Some(*c))) {
                if first.colour.is_some() {
                    let lie = change(&scene, |o| o.colour = Some(colour));
                    assert_blames(&scene, &lie, |v| v.colour);
                    assert_blames(&scene, &lie, |v| v.kind.map(|right| !right));
                }
            }
            for kind in Kind::all().filter(|k| groups.iter().all(|g| g.kind != *k)) {
                assert_blames(&scene, &change(&scene, |o| o.kind = kind), |v| v.kind);
            }
            if groups[0].count < 4 {
                let mut lie = scene.clone();
                lie.objects.insert(0, first);
                assert_blames(&scene, &lie, |v| v.count);
            }
            if let Some(relation) = scene.relation {
                let reversed =
                    if relation == Relation::Beside { Relation::Above } else { relation.reversed() };
                let lie = Scene { relation: Some(reversed), ..scene.clone() };
                assert_blames(&scene, &lie, |v| v.relation);
                assert_blames(&scene, &lie, |v| v.kind.map(|right| !right));
            }
        }
    }
}
