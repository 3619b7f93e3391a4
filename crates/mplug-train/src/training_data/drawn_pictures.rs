//! The drawn pictures of `mplug-data` as a dataset: every number is a new picture. Knows no files.

use std::collections::BTreeMap;

use mplug::preprocess::image::resize_bicubic;
use mplug::preprocess::text::{Tokenizer, join_chinese};
use mplug_data::synth::{
    self, Question, Scene, SynthExample, check_caption, chosen_caption, chosen_question, judge_answer,
};

use super::{
    EncodedExample, Reading, SpecialIds, Split, Target, TokenizerFiles, TrainingData, Views, encode_prompts,
    hash_of, prompted,
};
use crate::classes::Class;
use crate::config::{DrawnLanguage, Language};
use crate::error::TrainError;

/// One training picture in this number is drawn at its natural size and then resized, as every held-out picture is; the
/// others are drawn straight at the model's size, which is faster.
const NATURAL_EVERY: u64 = 4;

/// Drawn pictures and their captions.
pub struct DrawnPictures {
    seeds: [u64; 2],
    language: DrawnLanguage,
    reading: Reading,
    views: Views,
    max_len: usize,
    vocabulary: String,
    tokenizer: Tokenizer,
    /// What is given before Chinese and before English.
    prompts: [Vec<u32>; 2],
    /// Pictures to learn from; endless if absent.
    pictures: Option<u64>,
}

impl DrawnPictures {
    /// Pictures as `views` show them, to be read as `reading`, with texts of at most `max_len` tokens; `seeds` of the two
    /// splits; `prompts` by language, given before captions. A model to start from brings the `files` of its tokenizer, whose
    /// vocabulary may be the beginning of ours: captions need no more.
    ///
    /// # Errors
    /// [`TrainError::Value`] for a model with another vocabulary.
    pub fn new(
        seeds: [u64; 2],
        language: DrawnLanguage,
        reading: Reading,
        views: Views,
        max_len: usize,
        files: Option<TokenizerFiles>,
        prompts: &BTreeMap<String, String>,
    ) -> Result<Self, TrainError> {
        let own = synth::demo_vocabulary();
        let files = files.unwrap_or_else(|| own.clone().into());
        let tokenizer = files.tokenizer()?;
        let vocabulary = files.vocabulary;
        if own != vocabulary && (reading == Reading::Questions || !own.starts_with(&vocabulary)) {
            return Err(TrainError::Value {
                field: "start.model",
                expected: "a model with the vocabulary of the drawn pictures".to_owned(),
                found: "another vocabulary".to_owned(),
            });
        }
        let mut prompts = encode_prompts(&tokenizer, prompts)?;
        let prompts = ["zh", "en"].map(|language| prompts.remove(language).unwrap_or_default());
        Ok(Self { seeds, language, reading, views, max_len, vocabulary, tokenizer, prompts, pictures: None })
    }

    /// Limits the data to this number of pictures to learn from.
    #[must_use]
    pub fn limited_to(self, pictures: Option<u64>) -> Self {
        Self { pictures, ..self }
    }

    /// The language of an example: where there are two they alternate.
    fn language_of(&self, index: u64) -> Language {
        match self.language {
            DrawnLanguage::Zh => Language::Chinese,
            DrawnLanguage::En => Language::English,
            DrawnLanguage::Both => Language::in_turn(index),
        }
    }

    /// One of the questions about a picture.
    fn question(&self, scene: &Scene, index: u64) -> Option<Question> {
        chosen_question(scene, self.language_of(index), index)
    }

    fn ids(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode(text, self.max_len)
    }

    /// One of the captions of a picture in a language.
    fn caption(drawn: &SynthExample, language: Language, index: u64) -> Result<&str, TrainError> {
        let captions = match language {
            Language::Chinese => &drawn.captions_zh,
            Language::English => &drawn.captions_en,
        };
        Self::caption_of(captions, index)
    }

    fn caption_of(captions: &[String], index: u64) -> Result<&str, TrainError> {
        chosen_caption(captions, index).ok_or_else(|| TrainError::Example {
            index,
            problem: "the drawn picture has no caption".to_owned(),
        })
    }

