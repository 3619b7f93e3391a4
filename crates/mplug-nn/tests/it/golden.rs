//! The numbers of the original: every stage of every golden model.

use burn::tensor::{Device, Tensor};
use mplug::config::Task;
use mplug_nn::{Dropout, EncoderHiddenStates, Mplug, Texts};
use mplug_testing::golden_burn::{Golden, assert_close, devices};

/// Share of the standard deviation within which our numbers must be.
const TOLERANCE: f32 = 1e-4;

/// Compares a stage; where only the last pictures' numbers are kept in the fixture, the last of ours.
fn compare<const D: usize>(golden: &Golden, name: &str, ours: Tensor<D>) {
    let ours: Vec<f32> = ours.try_into_vec_as().expect("f32");
    let theirs = golden.numbers(name).0;
    assert_close(name, &ours[ours.len() - theirs.len()..], &theirs, TOLERANCE);
}

/// The decoder's logits with and without the golden mask.
fn compare_decoder(golden: &Golden, model: &Mplug, encoder: &EncoderHiddenStates, device: &Device) {
    let texts = golden.texts("prefix.ids", "prefix.mask", device);
    let all = Texts { attention_mask: texts.attention_mask.ones_like(), ..texts.clone() };
    let logits = |texts| model.decode(texts, encoder.clone(), &Dropout::off());
    compare(golden, "prefix.logits", logits(&all));
    compare(golden, "prefix.logits_masked", logits(&texts));
}

fn check(name: &str) {
    let golden = Golden::open(name);
    let off = Dropout::off();
    for device in devices() {
        let model = golden.model(&device);
        let encoder = model.visual_encoder();
        let visual = encoder.forward(golden.pixels(&device), &off);
        let image = encoder.project(visual.clone(), &off);
        compare(&golden, "visual_out", visual);
        if golden.config.has_visual_projection {
            compare(&golden, "image_embeds", image.clone());
        }
        if golden.config.task == Task::ImageCaptioning {
            compare_decoder(&golden, &model, &EncoderHiddenStates { states: image, mask: None }, &device);
            continue;
        }
        let question = golden.texts("question.input_ids", "question.attention_mask", &device);
        let text = model.encode_text(&question, &off);
        compare(&golden, "text_out", text.clone());
        let fused = model.fuse(image.clone(), text.clone(), question.attention_mask.clone(), &off);
        compare(&golden, "fusion_image", fused.image);
        compare(&golden, "fusion_text", fused.text.clone());
        if golden.config.task == Task::VisualQuestionAnswering {
            compare_decoder(&golden, &model, &model.read(image, &question, &off), &device);
            continue;
        }
        compare(&golden, "image_feat", model.contrastive_head().image_features(image));
        compare(&golden, "text_feat", model.contrastive_head().text_features(text));
        if golden.has("itm_batch") {
            let classes = burn::tensor::activation::softmax(model.matching(fused.text), 1);
            compare(&golden, "itm_batch", classes);
        }
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

#[test]
fn tiny_vqa_is_the_original() {
    check("tiny_vqa");
}

#[test]
fn tiny_large_vqa_is_the_original() {
    check("tiny_large_vqa");
}

#[test]
fn tiny_itr_is_the_original() {
    check("tiny_itr");
}

#[test]
fn tiny_large_itr_is_the_original() {
    check("tiny_large_itr");
}
