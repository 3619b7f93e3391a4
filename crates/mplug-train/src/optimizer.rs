//! AdamW in the original's groups (AliceMind's `optim_factory.py`): no decay where the name holds `bias` or `LayerNorm.weight`, a learning rate
//! of its own for the visual encoder (or ModelScope's: all alike); and the norm that gradients are clipped to. One pass over memory per parameter, on
//! the host. Knows no model, only named arrays.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Tensor, TensorData};
use mplug_nn::parameter::Parameter;
use rayon::prelude::*;

use crate::average::WeightAverage;
use crate::config::{Groups, OptimizerSection};
use crate::gradients::Gradients;

/// Parameters whose names hold this have the visual encoder's learning rate.
const VISION: &str = "visual_encoder";

/// The optimizer and its memory.
#[derive(Clone, Debug)]
pub struct AdamW {
    config: OptimizerSection,
    /// Steps taken.
    pub steps: u64,
    /// First and second moments per parameter, in the model's order; none before a parameter's first gradient.
    pub moments: Vec<Option<[Vec<f32>; 2]>>,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The norm of the gradients, before clipping. Where it is not finite, nothing was changed.
    pub norm: f64,
    /// Whether every weight is finite after the step.
    pub weights_are_finite: bool,
}

/// The numbers of one parameter's update.
#[derive(Clone, Copy)]
struct Coefficients {
    betas: [f32; 2],
    /// `rate / (1 - beta_1^t)`.
    rate: f32,
    /// `1 / sqrt(1 - beta_2^t)`.
    root: f32,
    eps: f32,
    /// `1 - rate · decay`.
    keep: f32,
    /// What gradients are multiplied with.
    scale: f32,
}

impl AdamW {
    /// A fresh optimizer for `parameters` parameters.
    pub fn new(config: &OptimizerSection, parameters: usize) -> Self {
        Self { config: config.clone(), steps: 0, moments: vec![None; parameters] }
    }

    /// Takes one step along `gradients`, at the learning rates that `rates` makes of the peaks, and moves `average` along. Gradients
    /// longer than the recipe's norm are scaled down to it. Parameters without a gradient stay as they are; all do where the
    /// norm is not finite.
    ///
    /// # Panics
    /// If the device fails to give or take values.
    pub fn step(
        &mut self,
        parameters: Vec<&mut Parameter>,
        gradients: &Gradients,
        average: Option<&mut WeightAverage>,
        rates: &(dyn Fn(f64) -> f64 + Sync),
    ) -> Step {
        let norm = norm(gradients);
        if !norm.is_finite() {
            return Step { norm, weights_are_finite: true };
        }
        let limit = self.config.clip_norm;
        let scale = if limit > 0.0 && norm > limit { limit / (norm + 1e-6) } else { 1.0 };
        let mut averages = match average {
            Some(average) => average.advance(self.steps),
            None => Vec::new(),
        };
        averages.resize_with(parameters.len(), || None);
        self.steps += 1;
        let (config, steps) = (&self.config, self.steps);
        let weights_are_finite = AtomicBool::new(true);
        parameters.into_par_iter().zip(gradients).zip(&mut self.moments).zip(averages).for_each(
            |(((parameter, gradient), moments), average)| {
                let Some(gradient) = gradient else { return };
                let numbers = coefficients(config, steps, parameter.name(), rates, scale);
                let moments = moments.get_or_insert_with(|| [(); 2].map(|()| vec![0.0; gradient.len()]));
                parameter.update(|value| {
                    let device = value.device();
                    let mut weights: Vec<f32> = value.try_into_vec_as().expect("parameters are f32");
                    update(&mut weights, gradient, moments, numbers);
                    if !weights.iter().all(|weight| weight.is_finite()) {
                        weights_are_finite.store(false, Ordering::Relaxed);
                    }
                    if let Some((average, decay)) = average {
                        for (average, weight) in average.iter_mut().zip(&weights) {
                            *average += (weight - *average) * (1.0 - decay);
                        }
                    }
                    let len = weights.len();
                    Tensor::from_data(TensorData::new(weights, [len]), &device)
                });
            },
        );
        Step { norm, weights_are_finite: weights_are_finite.into_inner() }
    }
}

