//! The running average of the weights over the last steps, which captions better than the last step's weights. Knows no
//! optimizer.

use burn::tensor::{Tensor, TensorData};
use mplug_nn::Mplug;
use mplug_nn::parameter::Parameter;

/// Averages of all parameters, in the model's order.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    /// The averages; empty of parameters that are frozen.
    pub values: Vec<Vec<f32>>,
    decay: f64,
}

impl WeightAverage {
    /// Starts at the model's weights.
    pub fn new(model: &Mplug, decay: f64) -> Self {
        Self { values: model.parameters().iter().map(average_of).collect(), decay }
    }

    /// The averages to be moved after `step` (from 0), each with its decay. Early steps weigh more, so that the fresh
    /// weights are soon forgotten.
    pub fn advance(&mut self, step: u64) -> Vec<Option<(&mut [f32], f32)>> {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64)) as f32;
        self.values.iter_mut().map(|values| Some((values.as_mut_slice(), decay))).collect()
    }

    /// The model with the averaged weights, without gradients.
    pub fn model(&self, model: &Mplug) -> Mplug {
        let mut averaged = model.clone();
        let trained = averaged.parameters_mut().into_iter().zip(&self.values).filter(|(p, _)| !p.is_frozen());
        for (parameter, average) in trained {
            let data = TensorData::new(average.clone(), [average.len()]);
            parameter.update(|value| Tensor::from_data(data, &value.device()));
        }
        averaged.without_autodiff()
    }
}

fn average_of(parameter: &Parameter) -> Vec<f32> {
    if parameter.is_frozen() { Vec::new() } else { parameter.to_vec() }
}