    /// A caption to be written in each of the languages, that of the number first.
    fn captions(&self, drawn: &SynthExample, index: u64) -> Result<Vec<Target>, TrainError> {
        let mut languages = match self.language {
            DrawnLanguage::Both => vec![Language::Chinese, Language::English],
            DrawnLanguage::Zh | DrawnLanguage::En => vec![self.language_of(index)],
        };
        if languages[0] != self.language_of(index) {
            languages.reverse();
        }
        let target = |language: Language| {
            let caption = Self::caption(drawn, language, index)?;
            Ok(prompted(&self.tokenizer, &self.prompts[language as usize], caption, self.max_len))
        };
        languages.into_iter().map(target).collect()
    }

    /// The picture at the model's size, and what is in it.
    fn draw(&self, split: Split, index: u64) -> SynthExample {
        let (seed, size) = (self.seeds[split as usize], self.views.size);
        if split == Split::Train && !index.is_multiple_of(NATURAL_EVERY) {
            return synth::draw_at(seed, index, size, size);
        }
        let drawn = synth::draw(seed, index);
        SynthExample { image: resize_bicubic(&drawn.image, size, size), ..drawn }
    }
}

impl TrainingData for DrawnPictures {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        let index = match (split, self.pictures) {
            (Split::Train, Some(pictures)) => index % pictures,
            _ => index,
        };
        let drawn = self.draw(split, index);
        let mut example = EncodedExample { picture: index, ..EncodedExample::default() };
        match self.reading {
            Reading::Captions => example.targets = self.captions(&drawn, index)?,
            Reading::Pictures => {}
            Reading::Pairs => {
                example.text = self.ids(Self::caption(&drawn, self.language_of(index), index)?);
            }
            Reading::Questions => {
                let asked = self.question(&drawn.scene, index).ok_or_else(|| TrainError::Example {
                    index,
                    problem: "nothing can be asked about the drawn picture".to_owned(),
                })?;
                example.text = self.ids(&asked.question);
                example.targets.push(prompted(&self.tokenizer, &[], &asked.answers[0], self.max_len));
            }
        }
        example.pixel_values = match split {
            Split::Train => self.views.training(&drawn.image, index),
            Split::HeldOut => self.views.plain(&drawn.image),
        };
        Ok(example)
    }

    fn held_out_text(&self, index: u64) -> Result<(u64, Vec<u32>), TrainError> {
        if self.reading != Reading::Pairs {
            let example = self.example(Split::HeldOut, index)?;
            return Ok((example.picture, example.text));
        }
        let captions = self.references(Split::HeldOut, index);
        Ok((index, self.ids(Self::caption_of(&captions, index)?)))
    }

    fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds::of(&self.tokenizer)
    }

    fn decode(&self, ids: &[u32]) -> String {
        join_chinese(&self.tokenizer.decode(ids))
    }

    fn prompt(&self, picture: u64) -> &[u32] {
        &self.prompts[self.language_of(picture) as usize]
    }

    fn references(&self, split: Split, picture: u64) -> Vec<String> {
        let scene = synth::compose(self.seeds[split as usize], picture);
        match self.language_of(picture) {
            Language::Chinese => synth::captions_zh(&scene),
            Language::English => synth::captions_en(&scene),
        }
    }

    fn held_out_hash(&self, _examples: usize) -> u64 {
        let seed = self.seeds[Split::HeldOut as usize];
        hash_of([seed.to_string(), format!("{:?}", self.language)].into_iter())
    }

    fn train_len(&self) -> Option<u64> {
        self.pictures
    }

    fn train_pictures(&self) -> Option<u64> {
        self.pictures
    }

    fn judge(&self, index: u64, text: &str) -> Option<f64> {
        let scene = synth::compose(self.seeds[Split::HeldOut as usize], index);
        let is_right = match self.reading {
            Reading::Questions => judge_answer(&self.question(&scene, index)?, text),
            _ => check_caption(&scene, text).is_true(),
        };
        Some(f64::from(u8::from(is_right)))
    }

    fn class(&self, index: u64) -> Option<Class> {
        let scene = synth::compose(self.seeds[Split::HeldOut as usize], index);
        let (by, class) = match self.reading {
            Reading::Questions => ("question", serde_json::to_value(self.question(&scene, index)?.kind)),
            _ => ("scene", serde_json::to_value(scene.family)),
        };
        Some(Class { by, class: class.ok()?.as_str()?.replace('_', " ") })
    }

    fn expected(&self, index: u64) -> Option<String> {
        let scene = synth::compose(self.seeds[Split::HeldOut as usize], index);
        match self.reading {
            Reading::Questions => self.question(&scene, index)?.answers.into_iter().next(),
            _ => self.references(Split::HeldOut, index).into_iter().next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_drawn_questions_are_judged() {
        let (views, none) = (Views { size: 48, augmentation: None, seed: 0 }, BTreeMap::new());
        let data =
            DrawnPictures::new([1, 2], DrawnLanguage::Both, Reading::Questions, views, 40, None, &none);
        let data = data.expect("the vocabulary is good");
        for index in 0..24 {
            let example = data.example(Split::HeldOut, index).expect("something can be asked");
            assert!(example.text.len() > 3 && !example.text.contains(&data.tokenizer.unk_token_id()));
            let answer = data.decode(&example.targets[0].ids);
            assert_eq!(data.judge(index, &answer), Some(1.0), "{answer}");
            assert_eq!(data.judge(index, "nothing of the kind"), Some(0.0));
            assert_eq!(data.expected(index), Some(answer));
        }
    }

    #[test]
    fn examples_repeat_and_captions_survive_the_round_trip() {
        let views = Views { size: 48, augmentation: None, seed: 0 };
        let data = DrawnPictures::new(
            [1, 2],
            DrawnLanguage::Zh,
            Reading::Captions,
            views,
            40,
            None,
            &BTreeMap::new(),
        )
        .expect("the vocabulary is good");
        for index in 0..24 {
            let example = data.example(Split::HeldOut, index).expect("drawing never fails");
            assert_eq!(example, data.example(Split::HeldOut, index).expect("drawing never fails"));
            assert_eq!(example.pixel_values.len(), 3 * 48 * 48);
            let caption = data.decode(&example.targets[0].ids);
            assert_eq!(data.judge(index, &caption), Some(1.0), "{caption}");
            assert_eq!(data.judge(index, "一只红色的"), Some(0.0));
        }
    }

    #[test]
    fn both_languages_have_a_caption_each_the_second_after_its_prompt() {
        let views = Views { size: 48, augmentation: None, seed: 0 };
        let prompts = BTreeMap::from([("en".to_owned(), "the picture:".to_owned())]);
        let open = |prompts: &BTreeMap<String, String>| {
            DrawnPictures::new(
                [1, 2],
                DrawnLanguage::Both,
                Reading::Captions,
                views.clone(),
                40,
                None,
                prompts,
            )
        };
        let data = open(&prompts).expect("the vocabulary is good");
        let prompt = data.ids("the picture:");
        let prompt = &prompt[1..prompt.len() - 1];
        assert_eq!((data.prompt(0), data.prompt(1)), (&[][..], prompt));
        for index in 0..8 {
            let targets = data.example(Split::HeldOut, index).expect("drawing never fails").targets;
            let english = &targets[usize::from(index.is_multiple_of(2))];
            assert_eq!((targets.len(), english.given, &english.ids[1..4]), (2, 3, prompt));
            let chinese = &targets[usize::from(!index.is_multiple_of(2))];
            assert_eq!(chinese.given, 0);
            for target in &targets {
                let caption = data.decode(&target.ids[1 + target.given..]);
                assert_eq!(data.judge(index, &caption), Some(1.0), "{caption}");
            }
        }
        let unknown = BTreeMap::from([("en".to_owned(), "a photograph of".to_owned())]);
        let error = open(&unknown).err().expect("an unknown word").to_string();
        assert!(error.contains("prompts") && error.contains("photograph"), "{error}");
    }

    #[test]
    fn a_text_alone_is_that_of_its_example() {
        let views = Views { size: 48, augmentation: None, seed: 0 };
        for reading in [Reading::Pairs, Reading::Questions] {
            let none = BTreeMap::new();
            let data =
                DrawnPictures::new([1, 2], DrawnLanguage::Both, reading, views.clone(), 40, None, &none);
            let data = data.expect("the vocabulary is good");
            for index in 0..12 {
                let example = data.example(Split::HeldOut, index).expect("drawing never fails");
                let text = data.held_out_text(index).expect("a text");
                assert_eq!(text, (example.picture, example.text));
            }
        }
    }
}
