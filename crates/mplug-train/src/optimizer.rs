//! AdamW, Adam and SGD as PyTorch has them, in the original's groups (AliceMind's `optim_factory.py`): no decay where the name holds `bias` or
//! `LayerNorm.weight`, a learning rate of its own for the visual encoder (or ModelScope's: one group); and the norm that gradients are clipped to.
//! One pass over memory per parameter, on the host. Knows no model, only named arrays.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Tensor, TensorData};
use mplug_nn::parameter::Parameter;
use rayon::prelude::*;

use crate::average::WeightAverage;
use crate::config::{Groups, Moments, OptimizerSection, UpdateRule};
use crate::gradients::Gradients;

/// Parameters whose names hold this have the visual encoder's learning rate.
const VISION: &str = "visual_encoder";

/// The optimizer and its memory.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerSection,
    /// Steps taken.
    pub steps: u64,
    /// First and second moments per parameter, in the model's order; none before a parameter's first gradient. SGD's momentum
    /// is in the place of the first; what a rule does not have is empty.
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
    rule: RuleCoefficients,
    /// `1 - rate · decay` of a decay of weights by themselves, else 1.
    keep: f32,
    /// What gradients are multiplied with.
    scale: f32,
    /// The decay that is part of the gradient.
    decay: f32,
}

/// Those of its rule.
#[derive(Clone, Copy)]
enum RuleCoefficients {
    Adam {
        betas: [f32; 2],
        /// `1 - beta`, which f32 would round coarsely.
        shares: [f32; 2],
        /// `rate / (1 - beta_1^t)`.
        rate: f32,
        /// `1 / sqrt(1 - beta_2^t)`.
        root: f32,
        eps: f32,
    },
    Sgd {
        rate: f32,
        momentum: f32,
        nesterov: bool,
    },
}

impl Optimizer {
    /// A fresh optimizer for `parameters` parameters.
    pub fn new(config: &OptimizerSection, parameters: usize) -> Self {
        Self { config: config.clone(), steps: 0, moments: vec![None; parameters] }
    }

    /// How many of the two moments its rule has.
    pub fn moments_kept(&self) -> usize {
        match self.config.rule {
            UpdateRule::AdamW(_) | UpdateRule::Adam(_) => 2,
            UpdateRule::Sgd { momentum, .. } => usize::from(momentum > 0.0),
        }
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
        let (config, steps, kept) = (&self.config, self.steps, self.moments_kept());
        let weights_are_finite = AtomicBool::new(true);
        parameters.into_par_iter().zip(gradients).zip(&mut self.moments).zip(averages).for_each(
            |(((parameter, gradient), moments), average)| {
                let Some(gradient) = gradient else { return };
                let numbers = coefficients(config, steps, parameter.name(), rates, scale);
                let fresh = |index| vec![0.0; if index < kept { gradient.len() } else { 0 }];
                let mut none = [Vec::new(), Vec::new()];
                let moments =
                    if kept == 0 { &mut none } else { moments.get_or_insert_with(|| [0, 1].map(fresh)) };
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

/// The update of one parameter.
fn update(weights: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>; 2], numbers: Coefficients) {
    let Coefficients { rule, keep, scale, decay } = numbers;
    // Where the decay is no part of the gradient, nothing is added to it: not even a zero, so that its bits stay.
    let whole = |gradient: f32, weight: f32| {
        let gradient = gradient * scale;
        if decay == 0.0 { gradient } else { gradient + decay * weight }
    };
    let [first, second] = moments;
    match rule {
        RuleCoefficients::Adam { betas: [beta_1, beta_2], shares: [share_1, share_2], rate, root, eps } => {
            for (((weight, gradient), first), second) in
                weights.iter_mut().zip(gradient).zip(first).zip(second)
            {
                let gradient = whole(*gradient, *weight);
                *first = beta_1 * *first + share_1 * gradient;
                *second = beta_2 * *second + share_2 * gradient * gradient;
                *weight = keep * *weight - rate * *first / (second.sqrt() * root + eps);
            }
        }
        RuleCoefficients::Sgd { rate, momentum: 0.0, .. } => {
            for (weight, gradient) in weights.iter_mut().zip(gradient) {
                *weight -= rate * whole(*gradient, *weight);
            }
        }
        RuleCoefficients::Sgd { rate, momentum, nesterov } => {
            for ((weight, gradient), velocity) in weights.iter_mut().zip(gradient).zip(first) {
                let gradient = whole(*gradient, *weight);
                *velocity = momentum * *velocity + gradient;
                *weight -= rate * if nesterov { gradient + momentum * *velocity } else { *velocity };
            }
        }
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
    let decay = if decays(config.groups, name) { config.weight_decay } else { 0.0 };
    let steps = i32::try_from(steps).unwrap_or(i32::MAX);
    let adam = |Moments { betas, eps }: Moments| {
        let corrections = betas.map(|beta| 1.0 - beta.powi(steps));
        RuleCoefficients::Adam {
            betas: betas.map(|beta| beta as f32),
            shares: betas.map(|beta| (1.0 - beta) as f32),
            rate: (rate / corrections[0]) as f32,
            root: (1.0 / corrections[1].sqrt()) as f32,
            eps: eps as f32,
        }
    };
    let (rule, decays_alone) = match config.rule {
        UpdateRule::AdamW(moments) => (adam(moments), true),
        UpdateRule::Adam(moments) => (adam(moments), false),
        UpdateRule::Sgd { momentum, nesterov } => {
            (RuleCoefficients::Sgd { rate: rate as f32, momentum: momentum as f32, nesterov }, false)
        }
    };
    Coefficients {
        rule,
        keep: if decays_alone { (1.0 - rate * decay) as f32 } else { 1.0 },
        scale: scale as f32,
        decay: if decays_alone { 0.0 } else { decay as f32 },
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
            rule: UpdateRule::AdamW(Moments::default()),
            learning_rate: 0.1,
            vision_learning_rate: None,
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

    /// `reference/make_schedule_fixtures.py`: `PyTorch`'s own steps.
    #[test]
    fn steps_are_those_of_torch() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/schedules/optimizers.json");
        let fixture: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let floats = |value: &serde_json::Value| -> Vec<f32> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        let cases = fixture["cases"].as_array().unwrap();
        for case in cases {
            let recipe = case["recipe"].as_str().unwrap();
            let text = format!("learning_rate = 1.0\ngroups = \"single\"\n{recipe}");
            let config: OptimizerSection = toml::from_str(&text).unwrap();
            let mut weights = floats(&fixture["start"]);
            let kept = Optimizer::new(&config, 1).moments_kept();
            let mut moments = [0, 1].map(|index| vec![0.0; if index < kept { weights.len() } else { 0 }]);
            let steps =
                fixture["gradients"].as_array().unwrap().iter().zip(case["after"].as_array().unwrap());
            for (step, (gradient, right)) in steps.enumerate() {
                let rate = fixture["rates"][step].as_f64().unwrap();
                let numbers = coefficients(&config, step as u64 + 1, "some.bias", &|_| rate, 1.0);
                update(&mut weights, &floats(gradient), &mut moments, numbers);
                for (found, right) in weights.iter().zip(floats(right)) {
                    let near = 2e-6 * right.abs().max(1.0);
                    assert!((found - right).abs() < near, "{recipe}, step {step}: {found} against {right}");
                }
            }
        }
        assert!(cases.len() > 6, "only {} cases", cases.len());
    }
}
