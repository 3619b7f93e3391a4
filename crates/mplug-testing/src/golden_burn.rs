//! A golden model as burn's values (feature `burn`).

use std::ops::Deref;

use burn::tensor::{Device, Int, Tensor, TensorData};
use mplug_nn::{Mplug, Parts, Texts};

/// A golden model whose weights and numbers can be had as burn's values.
pub struct Golden(crate::golden::Golden);

impl Golden {
    /// Draws the weights of a golden model and opens its numbers.
    pub fn open(name: &str) -> Self {
        Self(crate::golden::Golden::open(name))
    }

    /// The model with its weights.
    pub fn model(&self, device: &Device) -> Mplug {
        let parts = Parts::of(self.config.task);
        Mplug::new(&self.config, parts, &mut self.weights(), device).expect("the weights fit")
    }

    /// A golden batch of texts: `{name}_input_ids` and `{name}_attention_mask`, or `.ids` and `.mask`.
    pub fn texts(&self, ids: &str, mask: &str, device: &Device) -> Texts {
        let (values, shape) = self.numbers(ids);
        let shape = [shape[0], shape[1]];
        let values: Vec<i32> = values.iter().map(|id| *id as i32).collect();
        Texts {
            input_ids: Tensor::<2, Int>::from_data(TensorData::new(values, shape), device),
            attention_mask: Tensor::from_data(TensorData::new(self.floats(mask), shape), device),
        }
    }

    /// The golden batch's pixels `(4, 3, size, size)`.
    pub fn pixels(&self, device: &Device) -> Tensor<4> {
        let (size, pixels) = (self.config.vision.image_size, self.0.pixels());
        Tensor::from_data(TensorData::new(pixels.concat(), [pixels.len(), 3, size, size]), device)
    }
}

impl Deref for Golden {
    type Target = crate::golden::Golden;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The devices of this build, each without and with gradients: different code runs, and all must give the original's numbers.
pub fn devices() -> Vec<Device> {
    let plain = vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ];
    plain.into_iter().flat_map(|device| [device.clone(), device.autodiff()]).collect()
}

/// Asserts that values agree to `tolerance` times the standard deviation of `theirs`.
pub fn assert_close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    let found = crate::golden::deviation(ours, theirs);
    // Values that are all the same have no deviation: they are to be met exactly.
    let is_close = ours == theirs || found <= tolerance;
    assert!(is_close, "{what}: differs by {found} of the standard deviation");
}
