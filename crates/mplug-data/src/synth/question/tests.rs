//! Questions are asked of drawn scenes; their answers are held to the judge of captions, which knows nothing of them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::scene::{Background, Colour, Family, Group, Kind, Object, Place, Relation};
use super::super::{EVAL_SEED, TRAIN_SEED, check_caption, compose};
use super::inquiry::{Inquiry, Mark, Thing, inquiries};
use super::*;

const LANGUAGES: [Language; 2] = [Language::Chinese, Language::English];

fn object(kind: Kind, colour: Option<Colour>, x: f32) -> Object {
    Object { kind, colour, x, y: 0.6, size: 0.3, rotation: 0.0, mirrored: false }
}

fn scene(background: Background, objects: Vec<Object>, relation: Relation) -> Scene {
    let family = if objects[0].kind.is_shape() { Family::Relations } else { Family::Beside };
    Scene { family, width: 100, height: 100, background, objects, relation: Some(relation) }
}

fn cat_beside_tree() -> Scene {
    let objects =
        vec![object(Kind::Cat, Some(Colour::Black), 0.2), object(Kind::Tree, Some(Colour::Green), 0.8)];
    scene(Background::Place { place: Place::Grass, horizon: 0.5 }, objects, Relation::Beside)
}

fn blue_circle_right_of_red_circle() -> Scene {
    let objects =
        vec![object(Kind::Circle, Some(Colour::Blue), 0.8), object(Kind::Circle, Some(Colour::Red), 0.2)];
    scene(Background::Plain { rgb: [90, 200, 200] }, objects, Relation::RightOf)
}

/// Every question about `scene` under some numbers, each with its first answer.
fn asked(scene: &Scene, language: Language) -> BTreeMap<String, String> {
    let all = (0..200).flat_map(|number| questions(scene, language, number));
    all.map(|q| (q.question, q.answers[0].clone())).collect()
}

fn assert_asked(scene: &Scene, language: Language, expected: &[(&str, &str)]) {
    let asked = asked(scene, language);
    for (question, answer) in expected {
        assert_eq!(asked.get(*question).map(String::as_str), Some(*answer), "{question} {asked:#?}");
    }
}

#[test]
fn things_of_two_kinds_are_told_apart_by_kind() {
    assert_asked(
        &cat_beside_tree(),
        Language::Chinese,
        &[
            ("图中有什么？", "猫和树"),
            ("猫是什么颜色？", "黑色"),
            ("图里一共有多少棵树？", "一棵"),
            ("猫和树在哪里？", "草地上"),
            ("树在猫的什么位置？", "右边"),
            ("相对于树，猫在哪里？", "左边"),
            ("猫旁边有什么？", "树"),
            ("什么在树的左边？", "猫"),
            ("有树吗？", "有"),
            ("图里有没有狗？", "没有"),
            ("猫是不是白色的？", "不是"),
            ("树是绿色的吗？", "是"),
            ("图中有黑色的猫吗？", "有"),
        ],
    );
    assert_asked(
        &cat_beside_tree(),
        Language::English,
        &[
            ("what is in the picture?", "cat and tree"),
            ("what color is the tree?", "green"),
            ("how many cats are there?", "1"),
            ("where are the cat and the tree?", "on the grass"),
            ("where is the tree relative to the cat?", "right"),
            ("what is beside the tree?", "cat"),
            ("what is to the right of the cat?", "tree"),
            ("can you see a cat?", "yes"),
            ("is the sun there?", "no"),
            ("does the cat look orange?", "no"),
            ("is there an orange tree?", "no"),
        ],
    );
}

#[test]
fn things_of_one_kind_are_told_apart_by_spot_or_colour() {
    assert_asked(
        &blue_circle_right_of_red_circle(),
        Language::Chinese,
        &[
            ("图中有什么形状？", "圆形"),
            ("左边的圆形是什么颜色？", "红色"),
            ("图中有几个圆形？", "两个"),
            ("蓝色的圆形在红色的圆形的什么位置？", "右边"),
            ("蓝色的圆形左边有什么？", "圆形"),
            ("右边的圆形是红色的吗？", "不是"),
            ("红色的是什么形状？", "圆形"),
        ],
    );
    assert_asked(
        &blue_circle_right_of_red_circle(),
        Language::English,
        &[
            ("which shapes are in the picture?", "circles"),
            ("what colour is the circle on the right?", "blue"),
            ("how many circles do you see?", "2"),
            ("where is the red circle relative to the blue circle?", "left"),
            ("is the circle on the left blue?", "no"),
            ("is there a blue circle?", "yes"),
        ],
    );
    let ambiguous = ["圆形是什么颜色？", "圆形是红色的吗？", "圆形是蓝色的吗？"];
    let asked = asked(&blue_circle_right_of_red_circle(), Language::Chinese);
    assert!(ambiguous.iter().all(|question| !asked.contains_key(*question)));
}

