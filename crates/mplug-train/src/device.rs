//! Where the network runs: the processor, or a GPU if this build can reach one. Knows no network.

use burn::tensor::Device;

use crate::config::{DeviceKind, PrecisionKind, RunSection};
use crate::error::TrainError;

/// The device of a recipe, without gradients.
///
/// # Errors
/// If the build has no GPUs, the machine has none, or the device does not know the recipe's precision.
pub fn open(run: &RunSection) -> Result<Device, TrainError> {
    let device = match run.device {
        DeviceKind::Cpu => Device::flex(),
        DeviceKind::Gpu => gpu()?,
    };
    if run.precision != PrecisionKind::F32 && !device.supports_dtype(run.precision.precision().dtype()) {
        return Err(TrainError::Value {
            field: "run.precision",
            expected: "a type that the device computes with".to_owned(),
            found: format!("{:?}, which it does not", run.precision).to_lowercase(),
        });
    }
    Ok(device)
}

/// Whether a GPU can be opened here.
///
/// # Errors
/// If the build has no GPUs, or the machine has none.
pub fn find_gpu() -> Result<(), TrainError> {
    gpu().map(drop)
}

#[cfg(feature = "wgpu")]
fn gpu() -> Result<Device, TrainError> {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::WgpuInitError;
    match Device::wgpu_options().init() {
        Ok(device) => Ok(device),
        // An earlier run of this process has opened it.
        Err(WgpuInitError::Registration { .. }) => Ok(Device::wgpu(DeviceKind::DefaultDevice)),
        Err(error) => Err(no_gpu(error.to_string())),
    }
}

#[cfg(not(feature = "wgpu"))]
fn gpu() -> Result<Device, TrainError> {
    Err(no_gpu("a build without GPUs".to_owned()))
}

fn no_gpu(found: String) -> TrainError {
    let expected = "`cpu`, or a GPU that Vulkan, Metal or DirectX 12 shows".to_owned();
    TrainError::Value { field: "run.device", expected, found }
}
