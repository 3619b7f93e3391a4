//! Tensors of the CPU backend with their place in the graph, and the numbers in them.

use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Shape, Tensor, TensorData};

/// The CPU backend with gradients.
type Differentiable = Autodiff<Flex>;
/// A tensor of it.
pub(crate) type Tracked = <Differentiable as burn::backend::BackendTypes>::FloatTensorPrimitive;

/// The CPU backend's tensor with its node in the graph, if `tensor` is one.
pub(crate) fn tracked<const D: usize>(tensor: &Tensor<D>) -> Option<Tracked> {
    if !tensor.is_autodiff() {
        return None;
    }
    tensor.clone().try_into_primitive::<Differentiable>().ok()
}

/// The tensor of a result.
pub(crate) fn from_tracked<const D: usize>(tensor: Tracked) -> Tensor<D> {
    Tensor::from_primitive::<Differentiable>(tensor)
}

/// A tensor of `values`.
pub(super) fn build(values: Vec<f32>, shape: &Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.clone()))
}

/// The values of a tensor, which must be contiguous and f32.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("made contiguous, f32 throughout")
}

pub(super) fn last_dim(tensor: &FlexTensor) -> usize {
    let shape = tensor.layout().shape();
    shape[shape.num_dims() - 1]
}
