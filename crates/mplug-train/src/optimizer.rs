//! AdamW in the original's groups (SPEC 3.3): no decay where the name holds `bias` or `LayerNorm.weight`, a learning rate
//! of its own for the visual encoder; and clipping of the gradient's norm. Knows no model, only named arrays.

use burn::tensor::Tensor;
use mplug_nn::parameter::Parameter;

use crate::config::OptimizerSection;

/// Parameters whose names start like this have the visual encoder's learning rate.
const VISION_PREFIX: &str = "visual_encoder.";

/// The optimizer and its memory.
#[derive(Clone, Debug)]
pub struct AdamW {
    config: OptimizerSection,
    /// Steps taken.
    pub steps: u64,
    /// First and second moments per parameter, in the model's order; none before a parameter's first gradient.
    pub moments: Vec<Option<[Tensor<1>; 2]>>,
}

impl AdamW {
    /// A fresh optimizer for `parameters` parameters.
    pub fn new(config: &OptimizerSection, parameters: usize) -> Self {
        Self { config: config.clone(), steps: 0, moments: vec![None; parameters] }
    }

    /// Takes one step at `share` of the peak learning rates. Parameters without a gradient stay as they are.
    pub fn step(&mut self, parameters: Vec<&mut Parameter>, gradients: Vec<Option<Tensor<1>>>, share: f64) {
        self.steps += 1;
        for ((parameter, gradient), moments) in
            parameters.into_iter().zip(gradients).zip(&mut self.moments)
        {
            if let Some(gradient) = gradient {
                let rate = share * peak_rate(&self.config, parameter.name());
                let decay = if decays(parameter.name()) { rate * self.config.weight_decay } else { 0.0 };
                let value = parameter.value().inner();
                parameter.set(update(&self.config, self.steps, moments, value, gradient, [rate, decay]));
            }
        }
    }
}

/// AdamW's update of one parameter; returns its new values.
fn update(
    config: &OptimizerSection,
    steps: u64,
    moments: &mut Option<[Tensor<1>; 2]>,
    value: Tensor<1>,
    gradient: Tensor<1>,
    [rate, decay]: [f64; 2],
) -> Tensor<1> {
    let [beta_1, beta_2] = config.betas;
    let square = gradient.clone().square().mul_scalar(1.0 - beta_2);
    let gradient = gradient.mul_scalar(1.0 - beta_1);
    let [first, second] = match moments.take() {
        Some([first, second]) => {
            [first.mul_scalar(beta_1).add(gradient), second.mul_scalar(beta_2).add(square)]
        }
        None => [gradient, square],
    };
    let steps = i32::try_from(steps).unwrap_or(i32::MAX);
    let [correction_1, correction_2] = [1.0 - beta_1.powi(steps), 1.0 - beta_2.powi(steps)];
    let root = second.clone().sqrt().mul_scalar(1.0 / correction_2.sqrt()).add_scalar(config.eps);
    let change = first.clone().div(root).mul_scalar(rate / correction_1);
    *moments = Some([first, second]);
    value.mul_scalar(1.0 - decay).sub(change)
}

/// Whether weight decay applies.
fn decays(name: &str) -> bool {
    !(name.contains("bias") || name.contains("LayerNorm.weight"))
}

/// The peak learning rate of a parameter.
fn peak_rate(config: &OptimizerSection, name: &str) -> f64 {
    match config.vision_learning_rate {
        Some(rate) if name.starts_with(VISION_PREFIX) => rate,
        _ => config.learning_rate,
    }
}

/// Scales the gradients down to the norm `limit` if theirs is larger (0: never); returns the norm before.
pub fn clip_norm(gradients: &mut [Option<Tensor<1>>], limit: f64) -> f64 {
    let squares = gradients.iter().flatten().map(|gradient| {
        f64::from(gradient.clone().square().sum().into_scalar::<f32>())
    });
    let norm = squares.sum::<f64>().sqrt();
    if limit > 0.0 && norm > limit {
        for gradient in gradients.iter_mut().flatten() {
            gradient.inplace(|gradient| gradient.mul_scalar(limit / (norm + 1e-6)));
        }
    }
    norm
}
