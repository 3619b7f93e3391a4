//! Frozen parameters and low-rank adaptation: what is trained has its gradient, what is not has none, and the merged model is
//! the adapted one.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use mplug::config::{ModelConfig, Task};
use mplug_nn::parameter::Parameter;
use mplug_nn::{
    Dropout, DropoutRates, EncoderHiddenStates, Initial, LoraSettings, MomentumModel, Mplug, NnError,
    ParameterSource, Parts, RandomParameters, Texts,
};

const LORA: LoraSettings = LoraSettings { rank: 3, alpha: 6.0, dropout: 0.0 };

fn model(device: &Device) -> Mplug {
    let config = ModelConfig::tiny(Task::VisualQuestionAnswering);
    let parts = Parts::of(config.task);
    Mplug::new(&config, parts, &mut RandomParameters { seed: 5 }, device).expect("a network")
}

/// Puts numbers into the matrices that begin at zero.
fn stir(model: &mut Mplug) {
    for parameter in model.parameters_mut().into_iter().filter(|p| p.name().ends_with("lora_B.weight")) {
        parameter
            .update(|value| Tensor::random(value.dims(), Distribution::Normal(0.0, 0.2), &value.device()));
    }
}

fn pixels(device: &Device) -> Tensor<4> {
    let size = ModelConfig::tiny(Task::VisualQuestionAnswering).vision.image_size;
    let values: Vec<f32> = (0..2 * 3 * size * size).map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0).collect();
    Tensor::from_data(TensorData::new(values, [2, 3, size, size]), device)
}

fn logits(model: &Mplug, device: &Device, dropout: &Dropout) -> Tensor<3> {
    let texts = |ids: [[i32; 3]; 2]| Texts {
        input_ids: Tensor::<2, Int>::from_ints(ids, device),
        attention_mask: Tensor::ones([2, 3], device),
    };
    let image = model.encode_image(pixels(device), dropout);
    let encoder: EncoderHiddenStates = model.read(image, &texts([[1, 17, 30], [1, 40, 8]]), dropout);
    model.decode(&texts([[1, 7, 30], [1, 4, 8]]), encoder, dropout)
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.without_autodiff().try_into_vec_as().expect("f32")
}

fn furthest(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A scalar that depends on every output.
fn scalar(model: &Mplug, device: &Device) -> Tensor<1> {
    let logits = logits(model, device, &Dropout::off());
    let [batch, len, vocab] = logits.dims();
    let weights: Vec<f32> = (0..batch * len * vocab).map(|i| ((i * 31 % 17) as f32 - 8.0) * 2.0).collect();
    (logits * Tensor::from_data(TensorData::new(weights, [batch, len, vocab]), device)).mean()
}

fn gradients(model: &Mplug, device: &Device) -> Vec<(Parameter, Option<Vec<f32>>)> {
    let gradients = scalar(model, device).backward();
    let of = |parameter: Parameter| {
        let gradient = parameter.value().grad(&gradients).map(host);
        (parameter, gradient)
    };
    model.parameters().into_iter().map(of).collect()
}

#[test]
fn an_adaptation_changes_nothing_until_it_is_trained_and_merges_into_the_weights() {
    let device = Device::flex().autodiff();
    let mut adapted = model(&device);
    let before = host(logits(&adapted, &device, &Dropout::off()));
    adapted.adapt(LORA, |_| true, 9, &device).expect("adapted");
    assert_eq!(host(logits(&adapted, &device, &Dropout::off())), before);
    stir(&mut adapted);
    let after = host(logits(&adapted, &device, &Dropout::off()));
    assert!(furthest(&before, &after) > 1e-2);
    let exported = adapted.export();
    assert!(exported.iter().all(|(name, ..)| !name.contains("lora")));
    let config = ModelConfig::tiny(Task::VisualQuestionAnswering);
    let merged = Mplug::new(&config, adapted.parts(), &mut Exported(exported), &device).expect("a network");
    let merged = host(logits(&merged, &device, &Dropout::off()));
    assert!(furthest(&after, &merged) < 1e-4, "{}", furthest(&after, &merged));
    // Dropout of the adaptation's inputs: in training alone.
    let mut dropping = model(&device);
    dropping.adapt(LoraSettings { dropout: 0.5, ..LORA }, |_| true, 9, &device).expect("adapted");
    stir(&mut dropping);
    let quiet = host(logits(&dropping, &device, &Dropout::off()));
    let loud = host(logits(&dropping, &device, &Dropout::new(DropoutRates::default(), 3)));
    assert!(furthest(&quiet, &loud) > 1e-3);
}

/// Tensors as a source.
struct Exported(Vec<(String, Vec<usize>, Vec<f32>)>);

impl ParameterSource for Exported {
    fn read(&mut self, name: &str, _: &[usize], _: Initial) -> Result<Vec<f32>, NnError> {
        let found = self.0.iter().find(|(known, ..)| known == name);
        Ok(found.unwrap_or_else(|| panic!("{name} is missing")).2.clone())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, ..)| known == name)
    }
}

