//! The drawn pictures of `mplug-data` as a dataset: every number is a new picture, drawn straight at the model's size.
//! Knows no files.

use mplug_data::synth::{self, SynthExample};

use super::{Dataset, Example, SpecialIds, Split};
use crate::config::Language;
use crate::error::TrainError;

const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// Drawn pictures and their captions.
pub struct SynthDataset {
    seeds: [u64; 2],
    language: Language,
    size: u32,
    vocabulary: String,
    ids: std::collections::HashMap<char, u32>,
    chars: Vec<String>,
}

impl SynthDataset {
    /// Pictures of `size` by `size` pixels; `seeds` of the two splits.
    pub fn new(seeds: [u64; 2], language: Language, size: usize) -> Self {
        let vocabulary = synth::demo_vocabulary();
        let chars: Vec<String> = vocabulary.lines().map(str::to_owned).collect();
        let ids = chars
            .iter()
            .enumerate()
            .filter(|(_, t)| t.chars().count() == 1)
            .map(|(i, t)| (t.chars().next().unwrap(), i as u32))
            .collect();
        Self { seeds, language, size: size as u32, vocabulary, ids, chars }
    }

    fn draw(&self, split: Split, index: u64) -> SynthExample {
        synth::draw_at(self.seeds[split as usize], index, self.size, self.size)
    }
}

impl Dataset for SynthDataset {
    fn example(&self, split: Split, index: u64) -> Result<Example, TrainError> {
        let drawn = self.draw(split, index);
        let captions = match self.language {
            Language::Zh => &drawn.captions_zh,
            Language::En => &drawn.captions_en,
        };
        let hash = (index ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let caption = &captions[(hash % captions.len() as u64) as usize];
        let mut input_ids = vec![101];
        input_ids.extend(caption.chars().map(|c| self.ids.get(&c).copied().unwrap_or(100)));
        input_ids.push(102);
        let raw = drawn.image.as_raw();
        let pixels = raw.len() / 3;
        let pixel_values = (0..3 * pixels)
            .map(|i| {
                let (channel, place) = (i / pixels, i % pixels);
                (f32::from(raw[3 * place + channel]) / 255.0 - MEAN[channel]) / STD[channel]
            })
            .collect();
        Ok(Example { pixel_values, input_ids })
    }

    fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds { pad: 0, start: 101, end: 102 }
    }

    fn decode(&self, ids: &[u32]) -> String {
        ids.iter().filter(|i| **i > 103).map(|i| self.chars[*i as usize].as_str()).collect()
    }

    fn judge(&self, index: u64, caption: &str) -> Option<bool> {
        let drawn = self.draw(Split::HeldOut, index);
        Some(drawn.captions_zh.iter().chain(&drawn.captions_en).any(|c| c == caption))
    }
}
