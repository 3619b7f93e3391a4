//! Parameters: named leaves of the gradient graph, and where their first values come from.
//!
//! Every parameter is one flat leaf tensor that knows its name and shape in the original's checkpoint. Being
//! flat, all parameters have one type, so that optimizers, averages and files treat them alike; the layers look at them
//! through a reshape, which copies nothing. Refuses to know what layer a parameter belongs to.

use burn::tensor::{Device, Tensor, TensorData};
use mplug::checkpoint::Weights;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::error::NnError;
use crate::lora::LoraPlace;
use crate::product::Precision;

/// A learnable array.
#[derive(Clone, Debug)]
pub struct Parameter {
    name: String,
    shape: Vec<usize>,
    value: Tensor<1>,
    precision: Precision,
    is_frozen: bool,
}

impl Parameter {
    /// A parameter of `values`, as many as the product of `shape`: a leaf that requires gradients where `device` records them.
    pub(crate) fn new(name: String, shape: Vec<usize>, values: Vec<f32>, device: &Device) -> Self {
        let len = values.len();
        let value = Tensor::from_data(TensorData::new(values, [len]), device);
        let value = if device.is_autodiff() { value.require_grad() } else { value };
        Self { name, shape, value, precision: Precision::F32, is_frozen: false }
    }

    /// The parameter's name in the original's checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape in the original's checkpoints.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The flat values `(product of the shape)`: a leaf of the gradient graph if the model is being trained.
    pub fn value(&self) -> Tensor<1> {
        self.value.clone()
    }

    /// Whether it stays as it is: no gradient is computed for it.
    pub fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// Makes it a constant of the gradient graph. What is computed from constants alone keeps nothing for a backward pass.
    pub(crate) fn freeze(&mut self) {
        self.is_frozen = true;
        let on_graph = self.value.is_autodiff();
        let value = self.value.clone().without_autodiff();
        self.value = if on_graph { value.autodiff() } else { value };
    }

    /// Takes the values of `other`, which has as many, without a copy; frozen.
    pub(crate) fn share(&mut self, other: &Self) {
        let value = other.value.clone().without_autodiff();
        self.value = if self.value.is_autodiff() { value.autodiff() } else { value };
        self.freeze();
    }

    /// Replaces the values by what `change` makes of them; they become a new leaf, which requires gradients if the old
    /// one did. `change` gets the values off the gradient graph and returns as many. It owns them: if nobody else holds
    /// them it can change them in place.
    ///
    /// # Panics
    /// If `change` returns another number of values.
    pub fn update(&mut self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let (len, learning) = (self.value.dims(), self.value.is_require_grad());
        let on_graph = self.value.is_autodiff();
        let empty = Tensor::empty([0], &self.value.device());
        let value = change(std::mem::replace(&mut self.value, empty).without_autodiff());
        assert_eq!(value.dims(), len, "parameter {}: wrong number of values", self.name);
        self.value = match (learning, on_graph) {
            (true, _) => value.autodiff().require_grad(),
            (false, true) => value.autodiff(),
            (false, false) => value,
        };
    }

    /// The values on the host, row-major.
    ///
    /// # Panics
    /// If the device fails to give them.
    pub fn to_vec(&self) -> Vec<f32> {
        self.value.try_to_vec_as().expect("parameters are f32 and readable")
    }

    /// What products with this parameter are rounded to; it itself stays f32.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Sets what products with this parameter are rounded to.
    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// The values as a vector.
    pub(crate) fn vector(&self) -> Tensor<1> {
        self.value.clone()
    }

    /// The values as a matrix: the first axis of the shape by all the others.
    pub(crate) fn matrix(&self) -> Tensor<2> {
        let rows = self.shape[0];
        let columns = self.shape[1..].iter().product();
        self.value.clone().reshape([rows, columns])
    }

    /// Makes its values a leaf of a new gradient graph, or a constant of it.
    pub(crate) fn make_leaf(&mut self) {
        let value = self.value.clone().without_autodiff().autodiff();
        self.value = if self.is_frozen { value } else { value.require_grad() };
    }

