//! Mixed precision: gradients near those of f32, and the original's numbers to the rounding of 16 bits.

use burn::tensor::{Device, Tensor};
use mplug::config::{ModelConfig, Task};
use mplug_nn::{Dropout, Mplug, Parts, Precision, RandomParameters};
use mplug_testing::golden_burn::{Golden, assert_close, devices};

/// What the tests allow of 16 bits: the share of a stage's deviation, and how far the gradient may point elsewhere.
const ALLOWED: [(Precision, f32, f64); 2] = [(Precision::Bf16, 0.05, 0.99), (Precision::F16, 0.01, 0.9999)];

#[test]
fn picture_states_are_the_originals_to_the_rounding_of_16_bits() {
    let golden = Golden::open("tiny");
    for device in devices() {
        for (precision, tolerance, _) in
            ALLOWED.into_iter().filter(|(p, ..)| device.supports_dtype(p.dtype()))
        {
            let mut model = golden.model(&device);
            model.set_precision(precision);
            let ours = model.visual_encoder().forward(golden.pixels(&device), &Dropout::off());
            let ours: Vec<f32> = ours.try_into_vec_as().expect("f32");
            let theirs = golden.numbers("visual_out").0;
            let ours = &ours[ours.len() - theirs.len()..];
            assert_close("visual_out", ours, &theirs, tolerance);
            let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst > 1e-3, "{precision:?} rounds nothing: {worst}");
        }
    }
}

/// All gradients of a captioner for one picture and text, in a row.
fn gradients(device: &Device, precision: Precision) -> Vec<f32> {
    let config = ModelConfig::tiny(Task::ImageCaptioning);
    let mut source = RandomParameters { seed: 5 };
    let mut model = Mplug::new(&config, Parts::of(config.task), &mut source, device).expect("a network");
    model.set_precision(precision);
    let size = config.vision.image_size;
    let pixels = Tensor::<1>::from_floats(
        (0..3 * size * size).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<f32>>().as_slice(),
        device,
    );
    let image = model.encode_image(pixels.reshape([1, 3, size, size]), &Dropout::off());
    let texts = mplug_nn::Texts {
        input_ids: Tensor::from_ints([[101, 7, 300, 5, 9]], device),
        attention_mask: Tensor::ones([1, 5], device),
    };
    let encoder = mplug_nn::EncoderHiddenStates { states: image, mask: None };
    let logits = model.decode(&texts, encoder, &Dropout::off());
    let gradients = burn::tensor::activation::log_softmax(logits, 2).narrow(2, 17, 1).mean().neg().backward();
    let parameters = model.parameters();
    let values = parameters.iter().filter_map(|parameter| parameter.value().grad(&gradients));
    values.flat_map(|gradient| gradient.try_into_vec_as::<f32>().expect("f32")).collect()
}

/// How alike two directions are, 1 for the same.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Only the processor has fused operations of ours; elsewhere burn's own run.
#[cfg(feature = "wgpu")]
#[test]
fn gradients_are_the_same_on_every_device() {
    let exact = gradients(&Device::flex().autodiff(), Precision::F32);
    let norm = |values: &[f32]| values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    for device in devices().into_iter().filter(Device::is_autodiff) {
        let ours = gradients(&device, Precision::F32);
        assert!(
            cosine(&exact, &ours) > 1.0 - 1e-6 && (norm(&ours) / norm(&exact) - 1.0).abs() < 1e-3,
            "{device:?}"
        );
    }
}

#[test]
fn gradients_of_16_bits_point_where_those_of_f32_do() {
    for device in devices().into_iter().filter(Device::is_autodiff) {
        let exact = gradients(&device, Precision::F32);
        for (precision, _, alike) in ALLOWED.into_iter().filter(|(p, ..)| device.supports_dtype(p.dtype())) {
            let rounded = gradients(&device, precision);
            let cosine = cosine(&exact, &rounded);
            assert!(cosine > alike && cosine < 1.0 - 1e-12, "{device:?}, {precision:?}: {cosine}");
        }
    }
}
