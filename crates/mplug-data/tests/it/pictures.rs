//! Drawn pictures: deterministic, within their sizes, visible, and worded within the vocabulary.

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use mplug::preprocess::text::Tokenizer;
use mplug_data::dataset::Language;
use mplug_data::synth::{
    Background, EVAL_SEED, Family, Kind, Object, Scene, TRAIN_SEED, compose, demo_vocabulary, draw, draw_at,
    false_caption, questions, render,
};

#[test]
fn the_same_seed_and_index_give_the_same_picture() {
    for index in [0, 1, 17, u64::MAX] {
        let (first, second) = (draw(TRAIN_SEED, index), draw(TRAIN_SEED, index));
        assert_eq!(first.image, second.image);
        assert_eq!(first.scene, second.scene);
        assert_eq!(first.captions_zh, second.captions_zh);
        assert_ne!(first.image, draw(EVAL_SEED, index).image);
        assert_ne!(first.image, draw(TRAIN_SEED, index ^ 1).image);
        assert_eq!(draw_at(TRAIN_SEED, index, 96, 96).scene, first.scene);
    }
}

/// Scenes hold no number that depends on the machine but by rounding; this pins the choices themselves.
#[test]
fn scenes_do_not_change_unnoticed() {
    let captions: Vec<String> = (0..4).map(|i| draw(EVAL_SEED, i).captions_en[0].clone()).collect();
    assert_eq!(
        captions,
        [
            "two yellow birds are above a blue boat",
            "two white hearts",
            "two purple flowers on the grass",
            "an orange triangle is to the left of a black diamond",
        ]
    );
}

#[test]
fn sizes_and_shares_are_as_promised() {
    let mut shares: BTreeMap<Family, usize> = BTreeMap::new();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for index in 0..2000 {
        let scene = compose(TRAIN_SEED, index);
        *shares.entry(scene.family).or_default() += 1;
        let (width, height) = (scene.width as f32, scene.height as f32);
        assert!((128..=256).contains(&scene.width) && (128..=256).contains(&scene.height));
        assert!((0.74..=1.34).contains(&(width / height)));
        for object in &scene.objects {
            *kinds.entry(object.kind).or_default() += 1;
            let (half_width, half_height) = object.kind.half_extent();
            let side = object.size * width.min(height);
            let longest = (2.0 * half_width * side / width).max(2.0 * half_height * side / height);
            let least = if scene.objects.len() >= 4 { 0.18 } else { 0.22 };
            assert!(longest >= least, "{index}: {longest} {object:?}");
        }
    }
    assert_eq!(kinds.len(), Kind::all().count(), "every kind is drawn");
    assert!(kinds.values().all(|n| *n >= 40), "no kind is rare: {kinds:?}");
    for family in Family::ALL {
        assert!(shares[&family] >= 200, "{shares:?}");
    }
}

#[test]
fn objects_keep_apart_and_inside() {
    for index in 0..2000 {
        let scene = compose(EVAL_SEED, index);
        let boxes: Vec<[f32; 4]> = scene.objects.iter().map(|o| bounds(&scene, o)).collect();
        for (i, a) in boxes.iter().enumerate() {
            assert!(a[0] > -0.02 && a[1] > -0.02 && a[2] < 1.02 && a[3] < 1.02, "{index}: {a:?}");
            for b in &boxes[..i] {
                let apart = a[0] >= b[2] || b[0] >= a[2] || a[1] >= b[3] || b[1] >= a[3];
                assert!(apart, "{index}: {a:?} {b:?}");
            }
        }
    }
}

/// Left, top, right, bottom of an object that is not turned, as fractions of the picture.
fn bounds(scene: &Scene, object: &Object) -> [f32; 4] {
    let (half_width, half_height) = object.kind.half_extent();
    let side = object.size * scene.width.min(scene.height) as f32;
    let (w, h) = (half_width * side / scene.width as f32, half_height * side / scene.height as f32);
    [object.x - w, object.y - h, object.x + w, object.y + h]
}