/// Along its own gradient, each matrix of every module against a finite difference; nothing else has a gradient.
#[test]
fn every_matrix_of_an_adaptation_has_the_finite_difference() {
    let device = Device::flex().autodiff();
    let mut adapted = model(&device);
    adapted.adapt(LORA, |_| true, 9, &device).expect("adapted");
    stir(&mut adapted);
    let mut tried = 0;
    for (index, (parameter, gradient)) in gradients(&adapted, &device).into_iter().enumerate() {
        assert_eq!(gradient.is_some(), parameter.name().contains(".lora_"), "{}", parameter.name());
        assert_eq!(parameter.is_frozen(), gradient.is_none());
        let Some(gradient) = gradient else { continue };
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let values = parameter.to_vec();
        let step = 2e-3 * values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1.0);
        let moved = |sign: f64| {
            let mut model = adapted.clone();
            let values: Vec<f32> = values
                .iter()
                .zip(&gradient)
                .map(|(v, g)| v + (sign * step * f64::from(*g) / norm.max(1e-30)) as f32)
                .collect();
            let data = TensorData::new(values, [gradient.len()]);
            model.parameters_mut()[index].update(|value| Tensor::from_data(data, &value.device()));
            f64::from(scalar(&model, &device).into_scalar::<f32>())
        };
        let difference = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        assert!((difference - norm).abs() < 0.03 * norm + 1e-3, "{}: {difference}, {norm}", parameter.name());
        tried += 1;
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn modules_have_pefts_names() {
    let device = Device::flex();
    let mut adapted = model(&device);
    let modules = adapted.adaptable_modules();
    assert!(
        modules.contains(&"visual_encoder.visual.transformer.resblocks.0.attn".to_owned()),
        "{modules:?}"
    );
    adapted
        .adapt(LORA, |module| module.ends_with("attn") || module.ends_with("self.value"), 1, &device)
        .expect("adapted");
    let names: Vec<(String, Vec<usize>)> =
        adapted.trained().into_iter().map(|(name, shape, _)| (name, shape)).collect();
    let width = ModelConfig::tiny(Task::VisualQuestionAnswering).vision.hidden_size;
    let block = "visual_encoder.visual.transformer.resblocks.0.attn";
    for (name, shape) in [
        (format!("{block}.lora_A.weight"), vec![3, width]),
        (format!("{block}.lora_B.weight"), vec![3 * width, 3]),
    ] {
        assert!(names.contains(&(name.clone(), shape)), "{name} is not in {names:?}");
    }
    assert!(
        names
            .iter()
            .any(|(name, _)| name
                == "text_decoder.bert.encoder.layer.0.crossattention.self.value.lora_B.weight")
    );
}

/// A frozen part changes no gradient of the others, with gradient checkpointing too; adaptations in the blocks that are computed
/// again have theirs.
#[test]
fn what_is_frozen_has_no_gradient_and_the_others_keep_theirs() {
    let device = Device::flex().autodiff();
    let free = gradients(&model(&device), &device);
    let mut frozen = model(&device);
    frozen.freeze(|name| {
        name.starts_with("visual_encoder") || name.contains("embeddings") || name.contains("output.dense")
    });
    let image = frozen.visual_encoder().forward(pixels(&device), &Dropout::off());
    assert!(!image.is_tracked(), "nothing of a frozen encoder is kept");
    for again in [false, true] {
        frozen.set_gradient_checkpointing(again);
        for ((parameter, gradient), (_, expected)) in gradients(&frozen, &device).into_iter().zip(&free) {
            let (name, Some(expected)) = (parameter.name(), expected) else { continue };
            assert_eq!(gradient.is_none(), parameter.is_frozen(), "{name}");
            let Some(gradient) = gradient else { continue };
            let size = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
            assert!(furthest(&gradient, expected) <= 1e-4 * size + 1e-5, "{name}");
        }
    }
    let mut adapted = model(&device);
    adapted.adapt(LORA, |module| module.contains("resblocks"), 2, &device).expect("adapted");
    stir(&mut adapted);
    let plain = gradients(&adapted, &device);
    adapted.set_gradient_checkpointing(true);
    let mut compared = 0;
    for ((parameter, one), (_, other)) in plain.into_iter().zip(gradients(&adapted, &device)) {
        let (Some(one), Some(other)) = (one, other) else {
            assert!(parameter.is_frozen(), "{}", parameter.name());
            continue;
        };
        let size = one.iter().map(|x| x.abs()).fold(0.0, f32::max);
        assert!(furthest(&one, &other) <= 1e-4 * size + 1e-4, "{}", parameter.name());
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
}

#[test]
fn a_momentum_model_follows_the_adaptation_and_shares_the_rest() {
    let device = Device::flex().autodiff();
    let config = ModelConfig::tiny(Task::VisualQuestionAnswering);
    let mut student = model(&device);
    student.adapt(LORA, |module| module.ends_with("self.query"), 9, &device).expect("adapted");
    let plain = Device::flex();
    let mut source = RandomParameters { seed: 77 };
    let mut momentum_model = MomentumModel::new(&student, &config, student.parts(), 0.5, &mut source, &plain)
        .expect("a momentum model");
    let names: Vec<String> = momentum_model.export().into_iter().map(|(name, ..)| name).collect();
    assert!(
        !names.is_empty() && names.iter().all(|name| name.contains(".lora_") && name.contains("_m.")),
        "{names:?}"
    );
    let difference = |momentum_model: &MomentumModel, student: &Mplug| {
        let theirs = host(logits(momentum_model.model(), &plain, &Dropout::off()));
        furthest(&theirs, &host(logits(student, &device, &Dropout::off())))
    };
    assert!(difference(&momentum_model, &student) < 1e-5);
    stir(&mut student);
    let apart = difference(&momentum_model, &student);
    assert!(apart > 1e-3);
    for _ in 0..24 {
        momentum_model.follow(&student);
    }
    assert!(difference(&momentum_model, &student) < 1e-3 * apart + 1e-4);
}
