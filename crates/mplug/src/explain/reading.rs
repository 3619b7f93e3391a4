//! A finished text read again, with the whole picture or with parts of it left out: the log-probability of each token.

use std::ops::Range;

use mplug_kernels::softmax::log_sum_exp_row;

use crate::encoded_picture::EncodedPicture;
use crate::generate::{NotANumber, Resolved};
use crate::text_decoder::{StepBuffers, StepRows, TextDecoder};

/// Keys of a picture that are left out: ascending and disjoint ranges.
pub(super) type Mask = Vec<Range<usize>>;

/// A text that a decoder reads about a picture.
pub(super) struct Reading<'a> {
    decoder: &'a TextDecoder,
    picture: &'a EncodedPicture,
    /// What is read: what comes before the text, and the text but for its last token.
    read: Vec<u32>,
    text: &'a [u32],
    /// The first row whose logits are those of a token of the text.
    first: usize,
}

/// A text as it was read, and what the decoder looked at meanwhile.
pub(super) struct Recorded {
    /// Of each token of the text.
    pub(super) log_probs: Vec<f32>,
    /// The cross-attention's probabilities, `(layers · heads, rows, keys)`.
    pub(super) probabilities: Vec<f32>,
}

impl<'a> Reading<'a> {
    /// `text` begins with what `resolved` has begun, and is not empty.
    pub(super) fn new(
        decoder: &'a TextDecoder,
        picture: &'a EncodedPicture,
        resolved: &Resolved,
        text: &'a [u32],
    ) -> Self {
        let before = resolved.prefix().len() - resolved.begun().len();
        let read = [&resolved.prefix()[..before], &text[..text.len() - 1]].concat();
        Self { decoder, picture, read, text, first: before - 1 }
    }

    /// The row whose logits are those of token `index` of the text: the one that reads the token before.
    pub(super) fn row_of(&self, index: usize) -> usize {
        self.first + index
    }

    /// Rows of a reading.
    pub(super) fn rows(&self) -> usize {
        self.read.len()
    }

    /// Keys of the picture.
    pub(super) fn keys(&self) -> usize {
        self.picture.key_values()[0].key_len()
    }

    /// Heads of a layer.
    pub(super) fn heads(&self) -> usize {
        self.decoder.config().num_attention_heads
    }

    /// Log-probabilities of the tokens, `(masks, tokens)`. At most `rows_at_once` rows, but a mask's at least, go through the decoder
    /// together; no value depends on that.
    pub(super) fn log_probs(&self, masks: &[Mask], rows_at_once: usize) -> Result<Vec<f32>, NotANumber> {
        let mut buffers = StepBuffers::default();
        let mut log_probs = Vec::with_capacity(masks.len() * self.text.len());
        for masks in masks.chunks((rows_at_once / self.rows()).max(1)) {
            let mut cache = self.decoder.new_cache();
            cache.begin_chains(masks.len(), self.rows());
            let read = self.read.repeat(masks.len());
            let rows = StepRows::new(self.picture, &mut cache, &read).leaving_out(masks);
            self.decoder.step(&mut [rows], &mut buffers);
            for logits in buffers.logits.chunks(self.rows() * self.vocab_size()) {
                self.append_log_probs(logits, &mut log_probs)?;
            }
        }
        Ok(log_probs)
    }

    /// Log-probabilities of the tokens with the whole picture, and what the decoder looked at.
    pub(super) fn recorded(&self) -> Result<Recorded, NotANumber> {
        let (mut cache, mut buffers) = (self.decoder.new_cache(), StepBuffers::default());
        let (mut probabilities, mut log_probs) = (Vec::new(), Vec::new());
        cache.begin_chains(1, self.rows());
        let rows = StepRows::new(self.picture, &mut cache, &self.read).recording(&mut probabilities);
        self.decoder.step(&mut [rows], &mut buffers);
        self.append_log_probs(&buffers.logits, &mut log_probs)?;
        Ok(Recorded { log_probs, probabilities })
    }

    fn vocab_size(&self) -> usize {
        self.decoder.config().vocab_size
    }

    /// Of the logits of one reading, `(rows, vocab_size)`.
    fn append_log_probs(&self, logits: &[f32], log_probs: &mut Vec<f32>) -> Result<(), NotANumber> {
        let rows = logits.chunks(self.vocab_size()).skip(self.first);
        for (logits, &token) in rows.zip(self.text) {
            let sum = log_sum_exp_row(logits);
            if !sum.is_finite {
                return Err(NotANumber);
            }
            log_probs.push(sum.log_probability(logits[token as usize]));
        }
        Ok(())
    }
}
