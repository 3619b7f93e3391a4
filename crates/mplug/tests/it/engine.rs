//! The generation engine: whatever comes and goes beside a text, and whenever, its bits are those of the text alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use mplug::checkpoint::seeded::{seeded_tensors, synthetic_vocabulary};
use mplug::checkpoint::{Dtype, ModelFolder};
use mplug::config::{ModelConfig, Task};
use mplug::generate::sampling::SamplingOptions;
use mplug::generate::{GenerationOptions, Hypotheses, Id, Resolved, generate};
use mplug::tasks::LoadOptions;
use mplug::{Captioner, EncodedPicture, Precision, RgbImage};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

fn captioner(precision: Precision) -> Captioner {
    let config = ModelConfig::tiny(Task::ImageCaptioning);
    let checkpoint = seeded_tensors(&config, 3).to_checkpoint(Dtype::F32).unwrap();
    let vocabulary = synthetic_vocabulary(config.text.vocab_size);
    let folder = ModelFolder::from_checkpoint(&config, checkpoint, vocabulary).unwrap();
    let options = LoadOptions { precision: Some(precision), ..LoadOptions::default() };
    Captioner::load_with(&folder, &options).unwrap()
}

fn pictures(captioner: &Captioner) -> Vec<EncodedPicture> {
    let picture =
        |n: u32| RgbImage::from_fn(30, 20, |x, y| image::Rgb([(x * n) as u8, (y * 7) as u8, n as u8]));
    captioner.encode(&[picture(3), picture(90), picture(200)])
}

/// Options of every kind: beams, lengths, prefixes, words, several texts, draws.
fn options(captioner: &Captioner) -> Vec<GenerationOptions> {
    let plain = captioner.default_options();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let drawn = SamplingOptions { seed: 7, top_p: 0.9, ..SamplingOptions::default() };
    vec![
        GenerationOptions { max_new_tokens: 6, ..plain.clone() },
        GenerationOptions { num_beams: 1, max_new_tokens: 9, min_new_tokens: 1, ..plain.clone() },
        GenerationOptions { num_beams: 3, num_return_sequences: 3, max_new_tokens: 4, ..plain.clone() },
        GenerationOptions { prefix: Some("a b".to_owned()), max_new_tokens: 5, ..plain.clone() },
        GenerationOptions {
            prompt: Some("c".to_owned()),
            forbidden_words: words(&["a"]),
            required_words: words(&["b"]),
            ..plain.clone()
        },
        GenerationOptions {
            sampling: Some(drawn.clone()),
            num_return_sequences: 4,
            max_new_tokens: 7,
            ..plain.clone()
        },
        GenerationOptions { sampling: Some(drawn), forbidden_words: words(&["b"]), ..plain },
    ]
}

/// A text of the tests: which picture, which options.
type Kind = (usize, usize);

struct Fixture {
    captioner: Captioner,
    pictures: Vec<EncodedPicture>,
    resolved: Vec<Arc<Resolved>>,
    /// What each kind of text is when it is written alone.
    alone: BTreeMap<Kind, Hypotheses>,
}

impl Fixture {
    fn new(precision: Precision) -> Self {
        let captioner = captioner(precision);
        let pictures = pictures(&captioner);
        let resolve = |options: &GenerationOptions| Arc::new(captioner.resolve(options).unwrap());
        let resolved: Vec<_> = options(&captioner).iter().map(resolve).collect();
        let mut alone = BTreeMap::new();
        for (p, picture) in pictures.iter().enumerate() {
            for (r, resolved) in resolved.iter().enumerate() {
                let found = generate(captioner.decoder(), std::slice::from_ref(picture), resolved).remove(0);
                assert!(found.is_ok());
                alone.insert((p, r), found);
            }
        }
        Self { captioner, pictures, resolved, alone }
    }

    /// Texts of random kinds come and go between the steps of one engine.
    fn check_schedule(&self, random: &mut impl Rng) -> usize {
        let mut engine = self.captioner.engine();
        let mut running: BTreeMap<Id, Kind> = BTreeMap::new();
        let mut finished = 0;
        for _ in 0..random.random_range(1..25) {
            for _ in 0..random.random_range(0..3) {
                let kind @ (picture, resolved) = (
                    random.random_range(0..self.pictures.len()),
                    random.random_range(0..self.resolved.len()),
                );
                let id = engine.add(self.pictures[picture].clone(), Arc::clone(&self.resolved[resolved]));
                assert_eq!(running.insert(id, kind), None, "an id is given once");
            }
            if random.random_range(0..4) == 0
                && let Some((&id, _)) = running.iter().nth(random.random_range(0..3))
            {
                running.remove(&id);
                assert!(engine.abort(id) && !engine.abort(id));
            }
            finished += self.check_step(&mut engine, &mut running);
        }
        while !engine.is_empty() {
            finished += self.check_step(&mut engine, &mut running);
        }
        assert!(running.is_empty(), "texts without an update: {running:?}");
        finished
    }

