//! Gradients of the whole network against finite differences.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use mplug::config::{ModelConfig, Task};
use mplug_nn::{Dropout, DropoutRates, EncoderHiddenStates, Mplug, Parts, RandomParameters, Texts};

/// What goes into the network, and the weights of what comes out.
struct Case {
    pixels: Tensor<4>,
    read: Texts,
    written: Texts,
    weights: Tensor<3>,
}

impl Case {
    fn draw(config: &ModelConfig, device: &Device) -> Self {
        let size = config.vision.image_size;
        let mask = Tensor::from_floats([[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0, 0.0]], device);
        let texts = |ids: [[i32; 5]; 2]| Texts {
            input_ids: Tensor::<2, Int>::from_ints(ids, device),
            attention_mask: mask.clone(),
        };
        Self {
            pixels: Tensor::random([2, 3, size, size], Distribution::Normal(0.0, 1.0), device),
            read: texts([[101, 17, 30, 50, 90], [101, 40, 80, 0, 0]]),
            written: texts([[101, 7, 300, 5, 9], [101, 4, 8, 0, 0]]),
            weights: Tensor::random([2, 5, config.text.vocab_size], Distribution::Normal(0.0, 50.0), device),
        }
    }

    /// A scalar of the network's outputs that depends on every one of them.
    fn scalar(&self, model: &Mplug) -> Tensor<1> {
        let (off, parts) = (Dropout::off(), model.parts());
        let image = model.encode_image(self.pixels.clone(), &off);
        if !parts.fusion_encoder {
            let encoder = EncoderHiddenStates { states: image, mask: None };
            return (model.decode(&self.written, encoder, &off) * self.weights.clone()).mean();
        }
        let encoder = model.read(image.clone(), &self.read, &off);
        let written = (model.decode(&self.written, encoder, &off) * self.weights.clone()).mean();
        if !parts.contrastive_head {
            return written;
        }
        let text = model.encode_text(&self.read, &off);
        let head = model.contrastive_head();
        let features =
            head.image_features(image.clone()).matmul(head.text_features(text.clone()).transpose());
        let similarity = (features / head.temperature().reshape([1, 1]) * self.corner()).sum();
        let fused = model.fuse(image, text, self.read.attention_mask.clone(), &off).text;
        let matching = (model.matching(fused.clone()) * self.corner()).sum();
        let [batch, len, width] = fused.dims();
        let tokens = model.masked_tokens(fused.reshape([batch * len, width]));
        let [rows, vocab] = tokens.dims();
        let tokens = (tokens * self.weights.clone().reshape([rows, vocab])).mean();
        written + similarity + matching + tokens
    }

    /// Four of the weights.
    fn corner(&self) -> Tensor<2> {
        self.weights.clone().narrow(1, 0, 1).narrow(2, 0, 2).reshape([2, 2]).mul_scalar(0.02)
    }
}

/// The derivative along a direction in each parameter alone whose name `counts`, by the gradient and by a central difference.
fn check(config: &ModelConfig, parts: Parts, counts: impl Fn(&str) -> bool) {
    let device = Device::flex().autodiff();
    let model = Mplug::new(config, parts, &mut RandomParameters { seed: 5 }, &device).expect("a network");
    let case = Case::draw(config, &device);
    let gradients = case.scalar(&model).backward();
    let parameters = model.parameters();
    for (index, parameter) in parameters.iter().enumerate().filter(|(_, p)| counts(p.name())) {
        let gradient: Vec<f32> = parameter
            .value()
            .grad(&gradients)
            .unwrap_or_else(|| panic!("{} counts for nothing", parameter.name()))
            .try_into_vec_as()
            .expect("f32");
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let values = parameter.to_vec();
        let size = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        // Along the gradient itself, where the difference stands out of the rounding. The temperature divides: small steps.
        let step = if parameter.name() == "temp" { 2e-3 * size } else { 2e-3 * size.max(1.0) };
        let moved = |sign: f64| {
            let mut model = model.clone();
            let values: Vec<f32> = values
                .iter()
                .zip(&gradient)
                .map(|(v, g)| v + (sign * step * f64::from(*g) / norm.max(1e-30)) as f32)
                .collect();
            let data = TensorData::new(values, [gradient.len()]);
            model.parameters_mut()[index].update(|value| Tensor::from_data(data, &value.device()));
            f64::from(case.scalar(&model).into_scalar::<f32>())
        };
        let difference = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        // Biases of keys shift all scores of a query by the same amount: their gradient is zero but for rounding.
        let tolerance = 0.03 * norm + 1e-3;
        assert!((difference - norm).abs() < tolerance, "{}: {difference} against {norm}", parameter.name());
    }
}

#[test]
fn every_parameter_of_a_captioner_has_the_finite_difference() {
    check(&ModelConfig::tiny(Task::ImageCaptioning), Parts::of(Task::ImageCaptioning), |_| true);
}

#[test]
fn every_parameter_that_a_captioner_lacks_has_the_finite_difference() {
    let is_new = |name: &str| !name.starts_with("visual_encoder.") && !name.starts_with("text_decoder.");
    check(&ModelConfig::tiny(Task::ImageTextRetrieval), Parts::all(), is_new);
}

/// Gradient checkpointing changes nothing but rounding, what is dropped included.
#[test]
fn blocks_that_are_computed_again_have_the_same_gradients() {
    let config = ModelConfig::tiny(Task::ImageCaptioning);
    let device = Device::flex().autodiff();
    let mut source = RandomParameters { seed: 5 };
    let mut model = Mplug::new(&config, Parts::of(config.task), &mut source, &device).expect("a network");
    let size = config.vision.image_size;
    let pixels = Tensor::<4>::random([2, 3, size, size], Distribution::Normal(0.0, 1.0), &device);
    let image_len = config.vision.image_len();
    let weights =
        Tensor::<3>::random([2, image_len, config.text.hidden_size], Distribution::Normal(0.0, 1.0), &device);
    let rates = DropoutRates { text: 0.0, visual_attention: 0.2 };
    let results = [false, true].map(|checkpointing| {
        model.set_gradient_checkpointing(checkpointing);
        let output = model.encode_image(pixels.clone(), &Dropout::new(rates, 7));
        let scalar = (output * weights.clone()).sum();
        let value = scalar.clone().into_scalar::<f32>();
        let gradients = scalar.backward();
        let gradients: Vec<Option<Vec<f32>>> = model
            .parameters()
            .iter()
            .map(|parameter| parameter.value().grad(&gradients)?.try_into_vec_as().ok())
            .collect();
        (value, gradients)
    });
    let [(value, gradients), (again, others)] = results;
    assert!((value - again).abs() < 1e-3 * value.abs().max(1.0), "{value} against {again}");
    let mut compared = 0;
    for ((parameter, one), other) in model.parameters().iter().zip(gradients).zip(others) {
        let (Some(one), Some(other)) = (one, other) else {
            assert!(!parameter.name().starts_with("visual_encoder."), "{} has no gradient", parameter.name());
            continue;
        };
        let size = one.iter().map(|x| x.abs()).fold(0.0, f32::max);
        let worst = one.iter().zip(&other).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-4 * size + 1e-4, "{}: {worst} of {size}", parameter.name());
        compared += 1;
    }
    assert!(compared > 25, "{compared}");
}