/// AdamW's update of one parameter.
fn update(weights: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>; 2], numbers: Coefficients) {
    let Coefficients { betas: [beta_1, beta_2], rate, root, eps, keep, scale } = numbers;
    let [first, second] = moments;
    for (((weight, gradient), first), second) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
        let gradient = gradient * scale;
        *first = beta_1 * *first + (1.0 - beta_1) * gradient;
        *second = beta_2 * *second + (1.0 - beta_2) * gradient * gradient;
        *weight = keep * *weight - rate * *first / (second.sqrt() * root + eps);
    }
}

/// The numbers of the update number `steps` (from 1) of the parameter `name`.
fn coefficients(
    config: &OptimizerSection,
    steps: u64,
    name: &str,
    rates: &(dyn Fn(f64) -> f64 + Sync),
    scale: f64,
) -> Coefficients {
    let rate = rates(peak_rate(config, name));
    let decay = if decays(config.groups, name) { rate * config.weight_decay } else { 0.0 };
    let steps = i32::try_from(steps).unwrap_or(i32::MAX);
    let corrections = config.betas.map(|beta| 1.0 - beta.powi(steps));
    Coefficients {
        betas: config.betas.map(|beta| beta as f32),
        rate: (rate / corrections[0]) as f32,
        root: (1.0 / corrections[1].sqrt()) as f32,
        eps: config.eps as f32,
        keep: (1.0 - decay) as f32,
        scale: scale as f32,
    }
}

/// Whether weight decay applies.
fn decays(groups: Groups, name: &str) -> bool {
    groups == Groups::Single || !(name.contains("bias") || name.contains("LayerNorm.weight"))
}

/// The peak learning rate of a parameter.
fn peak_rate(config: &OptimizerSection, name: &str) -> f64 {
    match config.vision_learning_rate {
        Some(rate) if name.contains(VISION) => rate,
        _ => config.learning_rate,
    }
}

/// The norm of all gradients together.
pub fn norm(gradients: &Gradients) -> f64 {
    let square = |chunk: &[f32]| f64::from(chunk.iter().map(|x| x * x).sum::<f32>());
    let squares: Vec<f64> = gradients
        .par_iter()
        .map(|gradient| gradient.iter().flat_map(|values| values.chunks(64)).map(square).sum())
        .collect();
    squares.iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_the_names() {
        assert!(!decays(Groups::Research, "text_decoder.bert.encoder.layer.0.output.dense.bias"));
        assert!(!decays(Groups::Research, "text_decoder.bert.embeddings.LayerNorm.weight"));
        assert!(!decays(Groups::Research, "visual_encoder.visual.transformer.resblocks.0.attn.in_proj_bias"));
        assert!(
            decays(Groups::Research, "visual_encoder.visual.ln_pre.weight"),
            "CLIP's norms decay, as in the original"
        );
        assert!(decays(Groups::Research, "visual_encoder.visual.class_embedding"));
        assert!(decays(Groups::Research, "visn_layer_norm.weight"));
        assert!(decays(Groups::Single, "visn_layer_norm.bias"));
    }

    #[test]
    fn the_norm_is_the_euclidean_one() {
        let gradients = vec![Some(vec![3.0; 100]), None, Some(vec![4.0; 100])];
        assert!((norm(&gradients) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn first_step_moves_by_the_rate_against_the_gradient() {
        let mut weights = [1.0, -2.0];
        let mut moments = [vec![0.0; 2], vec![0.0; 2]];
        let config = OptimizerSection {
            learning_rate: 0.1,
            vision_learning_rate: None,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.5,
            groups: Groups::Research,
            clip_norm: 0.0,
            average_decay: 0.0,
        };
        let numbers = coefficients(&config, 1, "some.weight", &|peak| peak, 1.0);
        update(&mut weights, &[0.3, -0.001], &mut moments, numbers);
        assert!(
            (weights[0] - (1.0 * 0.95 - 0.1)).abs() < 1e-5 && (weights[1] - (-2.0 * 0.95 + 0.1)).abs() < 1e-4
        );
    }
}
