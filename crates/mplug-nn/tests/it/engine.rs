//! The trainable network against the engine, on configurations and weights that are drawn: the one layer of this project
//! that exists twice must be one function.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use mplug::EncodedPicture;
use mplug::checkpoint::Weights;
use mplug::checkpoint::seeded::seeded_checkpoint;
use mplug::config::{ModelConfig, Task, TextConfig, VisionConfig};
use mplug::model::{Head, Multimodal};
use mplug::text_decoder::TextDecoder;
use mplug_nn::{Dropout, EncoderHiddenStates, Mplug, Parts, Texts};
use mplug_testing::stepping::Stepping;

/// Of the standard deviation of the engine's values.
const TOLERANCE: f32 = 1e-4;

/// Pictures, texts, and tokens of a text that is written.
const BATCH: usize = 3;
const TEXT_LEN: usize = 6;
const LEN: usize = 5;

/// A stream of small numbers from a seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn config(&mut self, task: Task) -> ModelConfig {
        let patch_size = 2 + self.below(5);
        let vision_heads = 1 + self.below(2);
        let text_heads = 1 + self.below(3);
        let has_visual_projection = self.below(2) == 1;
        let vision_width = 64 * vision_heads;
        let text_width = if has_visual_projection { 24 * text_heads } else { vision_width };
        let tiny = ModelConfig::tiny(task);
        ModelConfig {
            vision: VisionConfig {
                image_size: patch_size * (1 + self.below(4)),
                patch_size,
                hidden_size: vision_width,
                num_hidden_layers: 1 + self.below(3),
                num_attention_heads: vision_heads,
                intermediate_size: 8 * (1 + self.below(20)),
            },
            text: TextConfig {
                hidden_size: text_width,
                num_attention_heads: if has_visual_projection { text_heads } else { vision_heads },
                intermediate_size: 8 * (1 + self.below(20)),
                vocab_size: 110 + self.below(60),
                // The longest text and a few more.
                max_position_embeddings: TEXT_LEN + self.below(60),
                type_vocab_size: 1 + self.below(4),
                // Those of the norms of BERT; those of the visual encoder and of its projection are fixed.
                layer_norm_eps: [1e-12, 1e-5, 1e-2, 0.5][self.below(4)],
                text_encoder_layers: 1 + self.below(2),
                first_fusion_layer: self.below(3),
                fusion_layers: 1 + self.below(5),
                connected_stride: 1 + self.below(4),
                decoder_layers: 1 + self.below(3),
            },
            has_visual_projection,
            ..tiny
        }
    }

    fn ids(&mut self, len: usize, vocab: usize) -> Vec<u32> {
        (0..len).map(|_| self.below(vocab) as u32).collect()
    }
}

fn assert_same<const D: usize>(stage: &str, engine: &[f32], network: Tensor<D>, config: &ModelConfig) {
    let network: Vec<f32> = network.try_into_vec_as().expect("f32");
    assert_eq!(engine.len(), network.len(), "{stage}: lengths differ for {config:?}");
    let mean = engine.iter().sum::<f32>() / engine.len() as f32;
    let deviation = (engine.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / engine.len() as f32).sqrt();
    let largest = engine.iter().zip(&network).map(|(e, n)| (e - n).abs()).fold(0.0, f32::max);
    assert!(
        largest <= TOLERANCE * deviation.max(1e-3),
        "{stage}: {largest} apart, deviation {deviation}, for {config:?}"
    );
}

/// Texts as the network takes them; those from `valid[row]` on are padding.
fn texts(ids: &[u32], len: usize, valid: &[usize], device: &Device) -> Texts {
    let shape = [ids.len() / len, len];
    let mask: Vec<f32> = (0..ids.len()).map(|i| if i % len < valid[i / len] { 1.0 } else { 0.0 }).collect();
    let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    Texts {
        input_ids: Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device),
        attention_mask: Tensor::from_data(TensorData::new(mask, shape), device),
    }
}

/// What the engine writes about `pictures`, token by token: `(BATCH, LEN, vocab)`.
fn engine_logits(decoder: &TextDecoder, pictures: &[EncodedPicture], ids: &[u32], vocab: usize) -> Vec<f32> {
    let mut state = Stepping::new(decoder, pictures);
    let mut rows = vec![Vec::new(); BATCH];
    for position in 0..LEN {
        let tokens: Vec<u32> = (0..BATCH).map(|row| ids[row * LEN + position]).collect();
        for (row, logits) in state.step(&tokens).chunks_exact(vocab).enumerate() {
            rows[row].extend_from_slice(logits);
        }
    }
    rows.concat()
}

