//! Evaluation while training: the loss on held-out pictures, and greedy captions judged by the data. The figures of a
//! finished model, with beam search, come from the engine. Knows no optimizer.

use burn::tensor::{Device, Int, Tensor, TensorData};
use caption_metrics::{cider::cider, corpus::Corpus, tokenize::Tokenization};
use mplug_nn::CaptioningModel;

use crate::batch::MicroBatch;
use crate::error::TrainError;
use crate::gradients::portion_loss;
use crate::training_data::{EncodedExample, SpecialIds, Split, TrainingData};

/// Pictures that go through the network at once.
const PORTION: usize = 16;
/// Captions kept as samples.
const SAMPLES: usize = 4;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy per token on held-out pictures.
    pub loss: f64,
    /// The share of greedy captions that are true in full, if the dataset can tell.
    pub truth: Option<f64>,
    /// CIDEr-D of greedy captions, 0 to 10, if the dataset has references: over characters for Chinese, else over the
    /// reference evaluator's tokens.
    pub cider: Option<f64>,
    /// The first captions.
    pub samples: Vec<String>,
}

/// Evaluates `model` (without gradients) on the first `pictures` held-out pictures; captions have at most `max_len`
/// tokens, the start token included.
pub fn evaluate(
    model: &CaptioningModel,
    data: &dyn TrainingData,
    pictures: usize,
    max_len: usize,
    device: &Device,
) -> Result<Evaluation, TrainError> {
    let special = data.special_ids();
    let pictures = data.held_out_len().map_or(pictures, |len| pictures.min(len as usize));
    let (mut loss, mut tokens) = (0.0, 0);
    let mut captions = Vec::with_capacity(pictures);
    let (mut right, mut judged, mut samples) = (0, 0, Vec::new());
    for first in (0..pictures).step_by(PORTION) {
        let last = pictures.min(first + PORTION);
        let examples = (first..last)
            .map(|index| data.example(Split::HeldOut, index as u64))
            .collect::<Result<Vec<_>, _>>()?;
        let portion = MicroBatch::collate(&examples, special.pad);
        loss += f64::from(portion_loss(model, &portion, 1, device).into_scalar::<f32>());
        tokens += portion.tokens();
        for (index, ids) in (first..).zip(greedy_captions(model, &examples, max_len, special, device)) {
            let caption = data.decode(&ids);
            if let Some(verdict) = data.judge(index as u64, &caption) {
                judged += 1;
                right += usize::from(verdict);
            }
            if samples.len() < SAMPLES {
                samples.push(caption.clone());
            }
            captions.push(caption);
        }
    }
    let truth = (judged > 0).then(|| right as f64 / judged as f64);
    let cider = cider_of(data, &captions)?;
    Ok(Evaluation { loss: loss / tokens.max(1) as f64, truth, cider, samples })
}

/// CIDEr-D of the first held-out pictures' captions, if all of them have references.
fn cider_of(data: &dyn TrainingData, captions: &[String]) -> Result<Option<f64>, TrainError> {
    let references: Vec<Vec<String>> =
        (0..captions.len() as u64).map(|index| data.references(index)).collect();
    if references.iter().any(Vec::is_empty) {
        return Ok(None);
    }
    let tokenization = Tokenization::suited_to(references.iter().flatten().map(String::as_str));
    let references = tokenization.tokenize_images(&references)?;
    let candidates = tokenization.tokenize(captions)?;
    Ok(Some(cider(&Corpus::new(&candidates, &references)?).corpus))
}

/// The likeliest next token, again and again, until the end token or `max_len`. Returns the ids without the start and
/// end tokens.
///
/// # Panics
/// If there are no examples.
pub fn greedy_captions(
    model: &CaptioningModel,
    examples: &[EncodedExample],
    max_len: usize,
    special: SpecialIds,
    device: &Device,
) -> Vec<Vec<u32>> {
    let rows = examples.len();
    let size = ((examples[0].pixel_values.len() / 3) as f64).sqrt().round() as usize;
    let pixels: Vec<f32> = examples.iter().flat_map(|example| example.pixel_values.iter().copied()).collect();
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [rows, 3, size, size]), device);
    let image = model.encode_image(pixels);
    let mut captions: Vec<Vec<u32>> = vec![vec![special.start]; rows];
    for len in 1..max_len {
        let ids: Vec<i32> = captions.iter().flatten().map(|id| *id as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [rows, len]), device);
        let logits = model.decode(ids, Tensor::ones([rows, len], device), image.clone());
        let best = logits.narrow(1, len - 1, 1).argmax(2).reshape([rows]);
        let best: Vec<i64> = best.try_into_vec_as().expect("indices are integers");
        for (caption, next) in captions.iter_mut().zip(best) {
            let ended = caption.last() == Some(&special.end);
            caption.push(if ended { special.end } else { next as u32 });
        }
        if captions.iter().all(|caption| caption.last() == Some(&special.end)) {
            break;
        }
    }
    let body = |caption: Vec<u32>| {
        caption.into_iter().skip(1).take_while(|id| *id != special.end).collect::<Vec<u32>>()
    };
    captions.into_iter().map(body).collect()
}
