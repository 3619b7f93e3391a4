//! From a micro-batch's host arrays to tensors. Knows no objective.

use burn::tensor::{Device, Int, Tensor, TensorData};
use mplug_nn::Texts;

use super::Pass;
use crate::batch::TextRows;

impl Pass<'_> {
    /// The pictures `(pictures, 3, size, size)`.
    pub(super) fn pixel_values(&self) -> Tensor<4> {
        let (pictures, size) = (self.micro_batch.pictures(), self.micro_batch.image_size());
        let data = TensorData::new(self.micro_batch.pixel_values.clone(), [pictures, 3, size, size]);
        Tensor::from_data(data, self.device)
    }

    /// Pictures, through the visual encoder: `(pictures, image_len, hidden)`. Through its projection alone where what the encoder
    /// makes of them is known.
    pub(super) fn image_embeds(&self) -> Tensor<3> {
        let known = &self.micro_batch.image_features;
        if !known.is_empty() {
            let (pictures, width) = (self.micro_batch.pictures(), self.model.visual_encoder().width());
            let shape = [pictures, known.len() / (pictures * width), width];
            let features = Tensor::from_data(TensorData::new(known.clone(), shape), self.device);
            return self.model.visual_encoder().project(features, self.dropout);
        }
        self.model.encode_image(self.pixel_values(), self.dropout)
    }
}

/// Texts as the network takes them.
pub(super) fn texts(rows: &TextRows, device: &Device) -> Texts {
    let shape = [rows.rows, rows.len];
    Texts {
        input_ids: Tensor::<2, Int>::from_data(TensorData::new(rows.input_ids.clone(), shape), device),
        attention_mask: Tensor::from_data(TensorData::new(rows.attention_mask.clone(), shape), device),
    }
}

/// A vector.
pub(super) fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// A vector of whole numbers.
pub(super) fn integers(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// A matrix `(rows, columns)`.
pub(super) fn matrix(values: Vec<f32>, [rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// The values of a tensor on the host.
pub(super) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("values are f32 and readable")
}

/// A constant of the gradient graph of `device` with the values of a tensor that has none.
pub(super) fn constant<const D: usize>(tensor: Tensor<D>, device: &Device) -> Tensor<D> {
    if device.is_autodiff() { tensor.autodiff() } else { tensor }
}
