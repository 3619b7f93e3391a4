//! The numbers of the original, captioning models: visual encoder, projection, decoder.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::common::{Golden, assert_close};

/// Share of the standard deviation within which our numbers must be.
const TOLERANCE: f32 = 1e-4;

/// Where only the last pictures' numbers are kept in the fixture, the last of ours.
fn last<'a>(ours: &'a [f32], theirs: &[f32]) -> &'a [f32] {
    &ours[ours.len() - theirs.len()..]
}

fn check(name: &str) {
    let golden = Golden::open(name);
    // With and without gradients different code runs: both must give the original's numbers.
    for device in [Device::flex(), Device::flex().autodiff()] {
        let model = golden.model(&device);
        let visual = model.visual_encoder.forward(golden.pixels(&device));
        let image = model.visual_encoder.project(visual.clone(), 0.0);
        let host = |tensor: Tensor<3>| tensor.try_into_vec_as::<f32>().expect("f32");
        let (ours, theirs) = (host(visual), golden.numbers("visual_out").0);
        assert_close("visual_out", last(&ours, &theirs), &theirs, TOLERANCE);
        if golden.config.has_visual_projection {
            let (ours, theirs) = (host(image.clone()), golden.numbers("image_embeds").0);
            assert_close("image_embeds", last(&ours, &theirs), &theirs, TOLERANCE);
        }
        let (ids, shape) = golden.numbers("prefix.ids");
        let shape = [shape[0], shape[1]];
        let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &device);
        let mask = Tensor::<2>::from_data(TensorData::new(golden.numbers("prefix.mask").0, shape), &device);
        let logits = host(model.decode(ids.clone(), Tensor::ones(shape, &device), image.clone()));
        assert_close("prefix.logits", &logits, &golden.numbers("prefix.logits").0, TOLERANCE);
        let logits = host(model.decode(ids, mask, image));
        assert_close("prefix.logits_masked", &logits, &golden.numbers("prefix.logits_masked").0, TOLERANCE);
    }
}

#[test]
fn tiny_is_the_original() {
    check("tiny");
}

#[test]
fn tiny_large_is_the_original() {
    check("tiny_large");
}
