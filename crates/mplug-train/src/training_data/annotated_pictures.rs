//! Annotated pictures of any format that `mplug-data` reads. Each caption of a picture is an example; an epoch goes through
//! all of them once, in an order drawn from the seed and the epoch. Knows no formats.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use mplug::preprocess::image::{pixel_values, resize_bicubic};
use mplug::preprocess::text::Tokenizer;
use mplug_data::dataset::{self, AnnotatedDataset, Dataset, OpenOptions};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;

use super::{EncodedExample, SpecialIds, Split, TrainingData};
use crate::config::{AnnotationsSection, Language, Unreadable};
use crate::error::TrainError;

/// Orders that are kept: data threads may be in two epochs at once.
const KEPT_ORDERS: usize = 2;

/// Annotated pictures and their captions.
pub struct AnnotatedPictures {
    train: AnnotatedDataset,
    held_out: AnnotatedDataset,
    /// The examples of an epoch: picture and caption.
    pairs: Vec<(usize, usize)>,
    seed: u64,
    unreadable: Unreadable,
    size: u32,
    max_len: usize,
    vocabulary: String,
    tokenizer: Tokenizer,
    /// Orders of epochs, the newest last.
    orders: Mutex<Vec<(u64, Arc<[usize]>)>>,
    /// Pictures that could not be read.
    skipped: Mutex<BTreeSet<usize>>,
}

impl AnnotatedPictures {
    /// Opens the datasets of a recipe for pictures of `size` by `size` pixels and captions of at most `max_len` tokens of
    /// `vocabulary`.
    ///
    /// # Errors
    /// When a dataset cannot be read, or has no captions.
    pub fn open(
        section: &AnnotationsSection,
        seed: u64,
        [size, max_len]: [usize; 2],
        vocabulary: String,
    ) -> Result<Self, TrainError> {
        let tokenizer = Tokenizer::from_vocab(&vocabulary)
            .map_err(|error| TrainError::Recipe(format!("vocabulary: {error}")))?;
        let language = section.language.map(|language| match language {
            Language::Zh => dataset::Language::Chinese,
            Language::En => dataset::Language::English,
        });
        let open = |path, split: &Option<String>| {
            let images = section.images.clone();
            dataset::open(
                path,
                &OpenOptions { split: split.clone(), images, language, ..OpenOptions::default() },
            )
        };
        let train = open(&section.train, &section.train_split)?;
        let held_out = open(section.held_out.as_ref().unwrap_or(&section.train), &section.held_out_split)?;
        let records = train.annotations().records.iter().enumerate();
        let pairs: Vec<(usize, usize)> = records
            .flat_map(|(picture, record)| {
                let captions = record.references.iter().enumerate();
                // A blank caption teaches nothing.
                captions
                    .filter(|(_, text)| !text.trim().is_empty())
                    .map(move |(caption, _)| (picture, caption))
            })
            .collect();
        let without = [
            (&section.train, pairs.len()),
            (section.held_out.as_ref().unwrap_or(&section.train), held_out.len()),
        ];
        if let Some((path, _)) = without.into_iter().find(|(_, len)| *len == 0) {
            return Err(TrainError::content(path, "has no captions"));
        }
        Ok(Self {
            train,
            held_out,
            pairs,
            seed,
            unreadable: section.unreadable,
            size: size as u32,
            max_len,
            vocabulary,
            tokenizer,
            orders: Mutex::default(),
            skipped: Mutex::default(),
        })
    }

    /// The examples of an epoch in its order.
    fn order(&self, epoch: u64) -> Arc<[usize]> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(of, _)| *of == epoch) {
            return Arc::clone(order);
        }
        let mut order: Vec<usize> = (0..self.pairs.len()).collect();
        // Odd multipliers keep different epochs of different seeds apart.
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ epoch.wrapping_mul(0xd134_2543_de82_ef95);
        order.shuffle(&mut Pcg64::seed_from_u64(seed));
        let order: Arc<[usize]> = order.into();
        if orders.len() == KEPT_ORDERS {
            orders.remove(0);
        }
        orders.push((epoch, Arc::clone(&order)));
        order
    }

    fn encode(
        &self,
        data: &AnnotatedDataset,
        picture: usize,
        caption: usize,
    ) -> Result<EncodedExample, TrainError> {
        let example = data.example(picture)?;
        let image = resize_bicubic(&example.image, self.size, self.size);
        let text = example.captions.get(caption).map_or("", String::as_str);
        let input_ids = self.tokenizer.encode(text, self.max_len);
        Ok(EncodedExample { pixel_values: pixel_values(&image), input_ids })
    }

    /// The example at `place` of an epoch, or the next one whose picture can be read, where the recipe allows that.
    fn train_example(&self, order: &[usize], place: usize) -> Result<EncodedExample, TrainError> {
        for step in 0..order.len() {
            let (picture, caption) = self.pairs[order[(place + step) % order.len()]];
            match self.encode(&self.train, picture, caption) {
                Err(_) if self.unreadable == Unreadable::Skip => {
                    self.skipped.lock().unwrap_or_else(PoisonError::into_inner).insert(picture);
                }
                outcome => return outcome,
            }
        }
        Err(TrainError::content(&self.train.annotations().path, "none of its pictures can be read"))
    }
}

impl TrainingData for AnnotatedPictures {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        match split {
            Split::Train => {
                let len = self.pairs.len() as u64;
                self.train_example(&self.order(index / len), (index % len) as usize)
            }
            Split::HeldOut => self.encode(&self.held_out, index as usize, 0),
        }
    }

    fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds::of(&self.tokenizer)
    }

    fn decode(&self, ids: &[u32]) -> String {
        Tokenizer::join_chinese(&self.tokenizer.decode(ids))
    }

    fn judge(&self, _: u64, _: &str) -> Option<bool> {
        None
    }

    fn references(&self, index: u64) -> Vec<String> {
        self.held_out.annotation(index as usize).map(|found| found.references.clone()).unwrap_or_default()
    }

    fn held_out_len(&self) -> Option<u64> {
        Some(self.held_out.len() as u64)
    }

    fn skipped(&self) -> usize {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
