//! The running average of the weights over the last steps, which captions better than the last step's weights. Knows no
//! optimizer.

use burn::tensor::Tensor;
use mplug_nn::CaptioningModel;

/// Averages of all parameters, in the model's order.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    /// The averages.
    pub values: Vec<Tensor<1>>,
    decay: f64,
}

impl WeightAverage {
    /// Starts at the model's weights.
    pub fn new(model: &CaptioningModel, decay: f64) -> Self {
        Self { values: model.parameters().iter().map(|p| p.value().inner()).collect(), decay }
    }

    /// Moves towards the model's weights after `step` (from 0). Early steps weigh more, so that the fresh weights are
    /// soon forgotten.
    pub fn update(&mut self, model: &CaptioningModel, step: u64) {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        for (average, parameter) in self.values.iter_mut().zip(model.parameters()) {
            let value = parameter.value().inner().mul_scalar(1.0 - decay);
            average.inplace(|average| average.mul_scalar(decay).add(value));
        }
    }

    /// The model with the averaged weights, without gradients.
    pub fn model(&self, model: &CaptioningModel) -> CaptioningModel {
        let mut averaged = model.clone();
        for (parameter, average) in averaged.parameters_mut().into_iter().zip(&self.values) {
            parameter.set(average.clone());
        }
        averaged.without_autodiff()
    }
}
