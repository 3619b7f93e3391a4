//! The original's training: the loss, the gradients and ten AdamW steps on a batch of two, dropout off.

use burn::tensor::Device;
use mplug_train::batch::{Batch, MicroBatch};
use mplug_train::config::OptimizerSection;
use mplug_train::gradients::Workers;
use mplug_train::optimizer::AdamW;
use mplug_train::training_data::EncodedExample;

use crate::common::{Golden, assert_close};

/// The golden batch in portions of `micro` examples.
fn batch(golden: &Golden, micro: usize) -> Batch {
    let pixels: Vec<f32> = golden.pixels(&Device::flex()).try_into_vec_as().expect("f32");
    let (ids, shape) = golden.numbers("train.answer_input_ids");
    let mask = golden.numbers("train.answer_attention_mask").0;
    let picture = pixels.len() / 4;
    let examples: Vec<EncodedExample> = (0..shape[0])
        .map(|row| {
            let places = row * shape[1]..(row + 1) * shape[1];
            let tokens = ids[places.clone()].iter().zip(&mask[places]);
            EncodedExample {
                pixel_values: pixels[row * picture..][..picture].to_vec(),
                input_ids: tokens.filter(|(_, keep)| **keep > 0.0).map(|(id, _)| *id as u32).collect(),
            }
        })
        .collect();
    Batch { micro_batches: examples.chunks(micro).map(|portion| MicroBatch::collate(portion, 0)).collect() }
}

fn check(name: &str) {
    let golden = Golden::open(name);
    let device = Device::flex().autodiff();
    let mut model = golden.model(&device);
    let workers = Workers::new(2, device).expect("two threads");
    let curve = golden.losses();
    // In one portion or two, on one thread or two: the same loss and gradients.
    for micro in [1, 2] {
        let (loss, gradients) = workers.gradients(&model, &batch(&golden, micro));
        assert!((f64::from(loss) - curve[0]).abs() < 1e-4 * curve[0], "{loss} against {}", curve[0]);
        let mut compared = 0;
        for (parameter, gradient) in model.parameters().iter().zip(&gradients) {
            let name = format!("train.grad16.{}", parameter.name());
            if golden.has(&name) && !parameter.name().ends_with("key.bias") {
                let gradient = gradient.as_ref().expect("every parameter has a gradient");
                assert_close(&name, &gradient[..16], &golden.numbers(&name).0, 2e-3);
                compared += 1;
            }
        }
        assert!(compared > 40, "only {compared} gradients compared");
    }
    let section = OptimizerSection {
        learning_rate: 1e-4,
        vision_learning_rate: None,
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 0.02,
        clip_norm: 0.0,
        average_decay: 0.0,
    };
    let mut optimizer = AdamW::new(&section, model.parameters().len());
    let batch = batch(&golden, 2);
    for (step, right) in curve.iter().enumerate() {
        let (loss, gradients) = workers.gradients(&model, &batch);
        // Rounding grows from step to step; the original's own f32 and f64 part likewise.
        let difference = (f64::from(loss) - right).abs();
        assert!(difference < 2e-3 * right, "step {step}: {loss} against {right}");
        optimizer.step(model.parameters_mut(), &gradients, None, 1.0);
    }
}

#[test]
fn tiny_trains_as_the_original() {
    check("tiny");
}

#[test]
fn tiny_large_trains_as_the_original() {
    check("tiny_large");
}
