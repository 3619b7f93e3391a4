//! The whole model: it owns the parts that its use needs and joins them as the paper's figure does. Knows no files, no loss
//! and no optimizer.
//!
//! ```text
//! picture --visual_encoder--> image_embeds ─┬──────────────── contrastive_head ─> a point of the projection space
//!                                           ├─ fusion_encoder ─> fused image + text
//! text    --text_encoder----> text_embeds ──┴──────────────── contrastive_head ─> a point of the projection space
//!
//! captioning: decoder over image_embeds         answering, writing on: decoder over fused image + text
//! matching: matching_head on fused text[0]      filling gaps: masked_language_head on fused text
//! ```

use std::collections::{HashMap, HashSet};

use burn::tensor::{Device, Int, Tensor};
use mplug::checkpoint::names;
use mplug::config::{ModelConfig, Task};

use crate::contrastive_head::{ContrastiveHead, first_token};
use crate::dropout::Dropout;
use crate::error::NnError;
use crate::fusion_encoder::{Fused, FusionEncoder};
use crate::language_head::LanguageHead;
use crate::linear::Linear;
use crate::lora::{LoraPlace, LoraSettings};
use crate::parameter::{HasParameters, Parameter, ParameterSource, Reader, detach_all, has_parameters};
use crate::product::Precision;
use crate::text_decoder::{EncoderHiddenStates, TextDecoder};
use crate::text_encoder::TextEncoder;
use crate::text_layer::fresh_std;
use crate::visual_encoder::VisualEncoder;

/// The temperature of a fresh contrastive head (the original's `temp: 0.07`).
const FRESH_TEMPERATURE: f32 = 0.07;

/// What a model has besides its visual encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each part is there or not, whatever the others are")]
pub struct Parts {
    /// The texts' own encoder.
    pub text_encoder: bool,
    /// Where picture and text meet.
    pub fusion_encoder: bool,
    /// The decoder.
    pub text_decoder: bool,
    /// The projections into the projection space and the temperature.
    pub contrastive_head: bool,
    /// The two classes of image-text matching.
    pub matching_head: bool,
    /// Scores of masked tokens.
    pub masked_language_head: bool,
}

impl Parts {
    /// What a task needs.
    pub fn of(task: Task) -> Self {
        match task {
            Task::ImageCaptioning => Self { text_decoder: true, ..Self::default() },
            Task::VisualQuestionAnswering => Self { text_decoder: true, ..Self::reading() },
            Task::ImageTextRetrieval => {
                Self { contrastive_head: true, matching_head: true, ..Self::reading() }
            }
        }
    }

    /// What reads a picture and a text together.
    fn reading() -> Self {
        Self { text_encoder: true, fusion_encoder: true, ..Self::default() }
    }

    /// What pre-training needs: everything.
    pub fn all() -> Self {
        Self {
            text_encoder: true,
            fusion_encoder: true,
            text_decoder: true,
            contrastive_head: true,
            matching_head: true,
            masked_language_head: true,
        }
    }
}

/// Texts side by side.
#[derive(Clone, Debug)]
pub struct Texts {
    /// `(batch, len)`.
    pub input_ids: Tensor<2, Int>,
    /// `(batch, len)`: 1 for tokens, 0 for padding.
    pub attention_mask: Tensor<2>,
}

/// mPLUG, trainable.
#[derive(Clone, Debug)]
pub struct Mplug {
    visual_encoder: VisualEncoder,
    text_encoder: Option<TextEncoder>,
    fusion_encoder: Option<FusionEncoder>,
    text_decoder: Option<TextDecoder>,
    contrastive_head: Option<ContrastiveHead>,
    matching_head: Option<Linear>,
    masked_language_head: Option<LanguageHead>,
}

has_parameters!(Mplug: visual_encoder, text_encoder, fusion_encoder, text_decoder, contrastive_head, matching_head, masked_language_head);