    /// Takes its values out of the gradient graph.
    fn without_autodiff(&mut self) {
        self.value = self.value.clone().without_autodiff();
    }
}

/// Something that owns parameters.
pub(crate) trait HasParameters {
    /// Appends every parameter to `out`, in the order of the data's way.
    fn collect<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>);

    /// Appends every place for a low-rank adaptation to `out`, in the same order.
    fn collect_places<'a>(&'a mut self, _out: &mut Vec<&'a mut LoraPlace>) {}
}

impl HasParameters for Parameter {
    fn collect<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        out.push(self);
    }
}

impl<T: HasParameters> HasParameters for Vec<T> {
    fn collect<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        for part in self {
            part.collect(out);
        }
    }

    fn collect_places<'a>(&'a mut self, out: &mut Vec<&'a mut LoraPlace>) {
        for part in self {
            part.collect_places(out);
        }
    }
}

impl<T: HasParameters> HasParameters for Option<T> {
    fn collect<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        if let Some(part) = self {
            part.collect(out);
        }
    }

    fn collect_places<'a>(&'a mut self, out: &mut Vec<&'a mut LoraPlace>) {
        if let Some(part) = self {
            part.collect_places(out);
        }
    }
}

/// Implements [`HasParameters`] by listing the fields.
macro_rules! has_parameters {
    ($part:ty: $($field:ident),+) => {
        impl $crate::parameter::HasParameters for $part {
            fn collect<'a>(&'a mut self, out: &mut Vec<&'a mut $crate::parameter::Parameter>) {
                $($crate::parameter::HasParameters::collect(&mut self.$field, out);)+
            }

            fn collect_places<'a>(&'a mut self, out: &mut Vec<&'a mut $crate::lora::LoraPlace>) {
                $($crate::parameter::HasParameters::collect_places(&mut self.$field, out);)+
            }
        }
    };
}
pub(crate) use has_parameters;

/// Takes all parameters of `model` off the gradient graph, for evaluation.
pub(crate) fn detach_all(model: &mut impl HasParameters) {
    let mut parameters = Vec::new();
    model.collect(&mut parameters);
    parameters.into_iter().for_each(Parameter::without_autodiff);
}

/// The distribution of a parameter before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// All zero: biases.
    Zeros,
    /// All the same: scales of layer norms, the temperature.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
}

/// Where the first values of parameters come from: a checkpoint, or chance.
pub trait ParameterSource {
    /// The values of the parameter `name`, row-major, as many as the product of `shape`; `initial` says to a source that
    /// has no values of its own how to draw them.
    fn read(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Vec<f32>, NnError>;

    /// The position embeddings `(1 + grid², width)` of a picture, resized if the source has another grid.
    fn position_embedding(
        &mut self,
        name: &str,
        grid: usize,
        width: usize,
        initial: Initial,
    ) -> Result<Vec<f32>, NnError> {
        self.read(name, &[1 + grid * grid, width], initial)
    }

    /// Whether the source itself holds values for `name`.
    fn has(&self, name: &str) -> bool;
}

impl ParameterSource for Weights<'_> {
    fn read(&mut self, name: &str, shape: &[usize], _: Initial) -> Result<Vec<f32>, NnError> {
        self.tensor(name, shape).map_err(|source| NnError::source(name, source))
    }

    fn position_embedding(
        &mut self,
        name: &str,
        grid: usize,
        width: usize,
        _: Initial,
    ) -> Result<Vec<f32>, NnError> {
        Weights::position_embedding(self, name, grid, width).map_err(|source| NnError::source(name, source))
    }

    fn has(&self, name: &str) -> bool {
        Weights::has(self, name)
    }
}

/// Fresh parameters, drawn from a seed; the values of one parameter depend on the seed and its name alone.
#[derive(Clone, Copy, Debug)]
pub struct RandomParameters {
    /// The seed.
    pub seed: u64,
}