/// The thing in the words of an English caption.
fn said(thing: &Thing) -> String {
    let words = thing.kind.words();
    match thing.mark {
        Mark::Colour(colour) => format!("the {} {}", colour.en(), words.en),
        Mark::Kind | Mark::Spot(_) => format!("the {}", words.en),
    }
}

fn kind_is_there(scene: &Scene, group: &Group) -> bool {
    check_caption(scene, group.kind.words().en).kind == Some(true)
}

/// Whether the judge of captions finds what an inquiry takes for the case.
fn is_the_case(scene: &Scene, inquiry: &Inquiry) -> bool {
    let judge = |caption: &str| {
        let verdict = check_caption(scene, caption);
        assert!(verdict.understood, "{caption}");
        verdict
    };
    match inquiry {
        Inquiry::Contents(groups) => groups.iter().all(|g| kind_is_there(scene, g)),
        Inquiry::PlaceContents(place, group) => {
            let verdict = judge(&format!("{} {}", group.kind.words().en, place.en()));
            verdict.kind == Some(true) && verdict.place == Some(true) && verdict.complete
        }
        Inquiry::ShapeOfColour(colour, group) => {
            let verdict = judge(&format!("{} {}", colour.en(), group.kind.words().en));
            verdict.kind == Some(true) && verdict.colour == Some(true)
        }
        Inquiry::ColourOf(thing, colour) | Inquiry::IsColour(thing, colour, true) => match thing.mark {
            Mark::Spot(spot) => {
                let kind = thing.kind.words().en;
                let there = spot.reversed().spot_en();
                let here = spot.spot_en();
                judge(&format!("{} {kind} {here} and {kind} {there}", colour.en())).is_true()
            }
            _ => judge(&format!("{} {}", colour.en(), thing.kind.words().en)).colour == Some(true),
        },
        Inquiry::IsColour(thing, colour, false) => {
            !is_the_case(scene, &Inquiry::IsColour(*thing, *colour, true))
        }
        Inquiry::CountOf(kind, count) => *count == scene.objects.iter().filter(|o| o.kind == *kind).count(),
        Inquiry::CountOfShapes(count) => *count == scene.objects.len(),
        Inquiry::PlaceOf(things, place) => {
            let names: Vec<String> = things.iter().map(said).collect();
            let all = names.join(" and ");
            let verdict = check_caption(scene, &all);
            verdict.kind == Some(true) && verdict.complete && scene.place() == Some(*place)
        }
        Inquiry::PositionOf(a, relation, b) => {
            judge(&format!("{} is {} {}", said(a), relation.en(), said(b))).is_true()
        }
        Inquiry::Neighbour(relation, other, group) => {
            let kind = group.kind.words().en;
            judge(&format!("{kind} is {} {}", relation.en(), said(other))).is_true()
        }
        Inquiry::Exists(kind, is_there) => (judge(kind.words().en).kind == Some(true)) == *is_there,
        Inquiry::ColouredExists(kind, colour, is_there) => {
            let verdict = judge(&format!("{} {}", colour.en(), kind.words().en));
            (verdict.kind == Some(true) && verdict.colour == Some(true)) == *is_there
        }
    }
}

#[test]
fn what_is_asked_is_the_case() {
    for number in 0..1500 {
        let scene = compose(EVAL_SEED, number);
        let asked = inquiries(&scene, &mut Choices::new(number, 0, Purpose::Questions));
        assert!(asked.len() >= 5, "{asked:?}");
        for inquiry in asked {
            assert!(is_the_case(&scene, &inquiry), "{number} {inquiry:?} {scene:?}");
        }
    }
}

#[test]
fn first_answers_are_right_short_and_of_every_kind() {
    for language in LANGUAGES {
        let mut kinds: BTreeMap<QuestionKind, usize> = BTreeMap::new();
        let mut first_words = BTreeSet::new();
        for number in 0..500 {
            let scene = compose(TRAIN_SEED, number);
            for question in questions(&scene, language, number) {
                *kinds.entry(question.kind).or_default() += 1;
                assert!(question.answers.iter().all(|answer| judge_answer(&question, answer)));
                let once: BTreeSet<&String> = question.answers.iter().collect();
                assert_eq!(once.len(), question.answers.len(), "{question:?}");
                let first = &question.answers[0];
                let length = match language {
                    Language::Chinese => first.chars().count(),
                    Language::English => first.split(' ').count(),
                };
                let most = if question.kind == QuestionKind::Kind { 6 } else { 4 };
                assert!((1..=most).contains(&length), "{question:?}");
                assert!(!question.question.contains(['{', '}']), "{question:?}");
                assert!(!judge_answer(&question, ""), "{question:?}");
                first_words.insert(first.clone());
            }
        }
        assert!(QuestionKind::ALL.iter().all(|kind| kinds[kind] >= 100), "{kinds:?}");
        assert!(first_words.len() > 60, "{first_words:?}");
    }
}

