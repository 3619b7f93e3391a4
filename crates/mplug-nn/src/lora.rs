//! Low-rank adaptation (LoRA: Hu et al., arXiv 2106.09685): a matrix `W` `(out, in)` stays as it is, and `scale · B A` is learned
//! beside it, `A` `(rank, in)` and `B` `(out, rank)`. Modules have the names that PEFT gives them. Knows no files.

use burn::tensor::{Device, Tensor};
use mplug::checkpoint::adapter::{LORA_A, LORA_B};
use mplug::checkpoint::names;

use crate::dropout::Dropout;
use crate::error::NnError;
use crate::parameter::{
    HasParameters, Initial, Parameter, ParameterSource, RandomParameters, has_parameters,
};
use crate::product::product;

/// What an adaptation is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraSettings {
    /// Rows of `A` and columns of `B`.
    pub rank: usize,
    /// `scale · rank`: what the product is multiplied with.
    pub alpha: f32,
    /// How often an input of `A` is dropped while training.
    pub dropout: f32,
}

/// The two matrices beside a weight.
#[derive(Clone, Debug)]
struct Lora {
    a: Parameter,
    b: Parameter,
    settings: LoraSettings,
}

has_parameters!(Lora: a, b);

impl Lora {
    fn scale(&self) -> f32 {
        self.settings.alpha / self.settings.rank as f32
    }
}

/// A weight that an adaptation may be put beside.
#[derive(Clone, Debug)]
pub(crate) struct LoraPlace {
    /// The module, by which targets are found, as PEFT's files have it.
    module: String,
    /// The weight's name.
    weight: String,
    /// `[out, in]`.
    shape: [usize; 2],
    lora: Option<Lora>,
}

impl HasParameters for LoraPlace {
    fn collect<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        self.lora.collect(out);
    }

    fn collect_places<'a>(&'a mut self, out: &mut Vec<&'a mut LoraPlace>) {
        out.push(self);
    }
}

impl LoraPlace {
    /// Beside the weight of a linear layer.
    pub(crate) fn of_linear(weight: &Parameter) -> Self {
        let module = weight.name().strip_suffix(names::WEIGHT).unwrap_or_default().trim_end_matches('.');
        Self::new(module, weight)
    }

    /// Beside the packed queries, keys and values of an attention of PyTorch's: its module is the attention. (PEFT would adapt its
    /// output projection with it, and counts that twice, at least in 0.21: here it stays as it is.)
    pub(crate) fn of_packed(weight: &Parameter) -> Self {
        let module = weight.name().rsplit_once('.').map_or("", |(module, _)| module);
        Self::new(module, weight)
    }

    fn new(module: &str, weight: &Parameter) -> Self {
        let (module, name) = (module.to_owned(), weight.name().to_owned());
        Self { module, weight: name, shape: [weight.shape()[0], weight.shape()[1]], lora: None }
    }

    /// `input` `(rows, in)` through `A`, if there is an adaptation: `(rows, rank)`.
    pub(crate) fn narrowed(&self, input: &Tensor<2>, dropout: &Dropout) -> Option<Tensor<2>> {
        let Lora { a, settings, .. } = self.lora.as_ref()?;
        let input = dropout.at_rate(input.clone(), settings.dropout);
        Some(product(input, a.matrix().transpose(), a.precision()))
    }

    /// `output` `(rows, out)` with what `narrowed` adds to it.
    pub(crate) fn add(&self, output: Tensor<2>, narrowed: Tensor<2>) -> Tensor<2> {
        let rows = self.shape[0];
        self.add_part(output, narrowed, 0, rows)
    }

    /// `output` `(rows, len)`, the outputs from `first` on, with what `narrowed` adds to them.
    pub(crate) fn add_part(
        &self,
        output: Tensor<2>,
        narrowed: Tensor<2>,
        first: usize,
        len: usize,
    ) -> Tensor<2> {
        let Some(lora) = &self.lora else { return output };
        let widen = lora.b.matrix().narrow(0, first, len); // (len, rank)
        let added = product(narrowed, widen.transpose(), lora.b.precision());
        output + added.mul_scalar(lora.scale())
    }

    /// Whether it is beside the weight of the same name.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.weight == other.weight
    }

    /// The module, by which targets are found.
    pub(crate) fn module(&self) -> &str {
        &self.module
    }

    /// Puts a fresh adaptation here, which changes nothing yet: `A` is drawn as wide as PEFT draws it (evenly up to
    /// `1 / √in` there, from the normal distribution of that deviation here), `B` is zero.
    pub(crate) fn adapt(
        &mut self,
        settings: LoraSettings,
        seed: u64,
        device: &Device,
    ) -> Result<(), NnError> {
        let [output, input] = self.shape;
        let mut source = RandomParameters { seed };
        let mut build = |name: &str, shape: [usize; 2], initial| {
            let name = format!("{}.{name}", self.module);
            let values = source.read(&name, &shape, initial)?;
            Ok::<_, NnError>(Parameter::new(name, shape.to_vec(), values, device))
        };
        let std = (3.0 * input as f32).powf(-0.5);
        let a = build(LORA_A, [settings.rank, input], Initial::Normal(std))?;
        let b = build(LORA_B, [output, settings.rank], Initial::Zeros)?;
        self.lora = Some(Lora { a, b, settings });
        Ok(())
    }

    /// Puts a copy of the adaptation that `other` has here, off the gradient graph.
    pub(crate) fn copy_from(&mut self, other: &Self, device: &Device) {
        let copy = |from: &Parameter| {
            let mut copy =
                Parameter::new(from.name().to_owned(), from.shape().to_vec(), from.to_vec(), device);
            copy.set_precision(from.precision());
            copy
        };
        self.lora = other.lora.as_ref().map(|lora| Lora {
            a: copy(&lora.a),
            b: copy(&lora.b),
            settings: lora.settings,
        });
    }

    /// The weight's name and what is to be added to it, `(out, in)`, if there is an adaptation.
    pub(crate) fn addition(&self) -> Option<(&str, Vec<f32>)> {
        let lora = self.lora.as_ref()?;
        let sum = mplug::checkpoint::adapter::low_rank_product(
            &lora.a.to_vec(),
            &lora.b.to_vec(),
            lora.settings.rank,
            lora.scale(),
        );
        Some((&self.weight, sum))
    }

    /// The names of the two parameters.
    pub(crate) fn parameter_names(&self) -> Option<[&str; 2]> {
        self.lora.as_ref().map(|lora| [lora.a.name(), lora.b.name()])
    }
}
