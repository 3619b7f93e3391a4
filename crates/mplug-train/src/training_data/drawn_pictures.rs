//! The drawn pictures of `mplug-data` as a dataset: every number is a new picture. Knows no files.

use mplug::preprocess::image::{pixel_values, resize_bicubic};
use mplug::preprocess::text::Tokenizer;
use mplug_data::synth::{self, SynthExample, check_caption};

use super::{EncodedExample, SpecialIds, Split, TrainingData};
use crate::config::Language;
use crate::error::TrainError;

/// One training picture in so many is drawn at its natural size and then resized, as every held-out picture is; the
/// others are drawn straight at the model's size, which is faster.
const NATURAL_EVERY: u64 = 4;

/// Drawn pictures and their captions.
pub struct DrawnPictures {
    seeds: [u64; 2],
    language: Language,
    size: u32,
    max_len: usize,
    vocabulary: String,
    tokenizer: Tokenizer,
}

impl DrawnPictures {
    /// Pictures of `size` by `size` pixels with captions of at most `max_len` tokens; `seeds` of the two splits.
    pub fn new(seeds: [u64; 2], language: Language, [size, max_len]: [usize; 2]) -> Result<Self, TrainError> {
        let vocabulary = synth::demo_vocabulary();
        let tokenizer = Tokenizer::from_vocab(&vocabulary)
            .map_err(|error| TrainError::Recipe(format!("vocabulary of the drawn pictures: {error}")))?;
        Ok(Self { seeds, language, size: size as u32, max_len, vocabulary, tokenizer })
    }

    /// The picture at the model's size, and what is in it.
    fn draw(&self, split: Split, index: u64) -> SynthExample {
        let (seed, size) = (self.seeds[split as usize], self.size);
        if split == Split::Train && !index.is_multiple_of(NATURAL_EVERY) {
            return synth::draw_at(seed, index, size, size);
        }
        let drawn = synth::draw(seed, index);
        SynthExample { image: resize_bicubic(&drawn.image, size, size), ..drawn }
    }
}

impl TrainingData for DrawnPictures {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        let drawn = self.draw(split, index);
        let captions = match self.language {
            Language::Zh => &drawn.captions_zh,
            Language::En => &drawn.captions_en,
        };
        // A fixed but mixed choice: Fibonacci hashing of the number.
        let choice = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let caption = captions.get((choice % captions.len().max(1) as u64) as usize).ok_or_else(|| {
            TrainError::Example { index, problem: "the drawn picture has no caption".to_owned() }
        })?;
        let input_ids = self.tokenizer.encode(caption, self.max_len);
        Ok(EncodedExample { pixel_values: pixel_values(&drawn.image), input_ids })
    }

    fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds::of(&self.tokenizer)
    }

    fn decode(&self, ids: &[u32]) -> String {
        let text = self.tokenizer.decode(ids);
        match self.language {
            Language::Zh => Tokenizer::join_chinese(&text),
            Language::En => text,
        }
    }

    fn references(&self, index: u64) -> Vec<String> {
        let scene = synth::compose(self.seeds[Split::HeldOut as usize], index);
        match self.language {
            Language::Zh => synth::captions_zh(&scene),
            Language::En => synth::captions_en(&scene),
        }
    }

    fn judge(&self, index: u64, caption: &str) -> Option<bool> {
        let scene = synth::compose(self.seeds[Split::HeldOut as usize], index);
        Some(check_caption(&scene, caption).is_true())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_repeat_and_captions_survive_the_round_trip() {
        let data = DrawnPictures::new([1, 2], Language::Zh, [48, 40]).expect("the vocabulary is good");
        for index in 0..24 {
            let example = data.example(Split::HeldOut, index).expect("drawing never fails");
            assert_eq!(example, data.example(Split::HeldOut, index).expect("drawing never fails"));
            assert_eq!(example.pixel_values.len(), 3 * 48 * 48);
            let caption = data.decode(&example.input_ids);
            assert_eq!(data.judge(index, &caption), Some(true), "{caption}");
            assert_eq!(data.judge(index, "一只红色的"), Some(false));
        }
    }
}