    fn check_step(
        &self,
        engine: &mut mplug::generate::GenerationEngine,
        running: &mut BTreeMap<Id, Kind>,
    ) -> usize {
        let updates = engine.step();
        for update in &updates {
            let kind = running.remove(&update.id).expect("an update of a text that is being written");
            assert_eq!(bits(&update.hypotheses), bits(&self.alone[&kind]), "{kind:?}");
        }
        assert_eq!(engine.len(), running.len());
        updates.len()
    }
}

fn bits(hypotheses: &Hypotheses) -> Vec<(Vec<u32>, u32)> {
    let of =
        |found: &mplug::generate::beam_search::Hypothesis| (found.token_ids.clone(), found.score.to_bits());
    hypotheses.as_ref().unwrap().iter().map(of).collect()
}

/// Two thousand schedules, over the precisions; a failure names its seed.
#[test]
fn random_schedules_equal_separate_runs() {
    for (precision, schedules) in Precision::ALL.into_iter().zip([1000, 400, 600]) {
        let fixture = Fixture::new(precision);
        let mut finished = 0;
        for seed in 0..schedules {
            let schedule = || fixture.check_schedule(&mut Pcg64::seed_from_u64(seed));
            finished += std::panic::catch_unwind(std::panic::AssertUnwindSafe(schedule))
                .unwrap_or_else(|_| panic!("schedule {seed} at {precision}"));
        }
        assert!(finished > 5 * schedules as usize, "{finished} texts were finished");
    }
}

/// Texts that come after others take the memory of those.
#[test]
fn texts_that_left_leave_their_memory_to_others() {
    let fixture = Fixture::new(Precision::F32);
    let mut engine = fixture.captioner.engine();
    let mut most_held = Vec::new();
    for _ in 0..20 {
        let mut most = 0;
        for round in 0..40 {
            engine.add(fixture.pictures[round % 3].clone(), Arc::clone(&fixture.resolved[round % 7]));
            engine.step();
            most = most.max(engine.bytes());
        }
        while !engine.is_empty() {
            engine.step();
        }
        assert_eq!(engine.bytes(), 0);
        most_held.push(most);
    }
    assert!(most_held[0] > 0 && most_held[19] <= 2 * most_held[2], "{most_held:?}");
}

/// It can live in a thread of a server.
#[test]
fn an_engine_works_in_a_thread_of_its_own() {
    let fixture = Fixture::new(Precision::F32);
    let mut engine = fixture.captioner.engine();
    let id = engine.add(fixture.pictures[1].clone(), Arc::clone(&fixture.resolved[0]));
    let (engine, updates) = std::thread::spawn(move || {
        let mut updates = Vec::new();
        while !engine.is_empty() {
            updates.extend(engine.step());
        }
        (engine, updates)
    })
    .join()
    .unwrap();
    assert!(engine.is_empty());
    assert_eq!((updates.len(), updates[0].id), (1, id));
    assert_eq!(bits(&updates[0].hypotheses), bits(&fixture.alone[&(1, 0)]));
}

#[test]
#[should_panic(expected = "layers")]
fn a_picture_of_another_model_is_refused() {
    let (one, mut other) = (captioner(Precision::F32), ModelConfig::tiny(Task::ImageCaptioning));
    other.text.decoder_layers += 1;
    let checkpoint = seeded_tensors(&other, 3).to_checkpoint(Dtype::F32).unwrap();
    let vocabulary = synthetic_vocabulary(other.text.vocab_size);
    let folder = ModelFolder::from_checkpoint(&other, checkpoint, vocabulary).unwrap();
    let picture = pictures(&Captioner::load(&folder).unwrap()).remove(0);
    let _ = one.caption_encoded(&[picture], &one.default_options());
}

#[test]
fn texts_with_other_options_share_the_steps_and_not_a_bit() {
    let captioner = captioner(Precision::F32);
    let (pictures, options) = (pictures(&captioner), options(&captioner));
    let together = captioner.caption_with(&pictures, &options).unwrap();
    assert_eq!(together.len(), pictures.len());
    for (number, options) in options.iter().enumerate() {
        let apart = captioner.caption_encoded(&pictures, options).unwrap();
        let found: Vec<_> = together.iter().map(|texts| texts[number].clone()).collect();
        assert_eq!(found, apart, "{options:?}");
    }
    assert!(captioner.caption_with(&pictures, &[]).unwrap().iter().all(Vec::is_empty));
    assert!(captioner.caption_with(&[], &options).unwrap().is_empty());
}