/// Another scene's answer to a question of the same kind is rarely right.
#[test]
fn answers_of_other_scenes_are_mostly_wrong() {
    for language in LANGUAGES {
        let all: Vec<Vec<Question>> =
            (0..400).map(|number| questions(&compose(EVAL_SEED, number), language, number)).collect();
        let mut right: BTreeMap<QuestionKind, [usize; 2]> = BTreeMap::new();
        for (own, others) in all.iter().zip(all.iter().cycle().skip(7)) {
            for question in own {
                for other in others.iter().filter(|other| other.kind == question.kind) {
                    let is_right = judge_answer(question, &other.answers[0]);
                    right.entry(question.kind).or_default()[usize::from(is_right)] += 1;
                }
            }
        }
        for (kind, [wrong, right]) in right {
            let most = match kind {
                // Yes and no; one is the most frequent number.
                kind if kind.is_yes_or_no() => 0.55,
                QuestionKind::Count if language == Language::English => 0.55,
                _ => 0.35,
            };
            let share = right as f64 / (right + wrong) as f64;
            assert!(share < most, "{language:?} {kind:?}: {share}");
        }
    }
}

#[test]
fn yes_and_no_are_as_frequent() {
    for language in LANGUAGES {
        let [yes, no]: [&[&str]; 2] = [&["有", "是", "yes"], &["没有", "不是", "no"]];
        let mut counts: BTreeMap<QuestionKind, [usize; 2]> = BTreeMap::new();
        for number in 0..500 {
            let scene = compose(TRAIN_SEED, number);
            let asked = questions(&scene, language, number);
            for question in asked.iter().filter(|question| question.kind.is_yes_or_no()) {
                let answer = question.answers[0].as_str();
                assert!(yes.contains(&answer) || no.contains(&answer), "{question:?}");
                counts.entry(question.kind).or_default()[usize::from(yes.contains(&answer))] += 1;
            }
        }
        assert!(counts.len() == 2 && counts.values().all(|[no, yes]| no == yes), "{counts:?}");
    }
}

#[test]
fn the_same_number_asks_the_same_in_both_languages() {
    for index in 0..100 {
        let scene = compose(EVAL_SEED, index);
        let [zh, en] = LANGUAGES.map(|language| questions(&scene, language, index));
        assert_eq!(zh, questions(&scene, Language::Chinese, index));
        let kinds = |questions: &[Question]| questions.iter().map(|q| q.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&zh), kinds(&en));
        for (zh, en) in zh.iter().zip(&en).filter(|(zh, _)| zh.kind.is_yes_or_no()) {
            let is_yes = [zh, en].map(|q| ["有", "是", "yes"].contains(&q.answers[0].as_str()));
            assert_eq!(is_yes[0], is_yes[1], "{zh:?} {en:?}");
        }
        assert_ne!(zh, questions(&scene, Language::Chinese, index + 1), "numbers differ");
    }
}

#[test]
fn answers_are_judged_by_what_they_say() {
    let scene = cat_beside_tree();
    let find = |language, kind| {
        let all = (0..20).flat_map(|number| questions(&scene, language, number));
        let is_wanted =
            |q: &Question| q.kind == kind && (kind != QuestionKind::Count || q.question.contains('猫'));
        all.into_iter().find(is_wanted).expect("is asked")
    };
    let count = find(Language::Chinese, QuestionKind::Count);
    for (answer, is_right) in
        [("一只", true), ("1 只。", true), ("1", true), ("一只猫", true), ("两只", false)]
    {
        assert_eq!(judge_answer(&count, answer), is_right, "{answer}");
    }
    let contents = find(Language::English, QuestionKind::Kind);
    for (answer, is_right) in [
        ("cat and tree", true),
        ("A tree and a cat.", true),
        ("a black cat and a green tree", true),
        ("cat", false),
        ("a white cat and a green tree", false),
    ] {
        assert_eq!(judge_answer(&contents, answer), is_right, "{answer}");
    }
    let contents = find(Language::Chinese, QuestionKind::Kind);
    assert!(judge_answer(&contents, "树 和 猫") && !judge_answer(&contents, "树"));
}

#[test]
fn nothing_is_asked_about_nothing_or_too_much() {
    let empty = Scene { objects: Vec::new(), relation: None, ..compose(EVAL_SEED, 0) };
    assert_eq!(questions(&empty, Language::Chinese, 0), []);
    let crowd = Scene { objects: vec![object(Kind::Cat, None, 0.5); 5], ..empty };
    assert_eq!(questions(&crowd, Language::English, 0), []);
}