/// Every kind paints its box and nothing beyond it, so that layouts can trust the boxes.
#[test]
fn every_kind_keeps_within_its_box() {
    for kind in Kind::all() {
        let background = Background::Plain { rgb: [90, 200, 200] };
        let object = Object {
            kind,
            colour: kind.colours().first().copied(),
            x: 0.5,
            y: 0.5,
            size: 0.7,
            rotation: 0.0,
            mirrored: false,
        };
        let empty = Scene {
            family: Family::Counts,
            width: 200,
            height: 200,
            background,
            objects: Vec::new(),
            relation: None,
        };
        let scene = Scene { objects: vec![object], ..empty.clone() };
        let (with, without) = (0..50)
            .map(|i| (render(&scene, 1, i, 200, 200), render(&empty, 1, i, 200, 200)))
            .find(|(_, without)| is_plain(without))
            .expect("some pictures have neither noise nor clutter");
        let [left, top, right, bottom] = bounds(&scene, &object).map(|f| f * 200.0);
        let mut painted = 0;
        for (x, y, pixel) in with.enumerate_pixels() {
            if pixel.0.iter().zip(without.get_pixel(x, y).0).any(|(a, b)| a.abs_diff(b) > 24) {
                painted += 1;
                let inside = (x as f32) > left - 3.0 && (x as f32) < right + 2.0;
                let within = (y as f32) > top - 3.0 && (y as f32) < bottom + 2.0;
                assert!(inside && within, "{kind:?} paints {x}, {y}, outside {left} {top} {right} {bottom}");
            }
        }
        let share = painted as f32 / ((right - left) * (bottom - top));
        assert!(share > 0.25, "{kind:?} fills only {share} of its box");
    }
}

fn is_plain(image: &RgbImage) -> bool {
    image.pixels().all(|p| p == image.get_pixel(0, 0))
}

#[test]
fn the_vocabulary_covers_every_text() {
    let vocabulary = demo_vocabulary();
    let lines: Vec<&str> = vocabulary.lines().collect();
    assert_eq!((lines[0], lines[1], lines[99]), ("[PAD]", "[unused1]", "[unused99]"));
    assert_eq!(lines[100..104], ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
    let tokens: BTreeSet<&str> = lines.iter().copied().collect();
    assert_eq!(tokens.len(), lines.len(), "no token twice");
    assert!(lines.len() < 420, "{} tokens", lines.len());
    let tokenizer = Tokenizer::from_vocab(&vocabulary).expect("a BERT vocabulary");
    let decoded = |text: &str| {
        let ids = tokenizer.encode(text, 64);
        assert!(!ids.contains(&100), "{text}");
        tokenizer.decode(&ids)
    };
    for index in 0..2000 {
        let example = draw_at(TRAIN_SEED, index, 4, 4);
        let [chinese, english] = [Language::Chinese, Language::English].map(|language| {
            let lie = false_caption(&example.scene, language, index).expect("every scene has one");
            let mut texts = vec![lie.caption, lie.true_caption];
            for question in questions(&example.scene, language, index) {
                texts.push(question.question);
                texts.extend(question.answers);
            }
            texts
        });
        for text in chinese.iter().chain(&example.captions_zh) {
            assert_eq!(decoded(text).split(' ').collect::<String>(), *text);
        }
        for text in english.iter().chain(&example.captions_en) {
            assert_eq!(decoded(text), *text);
        }
        assert!(example.captions_zh.iter().all(|caption| caption.chars().count() <= 23));
        assert!((3..=5).contains(&example.captions_zh.len()) && (3..=5).contains(&example.captions_en.len()));
    }
}

/// What the demo models were trained with: a token more or less would change every number behind it.
#[test]
fn the_vocabulary_is_that_of_the_demo_models() {
    for model in ["caption", "ask", "match"] {
        let path = format!("{}/../mplug-demo-{model}/model/vocab.txt", env!("CARGO_MANIFEST_DIR"));
        let shipped = std::fs::read_to_string(path).expect("the demo model is in the repository");
        assert_eq!(demo_vocabulary(), shipped, "{model}");
    }
}
