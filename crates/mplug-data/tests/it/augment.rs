//! Augmentation: operations and whole views equal numpy's, OpenCV's and Pillow's in every byte (`fixtures/augment`, made
//! by `reference/make_augment_fixtures.py`); choices follow the stated distributions, whatever the picture.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::{Rgb, RgbImage};
use mplug_data::augment::{Augmentation, Crop, Operation, Overflow, View};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/augment").join(name)
}

fn picture(name: &str) -> RgbImage {
    image::open(fixture(name)).expect("a picture of the fixture").into_rgb8()
}

fn cases(section: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixture("cases.json")).expect("the fixture");
    let mut cases: Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(cases[section].take()).expect("a list")
}

fn number(value: &Value) -> u32 {
    value.as_u64().expect("a whole number") as u32
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn operation(name: &str) -> Operation {
    let named = |operation: &Operation| format!("{operation:?}") == name;
    Operation::ALL.into_iter().find(named).unwrap_or_else(|| panic!("no operation {name}"))
}

/// A picture by the formula that the fixture's script has too.
fn formula(kind: &str, width: u32, height: u32) -> RgbImage {
    let value = |x: u32, y: u32, channel: u32| {
        let mut bits =
            x.wrapping_mul(73_856_093) ^ y.wrapping_mul(19_349_663) ^ (channel + 1).wrapping_mul(83_492_791);
        bits = (bits ^ (bits >> 13)).wrapping_mul(0x5bd1_e995);
        bits ^= bits >> 15;
        let byte = (bits >> 8) as u8;
        match (kind, bits >> 30) {
            ("flat", _) => (channel * 100 + 3) as u8,
            ("ramp", _) => ((x * 5 + y * 3 + channel * 70) / 2) as u8,
            ("pale", _) => 60 + byte % 131,
            ("noise", 0) => 0,
            ("noise", 1) => 255,
            ("noise", _) => byte,
            _ => panic!("no formula {kind}"),
        }
    };
    RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|channel| value(x, y, channel))))
}

