//! METEOR against the reference evaluator's own scores and statistics in `fixtures/metrics`.
//!
//! The official data is not in this repository: set `MPLUG_METEOR_JAR` to the `meteor-1.5.jar` of pycocoevalcap (with
//! `data/paraphrase-en.gz` beside it). Without it these tests say that they were skipped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use caption_metrics::meteor::{CacheState, Meteor, MeteorData, meteor};
use serde_json::Value;

use crate::{fixture, strings};

/// One image of a fixture.
struct Image {
    name: String,
    candidate: String,
    references: Vec<String>,
    /// Absent where a set has the corpus score only.
    score: Option<f64>,
    statistics: Option<String>,
}

/// The official data, loaded once; `None` where the variable is not set.
fn official() -> Option<&'static MeteorData> {
    static DATA: OnceLock<Option<MeteorData>> = OnceLock::new();
    let data = DATA.get_or_init(|| {
        let jar = PathBuf::from(std::env::var_os("MPLUG_METEOR_JAR")?);
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("meteor-paraphrases.bin");
        Some(MeteorData::load(&jar, None, Some(&cache)).unwrap())
    });
    if data.is_none() {
        // Straight to standard error: what `eprintln!` says is shown of failing tests alone.
        let _ = std::io::stderr()
            .write_all(b"SKIPPED: METEOR with its data, for MPLUG_METEOR_JAR does not name meteor-1.5.jar\n");
    }
    data.as_ref()
}

fn image(name: &str, candidate: &Value, references: &Value, scores: &Value) -> Image {
    Image {
        name: name.to_owned(),
        candidate: candidate.as_str().unwrap().to_owned(),
        references: strings(references),
        score: scores["METEOR"].as_f64(),
        statistics: scores["meteor_stats"].as_str().map(str::to_owned),
    }
}

/// A set of images in the form of `en_tiny.json` and of each mode of `zh_150.json`.
fn images_of(set: &Value) -> Vec<Image> {
    let candidates = set["cand_tok"].as_object().unwrap().iter();
    candidates
        .map(|(id, candidate)| image(id, candidate, &set["refs_tok"][id], &set["per_image"][id]))
        .collect()
}

#[expect(clippy::float_cmp, reason = "the same sums must give the same bits")]
fn check(data: &MeteorData, images: &[Image], corpus: &Value) {
    let scorer = Meteor::new(data);
    for image in images {
        let references: Vec<&str> = image.references.iter().map(String::as_str).collect();
        let statistics = scorer.score(&image.candidate, &references);
        if let Some(expected) = &image.statistics {
            assert_eq!(&statistics.to_string(), expected, "{}", image.name);
        }
        if let Some(expected) = image.score {
            let difference = (statistics.score() - expected).abs();
            assert!(difference < 1e-12, "{}: {} against {expected}", image.name, statistics.score());
        }
    }
    let candidates: Vec<String> = images.iter().map(|image| image.candidate.clone()).collect();
    let references: Vec<Vec<String>> = images.iter().map(|image| image.references.clone()).collect();
    let scores = meteor(data, &candidates, &references).unwrap();
    assert_eq!(data.label(), "METEOR");
    assert!((scores.corpus - corpus["METEOR"].as_f64().unwrap()).abs() < 1e-12, "corpus: {}", scores.corpus);
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = single.install(|| meteor(data, &candidates, &references).unwrap());
    assert_eq!(scores.images, alone.images);
    assert_eq!(scores.corpus, alone.corpus);
}

fn english_images(fixture: &Value) -> Vec<Image> {
    let rows = fixture["images"].as_array().unwrap().iter();
    rows.map(|row| image(row["id"].as_str().unwrap(), &row["cand_tok"], &row["refs_tok"], &row["scores"]))
        .collect()
}

#[test]
fn english_images_agree_with_the_jar() {
    let Some(data) = official() else { return };
    let fixture = fixture("en_synthetic_200.json");
    let images = english_images(&fixture);
    assert_eq!(images.len(), 200);
    check(data, &images, &fixture["corpus"]);
}

