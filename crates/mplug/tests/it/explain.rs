//! Which part of the picture a word stands on, with a tiny model: what is left out might as well not be there, and no value depends on how
//! the work is cut up.

use std::ops::Range;

use mplug::checkpoint::seeded::{seeded_tensors, synthetic_vocabulary};
use mplug::checkpoint::{Dtype, ModelFolder};
use mplug::config::{ModelConfig, Task};
use mplug::explain::{ExplainOptions, Explanation, Heads, Method};
use mplug::generate::{GenerationOptions, Resolved};
use mplug::tasks::{Caption, LoadOptions};
use mplug::text_decoder::{StepBuffers, StepRows};
use mplug::{Captioner, EncodedPicture, Precision, RgbImage};

fn captioner(precision: Precision) -> Captioner {
    let config = ModelConfig::tiny(Task::ImageCaptioning);
    let checkpoint = seeded_tensors(&config, 3).to_checkpoint(Dtype::F32).unwrap();
    let folder =
        ModelFolder::from_checkpoint(&config, checkpoint, synthetic_vocabulary(config.text.vocab_size))
            .unwrap();
    let options = LoadOptions { precision: Some(precision), ..LoadOptions::default() };
    Captioner::load_with(&folder, &options).unwrap()
}

/// A picture, a caption of it, and what was requested.
struct Case {
    captioner: Captioner,
    picture: EncodedPicture,
    caption: Caption,
    resolved: Resolved,
}

impl Case {
    fn new(precision: Precision, change: impl FnOnce(&mut GenerationOptions)) -> Self {
        let captioner = captioner(precision);
        let image = RgbImage::from_fn(30, 20, |x, y| image::Rgb([(x * 8) as u8, (y * 12) as u8, 90]));
        let picture = captioner.encode(&[image]).remove(0);
        let mut options =
            GenerationOptions { min_new_tokens: 6, max_new_tokens: 6, ..captioner.default_options() };
        change(&mut options);
        let resolved = captioner.resolve(&options).unwrap();
        let captions = captioner.caption_encoded(std::slice::from_ref(&picture), &options).unwrap();
        let caption = captions.into_iter().next().unwrap().unwrap().remove(0);
        Self { captioner, picture, caption, resolved }
    }

    fn explain(&self, method: Method, rows_at_once: usize) -> Explanation {
        let options = ExplainOptions { method, rows_at_once };
        self.captioner.explain(&self.picture, &self.caption, &self.resolved, &options).unwrap()
    }

    /// The text's tokens, those that were given included.
    fn text(&self) -> Vec<u32> {
        [self.resolved.begun(), &self.caption.token_ids].concat()
    }

    /// What the decoder reads before the last token of the text, and how many tokens of it come before the text.
    fn read(&self) -> (Vec<u32>, usize) {
        let read = [self.resolved.prefix(), &self.caption.token_ids].concat();
        let before = read.len() - self.text().len();
        (read[..read.len() - 1].to_vec(), before)
    }

    /// Log-probabilities of the text's tokens where the decoder sees `picture`.
    fn log_probs(&self, picture: &EncodedPicture) -> Vec<f64> {
        let (read, before) = self.read();
        let logits = self.captioner.decoder().logits(picture, &read);
        let rows = logits.chunks(self.captioner.config().text.vocab_size).skip(before - 1);
        rows.zip(self.text()).map(|(row, token)| log_softmax(row)[token as usize]).collect()
    }

    /// The picture without some of its patches: their hidden states are not there.
    fn without(&self, is_left_out: impl Fn(usize) -> bool) -> EncodedPicture {
        let states = self.picture.hidden_states().chunks(self.captioner.config().text.hidden_size);
        let kept = states.enumerate().filter(|(key, _)| *key == 0 || !is_left_out(key - 1));
        let kept: Vec<f32> = kept.flat_map(|(_, state)| state.to_vec()).collect();
        let len = kept.len() / self.captioner.config().text.hidden_size;
        self.captioner.decoder().attend_to(kept, len)
    }
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
    row.iter().map(|logit| f64::from(*logit) - sum.ln()).collect()
}

