//! Every tensor of a model, by plain name and shape: what a task reads, and what the original stores beside it.

use super::names::{self, attention, block, embeddings, language_head, layer, visual};
use crate::config::{ModelConfig, Task};

/// A tensor's plain name and shape.
pub type NamedShape = (String, Vec<usize>);

/// The tensors that a model of this shape reads. Both names of the tied output weights are listed.
pub fn needed_tensors(config: &ModelConfig) -> Vec<NamedShape> {
    let mut list = List(Vec::new());
    list.visual_encoder(config);
    if config.task != Task::ImageCaptioning {
        list.text_encoder(config);
        for k in 0..config.text.fusion_layers {
            let layer = format!("{}.{}", names::FUSION_LAYERS, config.text.first_fusion_layer + k);
            list.bert_layer(config, &layer, !config.text.is_connected_layer(k));
        }
    }
    if config.task == Task::ImageTextRetrieval {
        list.retrieval_heads(config);
    } else {
        list.text_decoder(config);
    }
    list.0
}

/// The tensors that the original stores for a model of this shape, momentum models, queues and the CLIP text tower left out.
pub fn stored_tensors(config: &ModelConfig) -> Vec<NamedShape> {
    let mut list = List(Vec::new());
    list.visual_encoder(config);
    list.text_encoder(config);
    for i in 0..config.text.first_fusion_layer + config.text.fusion_layers {
        list.bert_layer(config, &format!("{}.{i}", names::FUSION_LAYERS), true);
    }
    if config.task == Task::ImageTextRetrieval {
        list.retrieval_heads(config);
    } else {
        list.text_decoder(config);
    }
    list.0
}

struct List(Vec<NamedShape>);

impl List {
    fn push(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.push((name.into(), shape.to_vec()));
    }

    fn linear(&mut self, name: &str, out: usize, width: usize) {
        self.push(format!("{name}.{}", names::WEIGHT), &[out, width]);
        self.push(format!("{name}.{}", names::BIAS), &[out]);
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.{}", names::WEIGHT), &[width]);
        self.push(format!("{name}.{}", names::BIAS), &[width]);
    }

    fn visual_encoder(&mut self, config: &ModelConfig) {
        let v = &config.vision;
        let (w, p) = (v.hidden_size, v.patch_size);
        let root = names::VISUAL_ENCODER;
        self.push(format!("{root}.{}", visual::CLASS_EMBEDDING), &[w]);
        self.push(format!("{root}.{}", visual::POSITIONAL_EMBEDDING), &[v.image_len(), w]);
        self.push(format!("{root}.{}", visual::PATCHES), &[w, 3, p, p]);
        self.layer_norm(&format!("{root}.{}", visual::FIRST_NORM), w);
        for i in 0..v.num_hidden_layers {
            let at = |part| format!("{root}.{}.{i}.{part}", visual::BLOCKS);
            self.push(at(block::QUERY_KEY_VALUE_WEIGHT), &[3 * w, w]);
            self.push(at(block::QUERY_KEY_VALUE_BIAS), &[3 * w]);
            self.linear(&at(block::ATTENTION_OUTPUT), w, w);
            self.layer_norm(&at(block::ATTENTION_NORM), w);
            self.linear(&at(block::INTERMEDIATE), v.intermediate_size, w);
            self.linear(&at(block::OUTPUT), w, v.intermediate_size);
            self.layer_norm(&at(block::FEED_FORWARD_NORM), w);
        }
        self.layer_norm(&format!("{root}.{}", visual::LAST_NORM), w);
        if config.has_visual_projection {
            self.linear(names::VISUAL_PROJECTION, config.text.hidden_size, w);
            self.layer_norm(names::VISUAL_PROJECTION_NORM, config.text.hidden_size);
        }
    }

    fn embeddings(&mut self, config: &ModelConfig, root: &str) {
        let (t, h) = (&config.text, config.text.hidden_size);
        self.push(format!("{root}.{}", embeddings::WORDS), &[t.vocab_size, h]);
        self.push(format!("{root}.{}", embeddings::POSITIONS), &[t.max_position_embeddings, h]);
        self.push(format!("{root}.{}", embeddings::TOKEN_TYPES), &[t.type_vocab_size, h]);
        self.layer_norm(&format!("{root}.{}", embeddings::NORM), h);
    }

    fn bert_layer(&mut self, config: &ModelConfig, root: &str, has_cross_attention: bool) {
        let (h, inner) = (config.text.hidden_size, config.text.intermediate_size);
        let attentions: &[&str] = if has_cross_attention {
            &[layer::SELF_ATTENTION, layer::CROSS_ATTENTION]
        } else {
            &[layer::SELF_ATTENTION]
        };
        for kind in attentions {
            for part in [attention::QUERY, attention::KEY, attention::VALUE, attention::OUTPUT] {
                self.linear(&format!("{root}.{kind}.{part}"), h, h);
            }
            self.layer_norm(&format!("{root}.{kind}.{}", attention::NORM), h);
        }
        self.linear(&format!("{root}.{}", layer::INTERMEDIATE), inner, h);
        self.linear(&format!("{root}.{}", layer::OUTPUT), h, inner);
        self.layer_norm(&format!("{root}.{}", layer::NORM), h);
    }

    fn text_encoder(&mut self, config: &ModelConfig) {
        self.embeddings(config, &format!("{}.{}", names::TEXT_ENCODER, names::EMBEDDINGS));
        for i in 0..config.text.text_encoder_layers {
            self.bert_layer(config, &format!("{}.{}.{i}", names::TEXT_ENCODER, names::LAYERS), false);
        }
    }

    fn text_decoder(&mut self, config: &ModelConfig) {
        let (h, vocab) = (config.text.hidden_size, config.text.vocab_size);
        self.embeddings(config, &format!("{}.{}", names::TEXT_DECODER, names::EMBEDDINGS));
        for i in 0..config.text.decoder_layers {
            self.bert_layer(config, &format!("{}.{}.{i}", names::TEXT_DECODER, names::LAYERS), true);
        }
        let head = names::DECODER_HEAD;
        self.push(format!("{head}.{}", names::BIAS), &[vocab]);
        self.linear(&format!("{head}.{}", language_head::TRANSFORM), h, h);
        self.layer_norm(&format!("{head}.{}", language_head::NORM), h);
        self.push(format!("{head}.{}", language_head::WORDS), &[vocab, h]);
        self.push(format!("{head}.{}", language_head::WORDS_BIAS), &[vocab]);
    }

    fn retrieval_heads(&mut self, config: &ModelConfig) {
        let (h, projection) = (config.text.hidden_size, config.projection_size);
        self.linear(names::MATCHING_HEAD, 2, h);
        if projection > 0 {
            self.linear(names::IMAGE_FEATURES, projection, h);
            self.linear(names::TEXT_FEATURES, projection, h);
            self.push(names::TEMPERATURE, &[]);
        }
    }
}