#[test]
fn small_sets_agree_with_the_jar() {
    let Some(data) = official() else { return };
    let sets = fixture("en_tiny.json");
    for set in sets.as_object().unwrap().values() {
        check(data, &images_of(set), &set["corpus"]);
    }
}

#[test]
fn chinese_images_agree_with_the_jar() {
    let Some(data) = official() else { return };
    let fixture = fixture("zh_150.json");
    let mut modes = 0;
    for mode in fixture["modes"].as_object().unwrap().values() {
        if mode["corpus"]["METEOR"].is_number() {
            check(data, &images_of(mode), &mode["corpus"]);
            modes += 1;
        }
    }
    assert_eq!(modes, 3);
}

#[test]
fn hash_collisions_match_as_in_the_jar() {
    let Some(data) = official() else { return };
    let statistics = Meteor::new(data).score("variants", &["gelato"]);
    assert_eq!(statistics.to_array()[..6], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn the_cache_gives_the_same_statistics() {
    let Some(data) = official() else { return };
    let jar = PathBuf::from(std::env::var_os("MPLUG_METEOR_JAR").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("paraphrases.bin");
    assert!(matches!(MeteorData::load(&jar, None, Some(&cache)).unwrap().cache_state(), CacheState::Written));
    let cached = MeteorData::load(&jar, None, Some(&cache)).unwrap();
    assert!(matches!(cached.cache_state(), CacheState::Read));
    let pair = ("helping us also rightly 2", ["help us the importance of"]);
    let [first, second] = [data, &cached].map(|data| Meteor::new(data).score(pair.0, &pair.1));
    assert_eq!(first, second);
    assert_eq!(first.to_array()[16..], [3.0, 3.0, 1.0, 2.0, 1.0, 4.0, 5.0]);
}

/// Needs no official file: the expected figures are the jar's with `-m 'exact stem'` and an empty list of function words.
#[test]
fn without_the_files_only_exact_and_stem_match() {
    let data = MeteorData::without_resources();
    let images = english_images(&fixture("en_synthetic_200.json"));
    let candidates: Vec<String> = images.iter().map(|image| image.candidate.clone()).collect();
    let references: Vec<Vec<String>> = images.iter().map(|image| image.references.clone()).collect();
    let scores = meteor(&data, &candidates, &references).unwrap();
    assert_eq!(data.label(), "METEOR (exact+stem)");
    assert!((scores.corpus - 0.421_878_559_312_573_56).abs() < 1e-12, "{}", scores.corpus);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| meteor(&data, &candidates, &references).unwrap()), scores);
    }

    let statistics = Meteor::new(&data).score("a dog the cat", &["a dogs the"]);
    let expected =
        "4.0 3.0 0.0 0.0 2.0 2.0 0.0 0.0 1.0 1.0 0.0 0.0 0.0 0.0 0.0 0.0 0.0 0.0 0.0 0.0 1.0 3.0 3.0";
    assert_eq!(statistics.to_string(), expected);
}

/// What the evaluator does to the strings on their way to the jar.
#[test]
fn bars_and_double_spaces_are_treated_as_by_the_evaluator() {
    let data = MeteorData::without_resources();
    let scorer = Meteor::new(&data);
    assert_eq!(scorer.score("a ||| dog", &["a dog"]), scorer.score("a dog", &["a dog"]));
    assert_eq!(scorer.score("dog", &["a cat|||a dog"]), scorer.score("dog", &["a cat", "a dog"]));
    assert_eq!(scorer.score("dog", &[]), scorer.score("dog", &[""]));
}

#[test]
fn unequal_inputs_are_errors() {
    let data = MeteorData::without_resources();
    let error = meteor(&data, &["a".to_owned()], &[]).unwrap_err().to_string();
    assert!(error.starts_with("1 candidates and references of 0 images"), "{error}");
    let error = meteor(&data, &["a".to_owned()], &[Vec::new()]).unwrap_err().to_string();
    assert!(error.contains("image 0"), "{error}");
}
