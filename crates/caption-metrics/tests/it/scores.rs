//! BLEU, ROUGE-L and CIDEr of every image of every fixture, and the rewards of self-critical training.

use caption_metrics::bleu::bleu;
use caption_metrics::cider::cider;
use caption_metrics::corpus::Corpus;
use caption_metrics::reward::{Baseline, cider_rewards};
use caption_metrics::rouge_l::rouge_l;
use serde_json::Value;

use crate::{fixture, strings};

/// How far a score may be from the reference evaluator's.
const TOLERANCE: f64 = 1e-12;

#[track_caller]
fn assert_near(ours: f64, theirs: &Value, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    // Some figures of the reference are 10, where the last digit of an f64 is worth 1.8e-15.
    assert!((ours - theirs).abs() < TOLERANCE, "{what}: ours {ours}, reference {theirs}");
}

/// Checks a set of tokenised captions against the scores of its images and of the whole.
fn check(name: &str, candidates: &[String], references: &[Vec<String>], images: &[&Value], corpus: &Value) {
    let set = Corpus::new(candidates, references).unwrap();
    let (bleu, rouge_l, cider) = (bleu(&set), rouge_l(&set), cider(&set));
    let all = std::iter::once((bleu.corpus, rouge_l.corpus, cider.corpus, corpus));
    let each =
        images.iter().enumerate().map(|(i, v)| (bleu.images[i], rouge_l.images[i], cider.images[i], *v));
    for (i, (bleu, rouge_l, cider, expected)) in all.chain(each).enumerate() {
        for (n, bleu) in bleu.iter().enumerate() {
            assert_near(*bleu, &expected[format!("Bleu_{}", n + 1)], &format!("{name} {i} BLEU-{}", n + 1));
        }
        assert_near(rouge_l, &expected["ROUGE_L"], &format!("{name} {i} ROUGE-L"));
        assert_near(cider, &expected["CIDEr"], &format!("{name} {i} CIDEr"));
    }
}

#[test]
fn two_hundred_english_images() {
    let set = fixture("en_synthetic_200.json");
    let images = set["images"].as_array().unwrap();
    let candidates: Vec<String> = images.iter().map(|i| i["cand_tok"].as_str().unwrap().to_owned()).collect();
    let references: Vec<Vec<String>> = images.iter().map(|i| strings(&i["refs_tok"])).collect();
    let scores: Vec<&Value> = images.iter().map(|i| &i["scores"]).collect();
    assert_eq!(scores.len(), 200);
    check("english", &candidates, &references, &scores, &set["corpus"]);
}

/// Sets whose strings are keyed by image.
fn check_keyed(name: &str, set: &Value) {
    let keys: Vec<&String> = set["cand_tok"].as_object().unwrap().keys().collect();
    let candidates: Vec<String> =
        keys.iter().map(|&key| set["cand_tok"][key].as_str().unwrap().to_owned()).collect();
    let references: Vec<Vec<String>> = keys.iter().map(|&key| strings(&set["refs_tok"][key])).collect();
    // One set has published corpus figures only.
    let scores: Vec<&Value> =
        keys.iter().filter_map(|&key| set.get("per_image").map(|of| &of[key])).collect();
    check(name, &candidates, &references, &scores, &set["corpus"]);
}

#[test]
fn tiny_english_sets() {
    let sets = fixture("en_tiny.json");
    let sets = sets.as_object().unwrap();
    assert_eq!(sets.len(), 5);
    sets.iter().for_each(|(name, set)| check_keyed(name, set));
}

#[test]
fn chinese_in_every_segmentation() {
    let set = fixture("zh_150.json");
    let modes = set["modes"].as_object().unwrap();
    assert_eq!(modes.len(), 5);
    modes.iter().for_each(|(name, mode)| check_keyed(name, mode));
}

#[test]
fn rewards_of_a_batch() {
    let set = fixture("scst_cider.json");
    let images = set["images"].as_array().unwrap();
    let candidates: Vec<Vec<String>> = images.iter().map(|i| strings(&i["cands_tok"])).collect();
    let references: Vec<Vec<String>> = images.iter().map(|i| strings(&i["refs_tok"])).collect();
    let rewards = cider_rewards(&candidates, &references, None).unwrap();
    let expected = set["batch_df"]["scores"].as_array().unwrap();
    assert_eq!(expected.len(), 200);
    for (ours, theirs) in rewards.iter().flatten().zip(expected) {
        assert_near(*ours, theirs, "reward");
    }
    let advantages = set["advantage_f32_batch_df"].as_array().unwrap();
    for (rewards, advantages) in rewards.iter().zip(advantages) {
        for (ours, theirs) in Baseline::Mean.advantages(rewards).iter().zip(advantages.as_array().unwrap()) {
            // The original subtracts in f32.
            assert!((ours - theirs.as_f64().unwrap()).abs() < 2e-6, "{ours} {theirs}");
        }
    }
}
