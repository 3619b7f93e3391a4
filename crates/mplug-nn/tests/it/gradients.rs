//! Gradients of the whole network against finite differences.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use mplug::config::{ModelConfig, Task};
use mplug_nn::{CaptioningModel, RandomParameters};

/// A scalar of the network's output that depends on every logit.
fn scalar(
    model: &CaptioningModel,
    pixels: &Tensor<4>,
    ids: &Tensor<2, Int>,
    weights: &Tensor<3>,
) -> Tensor<1> {
    let device = pixels.device();
    let mask = Tensor::<2>::from_floats([[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0, 0.0]], &device);
    (model.forward(pixels.clone(), ids.clone(), mask) * weights.clone()).mean()
}

/// The derivative along a direction in each parameter alone, by the gradient and by a central difference.
#[test]
fn every_parameters_gradient_is_the_finite_difference() {
    let config = ModelConfig::tiny(Task::ImageCaptioning);
    let device = Device::flex().autodiff();
    let model = CaptioningModel::new(&config, &mut RandomParameters { seed: 5 }, &device).expect("a network");
    let size = config.vision.image_size;
    let pixels = Tensor::<4>::random([2, 3, size, size], Distribution::Normal(0.0, 1.0), &device);
    let ids = Tensor::<2, Int>::from_ints([[101, 7, 300, 5, 9], [101, 4, 8, 0, 0]], &device);
    let weights =
        Tensor::<3>::random([2, 5, config.text.vocab_size], Distribution::Normal(0.0, 50.0), &device);
    let gradients = scalar(&model, &pixels, &ids, &weights).backward();
    let parameters = model.parameters();
    for (place, parameter) in parameters.iter().enumerate() {
        let gradient: Vec<f32> = parameter
            .value()
            .grad(&gradients)
            .expect("every parameter counts")
            .try_into_vec_as()
            .expect("f32");
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let values = parameter.to_vec();
        let size = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1.0);
        // Along the gradient itself, where the difference stands out of the rounding.
        let step = 2e-3 * size;
        let moved = |sign: f64| {
            let mut model = model.clone();
            let values: Vec<f32> = values
                .iter()
                .zip(&gradient)
                .map(|(v, g)| v + (sign * step * f64::from(*g) / norm.max(1e-30)) as f32)
                .collect();
            let data = TensorData::new(values, [gradient.len()]);
            model.parameters_mut()[place].update(|value| Tensor::from_data(data, &value.device()));
            f64::from(scalar(&model, &pixels, &ids, &weights).into_scalar::<f32>())
        };
        let difference = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        // Biases of keys shift all scores of a query alike: their gradient is zero but for rounding.
        let tolerance = 0.03 * norm + 2e-4;
        assert!((difference - norm).abs() < tolerance, "{}: {difference} against {norm}", parameter.name());
    }
}