/// FNV-1a, 64 bits.
fn fnv(image: &RgbImage) -> String {
    let hash = image
        .as_raw()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// What is below each other in the `_level7` pictures.
fn level7() -> Vec<(Operation, f64, Overflow)> {
    let mut all = Vec::new();
    for operation in Operation::ALL {
        let magnitude = operation.magnitude(7);
        all.push((operation, magnitude, Overflow::Wrap));
        if operation.has_direction() {
            all.push((operation, -magnitude, Overflow::Wrap));
        }
    }
    for operation in [Operation::AutoContrast, Operation::Sharpness] {
        all.push((operation, operation.magnitude(7), Overflow::Clamp));
    }
    all
}

#[test]
fn operations_of_drawn_pictures_equal_the_originals() {
    let mut failures = Vec::new();
    for name in ["scene", "full_range", "black_and_white"] {
        let (source, strip) = (picture(&format!("{name}.png")), picture(&format!("{name}_level7.png")));
        assert_eq!(strip.height(), source.height() * level7().len() as u32);
        let expected = strip.chunks_exact(source.as_raw().len());
        for ((operation, magnitude, overflow), expected) in level7().into_iter().zip(expected) {
            let got = operation.apply(source.clone(), magnitude, overflow);
            let worst = got.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
            if worst != Some(0) {
                failures.push(format!("{name} {operation:?} {magnitude} {overflow:?}: differs by {worst:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn operations_at_all_levels_equal_the_originals() {
    let (mut failures, mut count) = (Vec::new(), 0);
    for case in cases("operations") {
        let (kind, width, height) = (text(&case["kind"]), number(&case["width"]), number(&case["height"]));
        let source = formula(kind, width, height);
        let levels: Vec<u8> = serde_json::from_value(case["levels"].clone()).expect("levels");
        let hashes: BTreeMap<String, Vec<String>> =
            serde_json::from_value(case["hashes"].clone()).expect("hashes");
        for (marked, hashes) in hashes {
            let operation = operation(marked.trim_end_matches(['+', '-', '=']));
            let sign = if marked.ends_with('-') { -1.0 } else { 1.0 };
            let overflow = if marked.ends_with('=') { Overflow::Clamp } else { Overflow::Wrap };
            for (&level, expected) in levels.iter().zip(&hashes) {
                let got = operation.apply(source.clone(), sign * operation.magnitude(level), overflow);
                count += 1;
                if fnv(&got) != *expected {
                    failures.push(format!("{kind} {width}x{height} {marked} level {level}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(count > 1000, "only {count} compared");
}

#[test]
fn whole_views_equal_the_originals() {
    let cases = cases("views");
    assert!(cases.len() >= 24);
    for case in cases {
        let (width, height) = (number(&case["width"]), number(&case["height"]));
        let [left, top, w, h] = [0, 1, 2, 3].map(|i| number(&case["crop"][i]));
        let drawn = case["operations"].as_array().expect("a list").iter().map(|drawn| {
            let operation = operation(text(&drawn[0]));
            let sign = drawn[2].as_f64().expect("a sign");
            (operation, sign * operation.magnitude(number(&drawn[1]) as u8))
        });
        let view = View {
            crop: Crop { left, top, width: w, height: h },
            is_mirrored: case["is_mirrored"] == true,
            operations: drawn.collect(),
            overflow: Overflow::Wrap,
        };
        let got = view.render(&formula(text(&case["kind"]), width, height), number(&case["size"]));
        assert_eq!(fnv(&got), text(&case["hash"]), "{case}");
    }
}

/// The means of many crops, against those of a million by an implementation of its own.
#[test]
fn crops_are_distributed_as_torchvisions() {
    const DRAWS: u32 = 40_000;
    for case in cases("crops") {
        let (width, height) = (number(&case["width"]), number(&case["height"]));
        let scale = serde_json::from_value(case["scale"].clone()).expect("a range");
        let augmentation = Augmentation { scale, ..Augmentation::fine_tuning() };
        let expected: [f64; 6] = serde_json::from_value(case["means"].clone()).expect("six means");
        let mut rng = Pcg64::seed_from_u64(11);
        let mut means = [0.0; 6];
        for _ in 0..DRAWS {
            let crop = augmentation.draw(width, height, &mut rng).crop;
            let across = |pixels: u32| f64::from(pixels) / f64::from(width);
            let down = |pixels: u32| f64::from(pixels) / f64::from(height);
            let share = across(crop.width) * down(crop.height);
            let of_crop = [
                across(crop.left),
                down(crop.top),
                across(crop.width),
                down(crop.height),
                share,
                share * share,
            ];
            for (mean, value) in means.iter_mut().zip(of_crop) {
                *mean += value / f64::from(DRAWS);
            }
        }
        // No deviation exceeds 0.3, so the mean of 40,000 is within 0.006 by four standard errors.
        let near = means.iter().zip(expected).all(|(mean, expected)| (mean - expected).abs() < 0.006);
        assert!(near, "{width}x{height}: {means:?}, expected {expected:?}");
    }
}

/// Shares within four standard errors (0.0064 at a half) of 100,000 draws.
#[test]
fn choices_have_their_probabilities() {
    const DRAWS: usize = 100_000;
    let near = |count: usize, expected: f64, of: usize| {
        let share = count as f64 / of as f64;
        assert!((share - expected).abs() < 0.007, "{share}, expected {expected}");
    };
    let augmentation = Augmentation::fine_tuning();
    let mut rng = Pcg64::seed_from_u64(3);
    let (mut mirrored, mut by_number) = (0, [0; 3]);
    let mut by_operation: BTreeMap<String, usize> = BTreeMap::new();
    let (mut directed, mut negated) = (0, 0);
    for _ in 0..DRAWS {
        let view = augmentation.draw(300, 200, &mut rng);
        mirrored += usize::from(view.is_mirrored);
        by_number[view.operations.len()] += 1;
        for (operation, magnitude) in view.operations {
            *by_operation.entry(format!("{operation:?}")).or_default() += 1;
            assert_eq!(magnitude.abs().to_bits(), operation.magnitude(7).to_bits());
            directed += usize::from(operation.has_direction());
            negated += usize::from(magnitude < 0.0);
        }
    }
    near(mirrored, 0.5, DRAWS);
    for (count, expected) in by_number.into_iter().zip([0.25, 0.5, 0.25]) {
        near(count, expected, DRAWS);
    }
    assert_eq!(by_operation.len(), 10);
    for count in by_operation.into_values() {
        near(count, 0.1, DRAWS);
    }
    near(negated, 0.5, directed);
}

#[test]
fn what_is_switched_off_does_not_happen() {
    let off = Augmentation {
        scale: (1.0, 1.0),
        aspect_ratio: (1.0, 1.0),
        flip_probability: 0.0,
        num_operations: 2,
        operations: Vec::new(),
        ..Augmentation::pre_training()
    };
    let image = formula("noise", 40, 40);
    for seed in 0..50 {
        let mut rng = Pcg64::seed_from_u64(seed);
        assert_eq!(off.apply(&image, 40, &mut rng), image);
        let unmirrored = Augmentation { flip_probability: 0.0, ..Augmentation::fine_tuning() };
        assert!(!unmirrored.draw(40, 40, &mut rng).is_mirrored);
    }
}

/// Pins the draws themselves: a change of them changes every training run.
#[test]
fn views_do_not_change_unnoticed() {
    let augmentation = Augmentation::fine_tuning();
    let mut rng = Pcg64::seed_from_u64(1);
    let views: Vec<View> = (0..4).map(|_| augmentation.draw(640, 480, &mut rng)).collect();
    let words: Vec<String> = views
        .iter()
        .map(|view| {
            let Crop { left, top, width, height } = view.crop;
            let side = if view.is_mirrored { "mirrored" } else { "plain" };
            format!("{left} {top} {width} {height} {side} {:.2?}", view.operations)
        })
        .collect();
    assert_eq!(
        words,
        [
            "19 111 475 360 mirrored [(ShearX, 0.21)]",
            "26 5 529 473 plain [(ShearX, 0.21)]",
            "75 88 500 383 plain [(AutoContrast, 0.00), (Identity, 0.00)]",
            "6 30 381 430 mirrored []",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_picture_has_views_of_the_requested_size(
        width in prop_oneof![1u32..4, 1u32..150, 2000u32..3000],
        height in prop_oneof![1u32..4, 1u32..150],
        size in 1u32..64,
        level: u8,
        seed: u64,
        clamps: bool,
    ) {
        let overflow = if clamps { Overflow::Clamp } else { Overflow::Wrap };
        let augmentation = Augmentation {
            num_operations: 4, operation_probability: 0.9, level, overflow, ..Augmentation::pre_training()
        };
        let image = formula("noise", width, height);
        let mut rng = Pcg64::seed_from_u64(seed);
        let view = augmentation.draw(width, height, &mut rng);
        prop_assert!(view.crop.width >= 1 && view.crop.left + view.crop.width <= width);
        prop_assert!(view.crop.height >= 1 && view.crop.top + view.crop.height <= height);
        let rendered = view.render(&image, size);
        prop_assert_eq!(rendered.dimensions(), (size, size));
        let again = augmentation.apply(&image, size, &mut Pcg64::seed_from_u64(seed));
        prop_assert_eq!(rendered, again);
    }

    #[test]
    fn any_setting_is_survived(
        ranges: [(f64, f64); 2],
        probabilities: [f64; 2],
        magnitude: f64,
        width in 0u32..9,
        height in 0u32..9,
        seed: u64,
    ) {
        let augmentation = Augmentation {
            scale: ranges[0],
            aspect_ratio: ranges[1],
            flip_probability: probabilities[0],
            operation_probability: probabilities[1],
            ..Augmentation::fine_tuning()
        };
        let image = formula("noise", width, height);
        let view = augmentation.apply(&image, 5, &mut Pcg64::seed_from_u64(seed));
        prop_assert_eq!(view.dimensions(), (5, 5));
        for magnitude in [magnitude, f64::INFINITY, f64::NAN] {
            for operation in Operation::ALL {
                let got = operation.apply(image.clone(), magnitude, Overflow::Wrap);
                prop_assert_eq!(got.dimensions(), image.dimensions());
            }
        }
    }
}
