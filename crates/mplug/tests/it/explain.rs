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

/// A side's strips over `place`, as `explain::ablation` has them: of each width in eighths, how much it counts, and its strips, cut off
/// at the border.
fn strips_over(place: usize, grid: usize) -> Vec<(f64, Vec<Range<usize>>)> {
    let step = grid.div_ceil(8) as isize;
    let strips = |width: isize| {
        let starts = (1 - width..8).map(|start| start * step);
        let strips = starts.map(|start| start.max(0) as usize..((start + width * step) as usize).min(grid));
        strips.filter(|strip| strip.contains(&place)).collect()
    };
    [(3.0, strips(1)), (2.0, strips(2)), (1.0, strips(3))].to_vec()
}

/// What a method finds: the maps, `(words, patches)`, and of each word the largest loss by one strip.
type Naive = (Vec<Vec<f64>>, Vec<f64>);

/// The reference implementation: the strips' hidden states are taken away and keys and values packed anew; attention is recorded.
fn naive_ablation(case: &Case, words: &[Range<usize>], grid: usize) -> Naive {
    let whole = case.log_probs(&case.picture);
    let attention = case.explain(Method::Attention(Heads::Mean), 256);
    let mut most_lost = vec![f64::MIN; words.len()];
    // (words) of each place.
    let mut side = |place_of: fn(usize, usize) -> usize| -> Vec<Vec<f64>> {
        let mut losses_at = |place: usize| {
            let mut losses = vec![0.0; words.len()];
            for (weight, strips) in strips_over(place, grid) {
                for strip in &strips {
                    let without =
                        case.log_probs(&case.without(|patch| strip.contains(&place_of(patch, grid))));
                    for (number, word) in words.iter().enumerate() {
                        let loss: f64 = word.clone().map(|token| whole[token] - without[token]).sum();
                        losses[number] += weight / 6.0 * loss / strips.len() as f64;
                        most_lost[number] = most_lost[number].max(loss);
                    }
                }
            }
            losses
        };
        (0..grid).map(&mut losses_at).collect()
    };
    let (rows, columns) = (side(|patch, grid| patch / grid), side(|patch, grid| patch % grid));
    let loss =
        |word: usize, patch: usize| f64::midpoint(rows[patch / grid][word], columns[patch % grid][word]);
    let most = |word: usize| (0..grid * grid).map(|patch| loss(word, patch)).fold(0.0, f64::max);
    let map = |word: usize| {
        let looks = &attention.words[word].values;
        let most_looked = looks.iter().copied().fold(0.0, f32::max);
        let value = |patch: usize| {
            let others = (0..words.len()).filter(|other| *other != word && most(*other) > 0.0);
            let shared: f64 = others.map(|other| loss(other, patch).max(0.0) / most(other)).sum();
            let loss = loss(word, patch) - 0.5 * most(word) * shared / (words.len() - 1) as f64;
            (loss + 2e-5) * f64::from(looks[patch] / most_looked).sqrt()
        };
        (0..grid * grid).map(value).collect()
    };
    ((0..words.len()).map(map).collect(), most_lost)
}

#[test]
fn patches_that_are_left_out_might_as_well_not_be_there() {
    for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 1e-3), (Precision::Int8, 1e-3)] {
        let case = Case::new(precision, |_| ());
        let explanation = case.explain(Method::Ablation, 256);
        assert!(!explanation.words.is_empty());
        let words: Vec<Range<usize>> = explanation.words.iter().map(|word| word.tokens.clone()).collect();
        let (maps, most_lost) = naive_ablation(&case, &words, explanation.grid);
        for ((word, expected), most_lost) in explanation.words.iter().zip(maps).zip(most_lost) {
            let found = word.most_lost.unwrap();
            assert!((f64::from(found) - most_lost).abs() < tolerance, "{precision}: {found} and {most_lost}");
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
        assert_eq!((mean.most_lost, each.most_lost), (None, None), "nothing is left out");
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