/// As `explain::ablation` has them: strips that begin every eighth of the side and are twice as wide.
fn strips(grid: usize) -> Vec<Range<usize>> {
    let step = grid.div_ceil(8) as isize;
    let starts = (-step..grid as isize).step_by(step as usize);
    starts.map(|start| start.max(0) as usize..((start + 2 * step) as usize).min(grid)).collect()
}

/// The reference implementation: the strips' hidden states are taken away and keys and values packed anew; attention is recorded.
fn naive_ablation(case: &Case, words: &[Range<usize>], grid: usize) -> Vec<Vec<f64>> {
    let whole = case.log_probs(&case.picture);
    let attention = case.explain(Method::Attention(Heads::Mean), 256);
    let loss = |word: &Range<usize>, without: &[f64]| -> f64 {
        word.clone().map(|token| whole[token] - without[token]).sum()
    };
    let side = |place_of: fn(usize, usize) -> usize| -> Vec<Vec<f64>> {
        let read: Vec<Vec<f64>> = strips(grid)
            .iter()
            .map(|strip| case.log_probs(&case.without(|patch| strip.contains(&place_of(patch, grid)))))
            .collect();
        let losses_at = |word: &Range<usize>, place: usize| -> f64 {
            let over: Vec<f64> = strips(grid)
                .iter()
                .zip(&read)
                .filter(|(strip, _)| strip.contains(&place))
                .map(|(_, without)| loss(word, without))
                .collect();
            over.iter().sum::<f64>() / over.len() as f64
        };
        words.iter().map(|word| (0..grid).map(|place| losses_at(word, place)).collect()).collect()
    };
    let (rows, columns) = (side(|patch, grid| patch / grid), side(|patch, grid| patch % grid));
    let map = |number: usize| {
        let looks = &attention.words[number].values;
        let most = looks.iter().copied().fold(0.0, f32::max);
        let value = |patch: usize| {
            let loss = f64::midpoint(rows[number][patch / grid], columns[number][patch % grid]);
            loss * f64::from(looks[patch] / most).sqrt()
        };
        (0..grid * grid).map(value).collect()
    };
    (0..words.len()).map(map).collect()
}

#[test]
fn patches_that_are_left_out_might_as_well_not_be_there() {
    for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 1e-3), (Precision::Int8, 1e-3)] {
        let case = Case::new(precision, |_| ());
        let explanation = case.explain(Method::Ablation, 256);
        assert!(!explanation.words.is_empty());
        let words: Vec<Range<usize>> = explanation.words.iter().map(|word| word.tokens.clone()).collect();
        let expected = naive_ablation(&case, &words, explanation.grid);
        for (word, expected) in explanation.words.iter().zip(expected) {
            for (found, expected) in word.values.iter().zip(expected) {
                let distance = (f64::from(*found) - expected).abs();
                assert!(distance < tolerance, "{precision} {}: {found} and {expected}", word.text);
            }
        }
        let moved = explanation.words.iter().flat_map(|word| &word.values).filter(|value| value.abs() > 1e-3);
        assert!(moved.count() > 10, "the maps of a model without attention say nothing");
    }
}

#[test]
fn values_do_not_depend_on_how_many_rows_go_together() {
    for precision in Precision::ALL {
        let case = Case::new(precision, |_| ());
        let expected = case.explain(Method::Ablation, 256);
        for rows_at_once in [0, 1, 13, 40] {
            assert_eq!(case.explain(Method::Ablation, rows_at_once), expected, "{precision} {rows_at_once}");
        }
    }
}

