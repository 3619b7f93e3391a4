//! Writing about pictures: the cross-entropy of the next token. Captioning (the original's `BertPrefixModel`): the mean over
//! all labels of the batch. Answering (`BertLMHeadModel`): summed over an answer's labels, times the answer's weight, summed,
//! divided by the number of pictures.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};
use mplug::config::Task;
use mplug_nn::{Dropout, EncoderHiddenStates, MomentumModel, Mplug, Parts};

use super::tensors::{constant, integers, texts, vector};
use super::{Findings, NamedTensor, Objective, Pass, StateReader};
use crate::batch::MicroBatch;
use crate::error::TrainError;
use crate::loss::{soft_cross_entropy, weighted_cross_entropy};

/// What the weights of labels are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    /// The batch's labels: captioning.
    Tokens,
    /// The batch's pictures: answering.
    Pictures,
    /// Nothing: the weights are final.
    Sum,
}

/// Captioning or answering.
pub struct Writing {
    reduction: Reduction,
    /// Whether the decoder sees a question with the picture.
    reads: bool,
    distillation: Option<Distillation>,
}

/// Soft labels from a momentum model.
pub struct Distillation {
    /// The momentum model.
    pub momentum_model: MomentumModel,
    /// The share of the soft labels in the loss.
    pub alpha: f64,
}

impl Writing {
    /// Captions of pictures.
    pub fn captions() -> Self {
        Self { reduction: Reduction::Tokens, reads: false, distillation: None }
    }

    /// Captions whose labels' weights are final.
    pub(super) fn weighted_captions() -> Self {
        Self { reduction: Reduction::Sum, ..Self::captions() }
    }

    /// Answers to questions; with `distillation` from soft labels too.
    ///
    /// (In the original, distillation changes nothing: its `alpha` never arrives, and its softmax runs over the wrong axis.)
    pub fn answers(distillation: Option<Distillation>) -> Self {
        Self { reduction: Reduction::Pictures, reads: true, distillation }
    }

    fn scale(&self, pass: &Pass<'_>) -> f64 {
        let whole = match self.reduction {
            Reduction::Tokens => pass.totals.tokens,
            Reduction::Pictures => pass.totals.pictures,
            Reduction::Sum => 1,
        };
        1.0 / whole.max(1) as f64
    }

    /// Scores `(rows, len, vocab)` of the targets' tokens under `model`.
    fn logits(&self, model: &Mplug, pass: &Pass<'_>, device: &Device, dropout: &Dropout) -> Tensor<3> {
        let pass = Pass { model, device, dropout, ..*pass };
        let micro_batch = pass.micro_batch;
        let image = pass.image_embeds();
        let encoder = if self.reads {
            model.read(image, &texts(&micro_batch.texts, device), dropout)
        } else {
            EncoderHiddenStates { states: image, mask: None }
        };
        let encoder = states_of_rows(encoder, micro_batch, device);
        model.decode(&texts(&micro_batch.targets.inputs, device), encoder, dropout)
    }
}

/// The hidden states of a micro-batch's targets. Where every picture has as many rows nothing is copied.
fn states_of_rows(
    encoder: EncoderHiddenStates,
    micro_batch: &MicroBatch,
    device: &Device,
) -> EncoderHiddenStates {
    if micro_batch.targets.rows_per_picture(micro_batch.pictures()).is_some() {
        return encoder;
    }
    let of_row = micro_batch.targets.picture_of_row.iter().map(|picture| *picture as i32).collect();
    encoder.select(integers(of_row, device))
}

impl Objective for Writing {
    fn parts(&self) -> Parts {
        Parts::of(if self.reads { Task::VisualQuestionAnswering } else { Task::ImageCaptioning })
    }

    fn begin_step(&mut self, model: &mut Mplug) {
        if let Some(distillation) = &mut self.distillation {
            distillation.momentum_model.follow(model);
        }
    }

    fn loss(&self, pass: &Pass<'_>) -> (Tensor<1>, Findings) {
        let (device, targets) = (pass.device, &pass.micro_batch.targets);
        let logits = self.logits(pass.model, pass, device, pass.dropout);
        let [rows, len, vocab] = logits.dims();
        let logits = logits.reshape([rows * len, vocab]);
        let labels: Tensor<1, Int> = integers(targets.labels.clone(), device);
        let weights = vector(targets.weights.clone(), device);
        let scale = self.scale(pass);
        let hard = weighted_cross_entropy(logits.clone(), labels, weights.clone()).mul_scalar(scale);
        let Some(Distillation { momentum_model, alpha }) = &self.distillation else {
            return (hard, Findings::default());
        };
        let plain = device.clone().inner();
        let soft =
            self.logits(momentum_model.model(), pass, &plain, &Dropout::off()).reshape([rows * len, vocab]);
        let soft = constant(softmax(soft, 1), device);
        let soft = soft_cross_entropy(logits, soft, weights).mul_scalar(scale);
        (hard.mul_scalar(1.0 - alpha) + soft.mul_scalar(*alpha), Findings::default())
    }

    fn state(&self) -> Vec<NamedTensor> {
        self.distillation
            .as_ref()
            .map(|distillation| distillation.momentum_model.export())
            .unwrap_or_default()
    }

    fn restore(&mut self, read: &mut StateReader<'_>) -> Result<(), TrainError> {
        match &mut self.distillation {
            Some(distillation) => {
                super::contrastive::restore_momentum_model(&mut distillation.momentum_model, read)
            }
            None => Ok(()),
        }
    }
}