impl Mplug {
    /// Builds the `parts` of the network of `config` on `device` with values from `source`. On an autodiff device the
    /// parameters are leaves that require gradients.
    pub fn new(
        config: &ModelConfig,
        parts: Parts,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Result<Self, NnError> {
        /// The part, if it is wanted.
        fn part<T>(wanted: bool, build: impl FnOnce() -> Result<T, NnError>) -> Result<Option<T>, NnError> {
            wanted.then(build).transpose()
        }
        let mut root = Reader::new(source, device);
        let text = &config.text;
        let std = fresh_std(text);
        Ok(Self {
            visual_encoder: VisualEncoder::new(&mut root, config)?,
            text_encoder: part(parts.text_encoder, || TextEncoder::new(&mut root, text))?,
            fusion_encoder: part(parts.fusion_encoder, || FusionEncoder::new(&mut root, text))?,
            text_decoder: part(parts.text_decoder, || TextDecoder::new(&mut root, text))?,
            contrastive_head: part(parts.contrastive_head, || {
                ContrastiveHead::new(&mut root, config, FRESH_TEMPERATURE)
            })?,
            matching_head: part(parts.matching_head, || {
                Linear::new(root.at(names::MATCHING_HEAD), text.hidden_size, 2, std)
            })?,
            masked_language_head: part(parts.masked_language_head, || {
                LanguageHead::new(root.at(names::FUSION_HEAD), text)
            })?,
        })
    }

    /// What it has.
    pub fn parts(&self) -> Parts {
        Parts {
            text_encoder: self.text_encoder.is_some(),
            fusion_encoder: self.fusion_encoder.is_some(),
            text_decoder: self.text_decoder.is_some(),
            contrastive_head: self.contrastive_head.is_some(),
            matching_head: self.matching_head.is_some(),
            masked_language_head: self.masked_language_head.is_some(),
        }
    }

    /// Whether the visual encoder's blocks keep nothing for their gradients but their input, and compute the rest again
    /// (gradient checkpointing): less memory, more time, the same gradients to rounding.
    pub fn set_gradient_checkpointing(&mut self, on: bool) {
        self.visual_encoder.set_recomputes(on);
    }

    /// What the factors and results of the network's matrix products are rounded to (mixed precision); parameters stay f32,
    /// and so does everything between the products.
    pub fn set_precision(&mut self, precision: Precision) {
        self.parameters_mut().into_iter().for_each(|parameter| parameter.set_precision(precision));
    }

    /// What was set by [`set_precision`](Self::set_precision).
    pub fn precision(&self) -> Precision {
        self.visual_encoder.precision()
    }

    /// The visual encoder, for those who want its states before the projection.
    pub fn visual_encoder(&self) -> &VisualEncoder {
        &self.visual_encoder
    }

    /// The picture's embeddings as the other parts see them: `(batch, 3, size, size)` ->
    /// `(batch, 1 + patches, hidden)`.
    pub fn encode_image(&self, pixel_values: Tensor<4>, dropout: &Dropout) -> Tensor<3> {
        self.visual_encoder.project(self.visual_encoder.forward(pixel_values, dropout), dropout)
    }

    /// The texts' own embeddings: `(batch, len, hidden)`.
    ///
    /// # Panics
    /// If the model was built without a text encoder.
    pub fn encode_text(&self, texts: &Texts, dropout: &Dropout) -> Tensor<3> {
        let encoder = built(self.text_encoder.as_ref(), "text encoder");
        encoder.forward(texts.input_ids.clone(), texts.attention_mask.clone(), dropout)
    }

    /// Pictures and texts together; `text_mask` is the texts' attention mask.
    ///
    /// # Panics
    /// If the model was built without a fusion encoder.
    pub fn fuse(
        &self,
        image_embeds: Tensor<3>,
        text_embeds: Tensor<3>,
        text_mask: Tensor<2>,
        dropout: &Dropout,
    ) -> Fused {
        let encoder = built(self.fusion_encoder.as_ref(), "fusion encoder");
        encoder.forward(image_embeds, text_embeds, text_mask, dropout)
    }

    /// What the decoder sees of a picture and a question: fused image and text, one after the other.
    ///
    /// # Panics
    /// If the model was built without text and fusion encoder.
    pub fn read(&self, image_embeds: Tensor<3>, question: &Texts, dropout: &Dropout) -> EncoderHiddenStates {
        let text_embeds = self.encode_text(question, dropout);
        let fused = self.fuse(image_embeds, text_embeds, question.attention_mask.clone(), dropout);
        let [batch, image_len, _] = fused.image.dims();
        let image_mask = Tensor::<2>::ones([batch, image_len], &question.attention_mask.device());
        EncoderHiddenStates {
            states: Tensor::cat(vec![fused.image, fused.text], 1), // (batch, image_len + text_len, hidden)
            mask: Some(Tensor::cat(vec![image_mask, question.attention_mask.clone()], 1)),
        }
    }

    /// Scores `(rows, len, vocab)` of the token after each of `texts`; hidden states as in [`TextDecoder::forward`].
    ///
    /// # Panics
    /// If the model was built without a decoder.
    pub fn decode(&self, texts: &Texts, encoder: EncoderHiddenStates, dropout: &Dropout) -> Tensor<3> {
        let decoder = built(self.text_decoder.as_ref(), "decoder");
        decoder.forward(texts.input_ids.clone(), texts.attention_mask.clone(), encoder, dropout)
    }

    /// The projection space of pictures and texts.
    ///
    /// # Panics
    /// If the model was built without it.
    pub fn contrastive_head(&self) -> &ContrastiveHead {
        built(self.contrastive_head.as_ref(), "contrastive head")
    }

    /// The projection space of pictures and texts, to change it.
    ///
    /// # Panics
    /// If the model was built without it.
    pub fn contrastive_head_mut(&mut self) -> &mut ContrastiveHead {
        built(self.contrastive_head.as_mut(), "contrastive head")
    }

    /// Scores `(batch, 2)` of `[no match, match]` from the fused text `(batch, len, hidden)`.
    ///
    /// # Panics
    /// If the model was built without a matching head.
    pub fn matching(&self, fused_text: Tensor<3>) -> Tensor<2> {
        built(self.matching_head.as_ref(), "matching head").forward(first_token(fused_text))
    }

    /// Scores `(rows, vocab)` of the tokens behind fused text states `(rows, hidden)`.
    ///
    /// # Panics
    /// If the model was built without a masked language head or text encoder.
    pub fn masked_tokens(&self, fused_text: Tensor<2>) -> Tensor<2> {
        let words = built(self.text_encoder.as_ref(), "text encoder").words();
        built(self.masked_language_head.as_ref(), "masked language head").forward(fused_text, words)
    }

    /// Every parameter once, in the order of the data's way.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut parameters = Vec::new();
        self.collect(&mut parameters);
        parameters
    }