#[test]
fn attention_falls_on_the_patches_and_the_class_token() {
    let case = Case::new(Precision::F32, |_| ());
    let [mean, each] = [Heads::Mean, Heads::Each].map(|heads| case.explain(Method::Attention(heads), 256));
    let (patches, heads) = (mean.grid * mean.grid, case.captioner.config().text.num_attention_heads);
    for (mean, each) in mean.words.iter().zip(&each.words) {
        assert_eq!((mean.values.len(), each.values.len()), (patches, heads * patches));
        assert!(mean.values.iter().all(|value| *value >= 0.0));
        let sum: f32 = mean.values.iter().sum();
        assert!(sum > 0.0 && sum < 1.0, "the class token has the rest: {sum}");
        for (patch, value) in mean.values.iter().enumerate() {
            let of_heads: f32 = each.values.iter().skip(patch).step_by(patches).sum();
            assert!((of_heads / heads as f32 - value).abs() < 1e-6);
        }
    }
}

#[test]
fn recorded_probabilities_sum_to_one() {
    let case = Case::new(Precision::F32, |_| ());
    let (read, _) = case.read();
    let decoder = case.captioner.decoder();
    let (mut cache, mut buffers, mut recording) = (decoder.new_cache(), StepBuffers::default(), vec![9.0; 3]);
    cache.begin_chains(2, read.len());
    let masks = [Vec::new(), vec![1..2, 4..6]];
    let both = read.repeat(2);
    let rows = StepRows::new(&case.picture, &mut cache, &both).leaving_out(&masks).recording(&mut recording);
    decoder.step(&mut [rows], &mut buffers);
    let (text, keys) = (&case.captioner.config().text, case.captioner.config().vision.image_len());
    assert_eq!(recording.len(), text.decoder_layers * text.num_attention_heads * both.len() * keys);
    for (row, probabilities) in recording.chunks(keys).enumerate() {
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let left_out = [probabilities[1], probabilities[4], probabilities[5]];
        assert_eq!(left_out.map(f32::to_bits) == [0; 3], row % both.len() >= read.len(), "row {row}");
    }
    let whole = decoder.logits(&case.picture, &read);
    assert_eq!(buffers.logits[..whole.len()], whole, "an empty mask changes no bit");
}

#[test]
fn prompts_and_beginnings_come_before_the_words() {
    let case = Case::new(Precision::F32, |options| {
        options.prompt = Some("c".to_owned());
        options.prefix = Some("a b".to_owned());
        options.max_new_tokens = 6;
    });
    assert_eq!((case.resolved.prefix().len(), case.resolved.begun().len()), (4, 2));
    let expected = case.log_probs(&case.picture);
    for method in [Method::Ablation, Method::Attention(Heads::Mean)] {
        let explanation = case.explain(method, 256);
        assert_eq!([&explanation.words[0].text, &explanation.words[1].text], ["a", "b"]);
        for word in &explanation.words {
            let log_prob: f64 = expected[word.tokens.clone()].iter().sum();
            assert!((f64::from(word.log_prob) - log_prob).abs() < 1e-4, "{word:?}");
        }
    }
}

#[test]
fn a_caption_without_words_has_no_maps() {
    let case = Case::new(Precision::F32, |_| ());
    let options = ExplainOptions::default();
    let explanation =
        case.captioner.explain(&case.picture, &Caption::default(), &case.resolved, &options).unwrap();
    assert!(explanation.words.is_empty() && explanation.grid > 0);
}

#[test]
#[should_panic(expected = "layers")]
fn a_picture_of_another_model_is_refused() {
    let (case, mut other) = (Case::new(Precision::F32, |_| ()), ModelConfig::tiny(Task::ImageCaptioning));
    other.text.decoder_layers += 1;
    let checkpoint = seeded_tensors(&other, 3).to_checkpoint(Dtype::F32).unwrap();
    let vocabulary = synthetic_vocabulary(other.text.vocab_size);
    let folder = ModelFolder::from_checkpoint(&other, checkpoint, vocabulary).unwrap();
    let picture = Captioner::load(&folder).unwrap().encode(&[RgbImage::new(8, 8)]).remove(0);
    let _ = case.captioner.explain(&picture, &case.caption, &case.resolved, &ExplainOptions::default());
}
