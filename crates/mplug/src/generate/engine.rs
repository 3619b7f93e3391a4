//! Many texts written together, each with a picture and options of its own: they join and leave between steps.
//!
//! ```text
//! add ──> texts ── step: prefixes and next tokens of all ──> decoder ──> logits ──> each text's search ──> next tokens, or finished
//! abort ─────^
//! ```
//!
//! The shape is that of the core of vLLM (Kwon et al., arXiv 2309.06180). Here a text's past is its own (a beam's keys and values are
//! never copied, see [`key_value_cache`](super::key_value_cache)), and what a text becomes depends on nothing but the text: neither the
//! others nor the moment at which they come and go change a bit of it.

use std::sync::Arc;

use mplug_kernels::{for_each_chunk, together};

use super::key_value_cache::KeyValueCache;
use super::writing::{Next, Writing};
use super::{Hypotheses, NotANumber, Resolved};
use crate::encoded_picture::EncodedPicture;
use crate::text_decoder::{StepBuffers, StepRows, TextDecoder};

/// A text in an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

/// A text that is finished.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// What [`GenerationEngine::add`] gave.
    pub id: Id,
    /// The hypotheses, best first.
    pub hypotheses: Hypotheses,
}

/// One text: its rows continue `token_ids` in the next step.
struct Text {
    id: Id,
    picture: EncodedPicture,
    cache: KeyValueCache,
    writing: Writing,
    /// The token that each row appends next; the whole prefix at the start.
    token_ids: Vec<u32>,
    is_begun: bool,
}

/// Writes texts with a decoder that it owns a share of: it can live in a thread of a server or in an object of another language.
pub struct GenerationEngine {
    decoder: Arc<TextDecoder>,
    /// In the order of their ids.
    texts: Vec<Text>,
    buffers: StepBuffers,
    next_id: u64,
}

impl GenerationEngine {
    /// An engine without texts.
    pub fn new(decoder: Arc<TextDecoder>) -> Self {
        let buffers = StepBuffers::default();
        Self { decoder, texts: Vec::new(), buffers, next_id: 0 }
    }

    /// Adds a text about `picture`, which takes part from the next step on.
    ///
    /// # Panics
    /// If the picture was encoded by a model of other layers.
    pub fn add(&mut self, picture: EncodedPicture, resolved: impl Into<Arc<Resolved>>) -> Id {
        self.decoder.check(&picture);
        let resolved = resolved.into();
        let id = Id(self.next_id);
        self.next_id += 1;
        self.texts.push(Text {
            id,
            picture,
            cache: self.decoder.new_cache(),
            token_ids: resolved.prefix.clone(),
            writing: Writing::new(resolved),
            is_begun: false,
        });
        id
    }

    /// Takes a text out, which then gives no update. `false` if it is not there: finished, aborted, or never added.
    pub fn abort(&mut self, id: Id) -> bool {
        let Ok(index) = self.texts.binary_search_by_key(&id, |text| text.id) else { return false };
        let text = self.texts.remove(index);
        self.decoder.keep_cache(text.cache);
        true
    }

    /// Texts that are being written.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Bytes of the texts' keys and values, as they grow with every step.
    pub fn bytes(&self) -> usize {
        self.texts.iter().map(|text| text.cache.bytes()).sum()
    }

    /// Adds a token to every row of every text; returns the texts that this finished, oldest first.
    ///
    /// # Panics
    /// If a text was resolved for a model of more tokens or positions.
    pub fn step(&mut self) -> Vec<Update> {
        if self.texts.is_empty() {
            return Vec::new();
        }
        let finished = together(|| {
            let mut rows: Vec<StepRows<'_>> = self.texts.iter_mut().map(Text::begin_step).collect();
            self.decoder.step(&mut rows, &mut self.buffers);
            self.follow()
        });
        self.take_finished(finished)
    }

    /// Takes every text on from the step's logits; the hypotheses of those that this ends.
    fn follow(&mut self) -> Vec<Option<Hypotheses>> {
        let vocab_size = self.decoder.config().vocab_size;
        let logits = &mut self.buffers.logits; // (rows, vocab_size)
        let texts = &self.texts;
        let owners = texts.iter().flat_map(|text| std::iter::repeat_n(text, text.logit_rows()));
        let mut rows: Vec<_> = owners
            .zip(logits.chunks_exact_mut(vocab_size))
            .map(|(text, logits)| (text, logits, true))
            .collect();
        for_each_chunk(&mut rows, 1, |_, row| {
            let (text, logits, is_good) = &mut row[0];
            *is_good = text.writing.prepare(logits);
        });
        let is_good: Vec<bool> = rows.into_iter().map(|(_, _, is_good)| is_good).collect();
        let (mut logits, mut is_good) = (logits.as_mut_slice(), is_good.as_slice());
        let mut followed: Vec<Followed<'_>> = Vec::with_capacity(self.texts.len());
        for text in &mut self.texts {
            let rows = text.logit_rows();
            let logits = logits.split_off_mut(..rows * vocab_size).expect("a row of logits for each row");
            let is_good = is_good.split_off(..rows).expect("and a mark").iter().all(|is_good| *is_good);
            followed.push(Followed { text, logits, is_good, finished: None });
        }
        for_each_chunk(&mut followed, 1, |_, followed| followed[0].advance(vocab_size));
        followed.into_iter().map(|followed| followed.finished).collect()
    }

    fn take_finished(&mut self, finished: Vec<Option<Hypotheses>>) -> Vec<Update> {
        let mut updates = Vec::new();
        for (text, finished) in std::mem::take(&mut self.texts).into_iter().zip(finished) {
            match finished {
                None => self.texts.push(text),
                Some(hypotheses) => {
                    updates.push(Update { id: text.id, hypotheses });
                    self.decoder.keep_cache(text.cache);
                }
            }
        }
        updates
    }
}

impl Text {
    /// The rows of the next step, their tokens added to the cache.
    fn begin_step(&mut self) -> StepRows<'_> {
        let rows = self.token_ids.len();
        if self.is_begun {
            self.cache.begin_step();
        } else {
            self.cache.begin_chains(1, rows);
        }
        // Of a prefix the last row alone says what comes next.
        let logits = if self.is_begun { 0..rows } else { rows - 1..rows };
        StepRows::new(&self.picture, &mut self.cache, &self.token_ids).with_logits(logits)
    }

    /// Rows that have logits in a step.
    fn logit_rows(&self) -> usize {
        if self.is_begun { self.token_ids.len() } else { 1 }
    }
}

/// A text and what the step gave it.
struct Followed<'a> {
    text: &'a mut Text,
    /// `(rows, vocab_size)`, prepared.
    logits: &'a mut [f32],
    is_good: bool,
    /// The hypotheses, where the step ends the text.
    finished: Option<Hypotheses>,
}

impl Followed<'_> {
    fn advance(&mut self, vocab_size: usize) {
        let text = &mut *self.text;
        if !text.is_begun {
            text.cache.select_rows(&[text.token_ids.len() - 1]);
            text.is_begun = true;
        }
        if !self.is_good {
            self.finished = Some(Err(NotANumber));
            return;
        }
        match text.writing.advance(self.logits, vocab_size) {
            Next::Step(step) => {
                text.cache.select_rows(&step.parent_beams);
                text.token_ids = step.next_token_ids;
            }
            Next::Finished(hypotheses) => self.finished = Some(hypotheses),
        }
    }
}