impl ParameterSource for RandomParameters {
    fn read(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Vec<f32>, NnError> {
        let len = shape.iter().product();
        Ok(match initial {
            Initial::Zeros => vec![0.0; len],
            Initial::Constant(value) => vec![value; len],
            Initial::Normal(std) => normal(self.seed, name, len, std),
        })
    }

    /// Waves over rows and columns rather than noise: positions are distinct from the first step on, and a small model
    /// trained from scratch learns shapes, numbers and relations far sooner.
    fn position_embedding(
        &mut self,
        _: &str,
        grid: usize,
        width: usize,
        _: Initial,
    ) -> Result<Vec<f32>, NnError> {
        Ok(waves(grid, width))
    }

    fn has(&self, _: &str) -> bool {
        false
    }
}

/// Position embeddings `(1 + grid², width)`: zeros for the class token; then for each patch sines and cosines of its row
/// and of its column, at wavelengths from 2π patches to `grid` times that.
fn waves(grid: usize, width: usize) -> Vec<f32> {
    let waves = (width / 4).max(1);
    let mut table = vec![0.0; width];
    for patch in 0..grid * grid {
        table.extend((0..width).map(|channel| {
            let position = if channel / 2 % 2 == 0 { patch / grid } else { patch % grid } as f32;
            let angle = position * (grid as f32).powf(-((channel / 4) as f32) / waves as f32);
            if channel % 2 == 0 { angle.sin() } else { angle.cos() }
        }));
    }
    table
}

/// Values from the normal distribution (Box and Muller's way), by seed and name.
fn normal(seed: u64, name: &str, len: usize, std: f32) -> Vec<f32> {
    let stream = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut rng = Pcg64::seed_from_u64(seed ^ stream);
    (0..len)
        .map(|_| {
            let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
            std * radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
        })
        .collect()
}

/// A node in the checkpoint's tree of names, from which a network is built.
pub(crate) struct Reader<'a> {
    source: &'a mut dyn ParameterSource,
    prefix: String,
    device: &'a Device,
}

impl<'a> Reader<'a> {
    /// The root of `source`; parameters are put on `device`.
    pub(crate) fn new(source: &'a mut dyn ParameterSource, device: &'a Device) -> Self {
        Self { source, prefix: String::new(), device }
    }

    /// The part `name` below this node.
    pub(crate) fn at(&mut self, name: impl std::fmt::Display) -> Reader<'_> {
        let prefix = format!("{}{name}.", self.prefix);
        Reader { source: self.source, prefix, device: self.device }
    }

    /// The parameter `name` of this node.
    pub(crate) fn parameter(
        &mut self,
        name: &str,
        shape: &[usize],
        initial: Initial,
    ) -> Result<Parameter, NnError> {
        let name = format!("{}{name}", self.prefix);
        let values = self.source.read(&name, shape, initial)?;
        self.build(name, shape, values)
    }

    /// The parameter `name` of this node, which checkpoints also store as `tied`; where both exist `tied` counts, as
    /// in the original, where the later key of the file wins.
    pub(crate) fn tied_parameter(
        &mut self,
        name: &str,
        tied: &str,
        shape: &[usize],
        initial: Initial,
    ) -> Result<Parameter, NnError> {
        let [name, tied] = [name, tied].map(|name| format!("{}{name}", self.prefix));
        let stored = if self.source.has(&tied) { &tied } else { &name };
        let values = self.source.read(stored, shape, initial)?;
        self.build(name, shape, values)
    }

    /// The position embeddings of a picture of `grid` by `grid` patches.
    pub(crate) fn position_embedding(
        &mut self,
        name: &str,
        grid: usize,
        width: usize,
        initial: Initial,
    ) -> Result<Parameter, NnError> {
        let name = format!("{}{name}", self.prefix);
        let values = self.source.position_embedding(&name, grid, width, initial)?;
        self.build(name, &[1 + grid * grid, width], values)
    }

    fn build(&self, name: String, shape: &[usize], values: Vec<f32>) -> Result<Parameter, NnError> {
        let (shape, len) = (shape.to_vec(), shape.iter().product());
        if values.len() != len {
            return Err(NnError::Length { name, shape, expected: len, found: values.len() });
        }
        Ok(Parameter::new(name, shape, values, self.device))
    }
}
