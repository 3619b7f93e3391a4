//! The momentum model: its weights follow the student's from step to step, and its answers are softer targets than
//! labels (the original's modules with `_m` in their names; He et al. 2020, Li et al. 2021). Knows no loss.

use burn::tensor::{Device, Tensor};
use mplug::config::ModelConfig;

use crate::error::NnError;
use crate::model::{Mplug, Parts};
use crate::parameter::{Initial, Parameter, ParameterSource};

/// A model without gradients that follows another.
#[derive(Clone, Debug)]
pub struct MomentumModel {
    model: Mplug,
    momentum: f64,
}

impl MomentumModel {
    /// The momentum model of `student` in `parts`. Its weights are those that `source` holds under the names of a momentum
    /// model; a weight that it lacks is the student's, and so is one that is frozen there, which is shared.
    ///
    /// (The original draws the weights that a checkpoint lacks at random; a copy is what it means to do.)
    pub fn new(
        student: &Mplug,
        config: &ModelConfig,
        parts: Parts,
        momentum: f64,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Result<Self, NnError> {
        let mut source = MomentumSource { source, student: student.parameters() };
        let mut model = Mplug::new(config, parts, &mut source, device)?;
        model.set_precision(student.precision());
        model.follow_frozen(student, device);
        Ok(Self { model, momentum })
    }

    /// The model whose weights follow the student's.
    pub fn model(&self) -> &Mplug {
        &self.model
    }

    /// Moves every weight towards the student's: `m ← momentum · m + (1 - momentum) · p`. Those that are frozen are the student's.
    ///
    /// (The original forgets its `fusion_encoder_m` here, which then stays random; ours follows.)
    ///
    /// # Panics
    /// If the student lacks one of the momentum model's parts.
    pub fn follow(&mut self, student: &Mplug) {
        let momentum = self.momentum;
        let mut students = student.parameters().into_iter();
        for parameter in self.model.parameters_mut().into_iter().filter(|parameter| !parameter.is_frozen()) {
            let student = students
                .find(|student| student.name() == parameter.name())
                .expect("the momentum model's parts are the student's, in the same order");
            let target: Tensor<1> = student.value().without_autodiff();
            parameter.update(|value| value.mul_scalar(momentum) + target.mul_scalar(1.0 - momentum));
        }
    }

    /// The momentum model's own parameters, those that are not frozen, to be restored.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.model.parameters_mut().into_iter().filter(|parameter| !parameter.is_frozen()).collect()
    }

    /// The momentum model's own tensors, those that are not frozen, by the original's names: name, shape, values.
    pub fn export(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let renamed = |(name, shape, values): (String, _, _)| (momentum_name(&name), shape, values);
        self.model.trained().into_iter().map(renamed).collect()
    }
}

/// The name of a student's tensor in its momentum model: `text_encoder.…` -> `text_encoder_m.…`.
pub fn momentum_name(name: &str) -> String {
    match name.split_once('.') {
        Some((module, rest)) => format!("{module}_m.{rest}"),
        None => format!("{name}_m"),
    }
}

/// The weights of a momentum model: `source`'s, or the student's.
struct MomentumSource<'a> {
    source: &'a mut dyn ParameterSource,
    student: Vec<Parameter>,
}

impl ParameterSource for MomentumSource<'_> {
    fn read(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Vec<f32>, NnError> {
        let own_name = momentum_name(name);
        if self.source.has(&own_name) {
            return self.source.read(&own_name, shape, initial);
        }
        match self.student.iter().find(|parameter| parameter.name() == name) {
            Some(parameter) => Ok(parameter.to_vec()),
            None => self.source.read(name, shape, initial),
        }
    }

    fn position_embedding(
        &mut self,
        name: &str,
        grid: usize,
        width: usize,
        initial: Initial,
    ) -> Result<Vec<f32>, NnError> {
        let own_name = momentum_name(name);
        if self.source.has(&own_name) {
            return self.source.position_embedding(&own_name, grid, width, initial);
        }
        self.read(name, &[1 + grid * grid, width], initial)
    }

    fn has(&self, name: &str) -> bool {
        self.source.has(&momentum_name(name))
    }
}
