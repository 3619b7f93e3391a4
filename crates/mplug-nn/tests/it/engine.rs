//! The trainable network against the engine, on configurations and weights that are drawn: the one layer of this project
//! that exists twice must be one function.

use burn::tensor::{Device, Int, Tensor, TensorData};
use mplug::checkpoint::Weights;
use mplug::checkpoint::seeded::seeded_checkpoint;
use mplug::config::{ModelConfig, Task, TextConfig, VisionConfig};
use mplug::generate::StepDecoder;
use mplug::model::DecoderState;
use mplug::text_decoder::TextDecoder;
use mplug::visual_encoder::VisualEncoder;
use mplug_nn::CaptioningModel;

/// Of the standard deviation of the engine's values.
const TOLERANCE: f32 = 1e-4;

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

    fn config(&mut self) -> ModelConfig {
        let patch_size = 2 + self.below(5);
        let vision_heads = 1 + self.below(2);
        let text_heads = 1 + self.below(3);
        let has_visual_projection = self.below(2) == 1;
        let vision_width = 64 * vision_heads;
        let text_width = if has_visual_projection { 24 * text_heads } else { vision_width };
        let tiny = ModelConfig::tiny(Task::ImageCaptioning);
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
                decoder_layers: 1 + self.below(3),
                ..tiny.text.clone()
            },
            has_visual_projection,
            ..tiny
        }
    }
}

fn assert_same(stage: &str, engine: &[f32], network: &[f32], config: &ModelConfig) {
    assert_eq!(engine.len(), network.len(), "{stage}: lengths differ for {config:?}");
    let mean = engine.iter().sum::<f32>() / engine.len() as f32;
    let deviation = (engine.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / engine.len() as f32).sqrt();
    let largest = engine.iter().zip(network).map(|(e, n)| (e - n).abs()).fold(0.0, f32::max);
    assert!(
        largest <= TOLERANCE * deviation,
        "{stage}: {largest} apart, deviation {deviation}, for {config:?}"
    );
}

#[test]
fn both_forms_of_the_model_give_the_same_numbers() {
    let device = Device::flex();
    for seed in 0..12 {
        let mut draw = Draw(seed);
        let config = draw.config();
        let checkpoint = seeded_checkpoint(&config, seed).unwrap();
        let (batch, len, size) = (2, 5, config.vision.image_size);
        let pixels: Vec<f32> =
            (0..batch * 3 * size * size).map(|_| draw.below(4096) as f32 / 1024.0 - 2.0).collect();
        let ids: Vec<u32> = (0..batch * len).map(|_| draw.below(config.text.vocab_size) as u32).collect();

        // The engine: token by token, from a cache.
        let root = Weights::new(&checkpoint);
        let encoder = VisualEncoder::load(&root, &config).unwrap();
        let decoder = TextDecoder::load(&root, &config).unwrap();
        let embeds = encoder.forward(&pixels);
        let memories: Vec<_> =
            embeds.iter().map(|e| decoder.attend_to(e, config.vision.image_len())).collect();
        let mut state = DecoderState::new(&decoder, &memories, len);
        let mut engine_logits = vec![Vec::new(); batch]; // (batch, len · vocab_size)
        for position in 0..len {
            let tokens: Vec<u32> = (0..batch).map(|row| ids[row * len + position]).collect();
            let logits = state.step(&tokens);
            for (row, logits) in logits.chunks_exact(config.text.vocab_size).enumerate() {
                engine_logits[row].extend_from_slice(logits);
            }
        }

        // The network: whole sequences at once.
        let mut source = Weights::new(&checkpoint);
        let model = CaptioningModel::new(&config, &mut source, &device).unwrap();
        let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [batch, 3, size, size]), &device);
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [batch, len]), &device);
        let mask = Tensor::<2>::ones([batch, len], &device);
        let network_embeds = model.encode_image(pixels.clone());
        assert_same(
            "image_embeds",
            &embeds.concat(),
            &network_embeds.into_data().try_to_vec::<f32>().unwrap(),
            &config,
        );
        let network_logits = model.forward(pixels, ids, mask).into_data().try_to_vec::<f32>().unwrap();
        assert_same("logits", &engine_logits.concat(), &network_logits, &config);
    }
}
