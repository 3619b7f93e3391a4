//! Every tensor of a model, by plain name and shape: what a task reads, and what the original stores beside it.

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
            let layer = format!("fusion_encoder.encoder.layer.{}", config.text.first_fusion_layer + k);
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
        list.bert_layer(config, &format!("fusion_encoder.encoder.layer.{i}"), true);
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
        self.push(format!("{name}.weight"), &[out, width]);
        self.push(format!("{name}.bias"), &[out]);
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), &[width]);
        self.push(format!("{name}.bias"), &[width]);
    }

    fn visual_encoder(&mut self, config: &ModelConfig) {
        let v = &config.vision;
        let (w, p) = (v.hidden_size, v.patch_size);
        let root = "visual_encoder.visual";
        self.push(format!("{root}.class_embedding"), &[w]);
        self.push(format!("{root}.positional_embedding"), &[v.image_len(), w]);
        self.push(format!("{root}.conv1.weight"), &[w, 3, p, p]);
        self.layer_norm(&format!("{root}.ln_pre"), w);
        for i in 0..v.num_hidden_layers {
            let block = format!("{root}.transformer.resblocks.{i}");
            self.push(format!("{block}.attn.in_proj_weight"), &[3 * w, w]);
            self.push(format!("{block}.attn.in_proj_bias"), &[3 * w]);
            self.linear(&format!("{block}.attn.out_proj"), w, w);
            self.layer_norm(&format!("{block}.ln_1"), w);
            self.linear(&format!("{block}.mlp.c_fc"), v.intermediate_size, w);
            self.linear(&format!("{block}.mlp.c_proj"), w, v.intermediate_size);
            self.layer_norm(&format!("{block}.ln_2"), w);
        }
        self.layer_norm(&format!("{root}.ln_post"), w);
        if config.has_visual_projection {
            self.linear("visn_fc", config.text.hidden_size, w);
            self.layer_norm("visn_layer_norm", config.text.hidden_size);
        }
    }

    fn embeddings(&mut self, config: &ModelConfig, root: &str) {
        let (t, h) = (&config.text, config.text.hidden_size);
        self.push(format!("{root}.word_embeddings.weight"), &[t.vocab_size, h]);
        self.push(format!("{root}.position_embeddings.weight"), &[t.max_position_embeddings, h]);
        self.push(format!("{root}.token_type_embeddings.weight"), &[t.type_vocab_size, h]);
        self.layer_norm(&format!("{root}.LayerNorm"), h);
    }

    fn bert_layer(&mut self, config: &ModelConfig, layer: &str, has_cross_attention: bool) {
        let (h, inner) = (config.text.hidden_size, config.text.intermediate_size);
        let attentions: &[&str] =
            if has_cross_attention { &["attention", "crossattention"] } else { &["attention"] };
        for attention in attentions {
            for part in ["self.query", "self.key", "self.value", "output.dense"] {
                self.linear(&format!("{layer}.{attention}.{part}"), h, h);
            }
            self.layer_norm(&format!("{layer}.{attention}.output.LayerNorm"), h);
        }
        self.linear(&format!("{layer}.intermediate.dense"), inner, h);
        self.linear(&format!("{layer}.output.dense"), h, inner);
        self.layer_norm(&format!("{layer}.output.LayerNorm"), h);
    }

    fn text_encoder(&mut self, config: &ModelConfig) {
        self.embeddings(config, "text_encoder.embeddings");
        for i in 0..config.text.text_encoder_layers {
            self.bert_layer(config, &format!("text_encoder.encoder.layer.{i}"), false);
        }
    }

    fn text_decoder(&mut self, config: &ModelConfig) {
        let (h, vocab) = (config.text.hidden_size, config.text.vocab_size);
        self.embeddings(config, "text_decoder.bert.embeddings");
        for i in 0..config.text.decoder_layers {
            self.bert_layer(config, &format!("text_decoder.bert.encoder.layer.{i}"), true);
        }
        let head = "text_decoder.cls.predictions";
        self.push(format!("{head}.bias"), &[vocab]);
        self.linear(&format!("{head}.transform.dense"), h, h);
        self.layer_norm(&format!("{head}.transform.LayerNorm"), h);
        self.linear(&format!("{head}.decoder"), vocab, h);
    }

    fn retrieval_heads(&mut self, config: &ModelConfig) {
        let (h, projection) = (config.text.hidden_size, config.projection_size);
        self.linear("itm_head", 2, h);
        if projection > 0 {
            self.linear("vision_proj", projection, h);
            self.linear("text_proj", projection, h);
            self.push("temp", &[]);
        }
    }
}