    /// Copies of the parameters' handles (the values are shared, not copied), in the same order.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.clone().parameters_mut().into_iter().map(|parameter| parameter.clone()).collect()
    }

    /// Freezes the parameters whose names `is_frozen` says: they get no gradient, and what is computed before all that is
    /// trained keeps nothing for one.
    pub fn freeze(&mut self, is_frozen: impl Fn(&str) -> bool) {
        let parameters = self.parameters_mut().into_iter();
        parameters.filter(|parameter| is_frozen(parameter.name())).for_each(Parameter::freeze);
    }

    /// The names of the modules that can be adapted, in the order of the data's way: the maps of attention and feed-forward
    /// blocks. PyTorch's attention, in the visual encoder, is one module, whose packed queries, keys and values are adapted.
    pub fn adaptable_modules(&self) -> Vec<String> {
        let mut model = self.clone();
        model.places().into_iter().map(|place| place.module().to_owned()).collect()
    }

    /// Freezes all parameters and puts a fresh adaptation beside the weights of the modules that `is_target` says. It is drawn
    /// from `seed` and changes nothing until it is trained. `device` is the model's.
    ///
    /// # Errors
    /// Never: drawing does not fail.
    pub fn adapt(
        &mut self,
        settings: LoraSettings,
        is_target: impl Fn(&str) -> bool,
        seed: u64,
        device: &Device,
    ) -> Result<(), NnError> {
        self.freeze(|_| true);
        let precision = self.precision();
        for place in self.places().into_iter().filter(|place| is_target(place.module())) {
            place.adapt(settings, seed, device)?;
        }
        self.set_precision(precision);
        Ok(())
    }

    /// Shares the frozen parameters of `other` and copies its adaptation, where both have the part.
    pub(crate) fn follow_frozen(&mut self, other: &Self, device: &Device) {
        let mut other = other.clone();
        let others = other.places();
        for place in self.places() {
            if let Some(other) = others.iter().find(|other| other.is_of(place)) {
                place.copy_from(other, device);
            }
        }
        let others = other.parameters();
        for parameter in self.parameters_mut() {
            let of_name = others.iter().find(|other| other.name() == parameter.name());
            if let Some(other) = of_name.filter(|other| other.is_frozen()) {
                parameter.share(other);
            }
        }
    }

    fn places(&mut self) -> Vec<&mut LoraPlace> {
        let mut places = Vec::new();
        self.collect_places(&mut places);
        places
    }

    /// The parameters that are trained: name, shape, values.
    pub fn trained(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let trained = self.parameters().into_iter().filter(|parameter| !parameter.is_frozen());
        trained.map(|parameter| exported(&parameter)).collect()
    }

    /// The model without a gradient graph.
    #[must_use]
    pub fn without_autodiff(&self) -> Self {
        let mut model = self.clone();
        detach_all(&mut model);
        model
    }

    /// The checkpoint of this model by the original's names: name, shape, values. Tied tensors come once, under the name
    /// of their first use. Adaptations are added to their weights.
    pub fn export(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        self.export_those(|_| true)
    }

    /// The part of [`export`](Self::export) whose names are `wanted`; nothing else is copied.
    pub fn export_those(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut model = self.clone();
        let places = model.places();
        let of_adaptations: HashSet<&str> =
            places.iter().filter_map(|place| place.parameter_names()).flatten().collect();
        let additions: HashMap<&str, Vec<f32>> = places.iter().filter_map(|place| place.addition()).collect();
        let tensor = |parameter: &Parameter| {
            let (name, shape, mut values) = exported(parameter);
            if let Some(addition) = additions.get(parameter.name()) {
                values.iter_mut().zip(addition).for_each(|(value, addition)| *value += addition);
            }
            (name, shape, values)
        };
        let parameters = self.parameters();
        let is_exported = |name: &str| !of_adaptations.contains(name) && wanted(name);
        parameters.iter().filter(|parameter| is_exported(parameter.name())).map(tensor).collect()
    }
}

fn exported(parameter: &Parameter) -> (String, Vec<usize>, Vec<f32>) {
    (parameter.name().to_owned(), parameter.shape().to_vec(), parameter.to_vec())
}

/// A part that the caller relies on.
fn built<T>(part: Option<T>, name: &str) -> T {
    part.unwrap_or_else(|| panic!("the model was built without a {name}"))
}