/// One drawn case, through both forms.
fn check(task: Task, seed: u64) {
    let (device, off) = (Device::flex(), Dropout::off());
    let mut draw = Draw(seed);
    let config = draw.config(task);
    let (size, width, vocab) = (config.vision.image_size, config.text.hidden_size, config.text.vocab_size);
    let checkpoint = seeded_checkpoint(&config, seed).expect("drawn weights");
    let pixels: Vec<f32> =
        (0..BATCH * 3 * size * size).map(|_| draw.below(4096) as f32 / 1024.0 - 2.0).collect();
    let (question, written) = (draw.ids(BATCH * TEXT_LEN, vocab), draw.ids(BATCH * LEN, vocab));
    let valid: Vec<usize> = (0..BATCH).map(|_| 1 + draw.below(TEXT_LEN)).collect();

    let engine = mplug::model::Mplug::load(&Weights::new(&checkpoint), &config).expect("loads");
    let embeds: Vec<Vec<f32>> =
        pixels.chunks(3 * size * size).map(|picture| engine.visual_encoder.forward(picture)).collect();
    let model =
        Mplug::new(&config, Parts::of(task), &mut Weights::new(&checkpoint), &device).expect("builds");
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [BATCH, 3, size, size]), &device);
    let image = model.encode_image(pixels, &off);
    assert_same("image_embeds", &embeds.concat(), image.clone(), &config);

    let texts_read = texts(&question, TEXT_LEN, &valid, &device);
    let texts_written = texts(&written, LEN, &[LEN; BATCH], &device);
    let fuse = |multimodal: &Multimodal, row: usize| {
        let ids = &question[row * TEXT_LEN..][..valid[row]];
        let picture = multimodal.fusion_encoder.attend_to(embeds[row].clone());
        multimodal.fuse(&picture, ids, ids.len())
    };
    match &engine.head {
        Head::Captioning(decoder) => {
            let image_len = config.vision.image_len();
            let pictures: Vec<_> = embeds.iter().map(|e| decoder.attend_to(e.clone(), image_len)).collect();
            let logits = engine_logits(decoder, &pictures, &written, vocab);
            let encoder = EncoderHiddenStates { states: image, mask: None };
            assert_same("logits", &logits, model.decode(&texts_written, encoder, &off), &config);
        }
        Head::Answering(multimodal, decoder) => {
            let pictures: Vec<_> = (0..BATCH)
                .map(|row| {
                    let fused = fuse(multimodal, row);
                    let joined = [fused.image, fused.text].concat();
                    let len = joined.len() / width;
                    decoder.attend_to(joined, len)
                })
                .collect();
            let logits = engine_logits(decoder, &pictures, &written, vocab);
            let encoder = model.read(image, &texts_read, &off);
            assert_same("logits", &logits, model.decode(&texts_written, encoder, &off), &config);
        }
        Head::Matching(multimodal, heads) => {
            let scores: Vec<f32> = (0..BATCH)
                .flat_map(|row| {
                    let [no, yes] = heads.matching.forward(&fuse(multimodal, row).text[..width])[..] else {
                        panic!()
                    };
                    let largest = no.max(yes);
                    let [no, yes] = [no, yes].map(|x| (x - largest).exp());
                    [no / (no + yes), yes / (no + yes)]
                })
                .collect();
            let contrast = heads.contrastive.as_ref().expect("drawn weights have one");
            let image_features: Vec<f32> = embeds.iter().flat_map(|e| contrast.image_features(e)).collect();
            let text_features: Vec<f32> = (0..BATCH)
                .flat_map(|row| {
                    let ids = &question[row * TEXT_LEN..][..valid[row]];
                    contrast.text_features(&multimodal.text_encoder.forward(ids, ids.len()))
                })
                .collect();
            let text = model.encode_text(&texts_read, &off);
            let features = model.contrastive_head();
            assert_same("image features", &image_features, features.image_features(image.clone()), &config);
            assert_same("text features", &text_features, features.text_features(text.clone()), &config);
            let fused = model.fuse(image, text, texts_read.attention_mask, &off);
            assert_same("matching", &scores, softmax(model.matching(fused.text), 1), &config);
        }
    }
}

#[test]
fn captioning_is_one_function_in_both_forms() {
    (0..12).for_each(|seed| check(Task::ImageCaptioning, seed));
}

#[test]
fn answering_is_one_function_in_both_forms() {
    (100..112).for_each(|seed| check(Task::VisualQuestionAnswering, seed));
}

#[test]
fn matching_is_one_function_in_both_forms() {
    (200..212).for_each(|seed| check(Task::ImageTextRetrieval, seed));
}

/// Neighbouring rows that share a sequence get what rows with copies of it get.
#[test]
fn a_shared_memory_is_as_good_as_copies() {
    let (device, off) = (Device::flex(), Dropout::off());
    let config = ModelConfig::tiny(Task::ImageCaptioning);
    let checkpoint = seeded_checkpoint(&config, 7).expect("drawn weights");
    let mut source = Weights::new(&checkpoint);
    let model = Mplug::new(&config, Parts::of(config.task), &mut source, &device).expect("builds");
    let ids = Draw(3).ids(4 * LEN, config.text.vocab_size);
    let texts = texts(&ids, LEN, &[5, 3, 4, 5], &device);
    let states = Tensor::random(
        [2, 7, config.text.hidden_size],
        burn::tensor::Distribution::Normal(0.0, 1.0),
        &device,
    );
    let mask = Tensor::from_floats([[1.0; 7], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]], &device);
    let shared = EncoderHiddenStates { states, mask: Some(mask) };
    let copies = shared.clone().select(Tensor::from_ints([0, 0, 1, 1], &device));
    let [shared, copies] = [shared, copies].map(|encoder| model.decode(&texts, encoder, &off));
    assert!((shared - copies).abs().max().into_scalar::<f32>() < 1e-4);
}
