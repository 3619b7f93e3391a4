//! What a frozen visual encoder makes of pictures, kept on disk: each picture is encoded once. The engine of `mplug` encodes, at
//! f32; what it computes differs from the trainable network's by rounding alone (1e-4 of a deviation, which tests of
//! `mplug-nn` hold), and does not depend on the number of threads.
//!
//! A picture's file is named after the SHA-256 of its normalised pixels, in a folder named after the SHA-256 of the encoder's
//! weights: so what is found is always of this picture, at this size, by this encoder. A file is written under another name,
//! and renamed; its checksum says whether it is whole. Nothing is ever removed: the folder may be, at any time.

mod file;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, TensorEntry, TensorReader, Values, Weights, names, safetensors_bytes,
};
use mplug::config::ModelConfig;
use mplug::visual_encoder::VisualEncoder;
use mplug_nn::Mplug;
use mplug_nn::parameter::Parameter;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::batch::{Batch, MicroBatch};
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::training_data::TrainingData;

/// The folder in the run folder.
const FOLDER: &str = "features";
/// Digits of the encoder's fingerprint in the name of its folder.
const DIGITS: usize = 16;

/// Pictures that were encoded.
pub struct FeatureCache {
    /// Where those of this encoder are.
    folder: PathBuf,
    /// The encoder's parameters, which do not change.
    parameters: Vec<Parameter>,
    shape: ModelConfig,
    /// In the engine, once a picture must be encoded.
    encoder: OnceLock<VisualEncoder>,
    /// What the pictures of the data take in all, in bytes.
    pub need: u64,
}

impl FeatureCache {
    /// The cache of a recipe with `[features]`; none without. `shape` is that of `model`.
    ///
    /// # Errors
    /// [`TrainError::Value`] where the visual encoder is trained, where there is no end of pictures, and where all of them take more
    /// than is allowed or than the disk has; [`TrainError::File`] where the folder cannot be made.
    pub fn open(
        config: &TrainConfig,
        model: &Mplug,
        shape: &ModelConfig,
        data: &dyn TrainingData,
    ) -> Result<Option<Self>, TrainError> {
        let Some(section) = &config.features else { return Ok(None) };
        let wrong = |expected: &str, found: String| TrainError::Value {
            field: "features",
            expected: expected.to_owned(),
            found,
        };
        let parameters: Vec<Parameter> =
            model.parameters().into_iter().filter(|p| is_of_encoder(p.name())).collect();
        if let Some(trained) = parameters.iter().find(|parameter| !parameter.is_frozen()) {
            let expected =
                "a frozen visual encoder (`freeze = [\"visual_encoder\"]`, or `lora.targets` outside it)";
            return Err(wrong(expected, format!("`{}` is trained", trained.name())));
        }
        let Some(pictures) = data.train_pictures() else {
            return Err(wrong("a number of pictures (`data.pictures`)", "no end of them".to_owned()));
        };
        let len = shape.vision.image_len() * shape.vision.hidden_size;
        let need = pictures * file::bytes(len);
        let limit = (section.max_gigabytes * 1e9) as u64;
        if need > limit {
            let expected = format!(
                "room for what is made of {pictures} pictures, {:.1} GB: raise `features.max_gigabytes`, or leave [features] out",
                need as f64 / 1e9
            );
            let found = format!("{} GB", section.max_gigabytes);
            return Err(TrainError::Value { field: "features.max_gigabytes", expected, found });
        }
        let root = section.folder.clone().unwrap_or_else(|| config.output.join(FOLDER));
        let folder = root.join(&fingerprint(&parameters)[..DIGITS]);
        std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder))?;
        file::tag(&root)?;
        check_room(&folder, need)?;
        Ok(Some(Self { folder, parameters, shape: shape.clone(), encoder: OnceLock::new(), need }))
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts into every micro-batch what the encoder makes of its pictures.
    ///
    /// # Errors
    /// When a picture's file cannot be written.
    pub fn fill(&self, batch: &mut Batch) -> Result<(), TrainError> {
        batch.micro_batches.iter_mut().try_for_each(|micro_batch| self.fill_one(micro_batch))
    }

    fn fill_one(&self, micro_batch: &mut MicroBatch) -> Result<(), TrainError> {
        let pixels = micro_batch.pixel_values.len() / micro_batch.pictures().max(1);
        let pictures: Vec<&[f32]> = micro_batch.pixel_values.chunks_exact(pixels.max(1)).collect();
        let features = pictures
            .par_iter()
            .map(|pixel_values| self.features(pixel_values))
            .collect::<Result<Vec<_>, _>>()?;
        micro_batch.image_features = features.concat();
        Ok(())
    }

    /// What the encoder makes of a picture, `(image_len, vision width)`: from the disk, or else encoded and kept.
    fn features(&self, pixel_values: &[f32]) -> Result<Vec<f32>, TrainError> {
        let name = hexadecimal(&Sha256::digest(bytes_of(pixel_values)));
        let (path, len) = (self.path(&name), self.shape.vision.image_len() * self.shape.vision.hidden_size);
        if let Some(found) = file::read(&path, len) {
            return Ok(found);
        }
        let encoded = self.encoder()?.forward(pixel_values);
        file::write(&path, &encoded)?;
        Ok(encoded)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(&name[..2]).join(name)
    }

    fn encoder(&self) -> Result<&VisualEncoder, TrainError> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let bytes = safetensors_bytes(&ParameterTensors(&self.parameters), Dtype::F32)?;
        let checkpoint = Checkpoint::from_bytes(bytes)?;
        // The projection of large models comes after what is kept: it may be trained.
        let shape = ModelConfig { has_visual_projection: false, ..self.shape.clone() };
        let encoder = VisualEncoder::load(&Weights::new(&checkpoint), &shape)?;
        Ok(self.encoder.get_or_init(|| encoder))
    }
}

/// Parameters as tensors to write, read one at a time.
struct ParameterTensors<'a>(&'a [Parameter]);

impl TensorReader for ParameterTensors<'_> {
    fn entries(&self) -> Vec<TensorEntry> {
        let entry = |parameter: &Parameter| TensorEntry {
            name: parameter.name().to_owned(),
            shape: parameter.shape().to_vec(),
            fixed_dtype: None,
            same_as: None,
        };
        self.0.iter().map(entry).collect()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        Ok(Values::F32(self.0[index].to_vec()))
    }
}

fn is_of_encoder(name: &str) -> bool {
    name.starts_with(names::VISUAL_ENCODER)
}

fn fingerprint(parameters: &[Parameter]) -> String {
    let digests: Vec<_> = parameters
        .par_iter()
        .map(|parameter| {
            Sha256::new()
                .chain_update(parameter.name())
                .chain_update(bytes_of(&parameter.to_vec()))
                .finalize()
        })
        .collect();
    let mut whole = Sha256::new();
    for digest in digests {
        whole.update(digest);
    }
    hexadecimal(&whole.finalize())
}

/// The bytes of numbers, little-endian.
fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The disk has room for `need` bytes, less what is there already.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn check_room(folder: &Path, need: u64) -> Result<(), TrainError> {
    let Ok(found) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let missing = need.saturating_sub(file::bytes_below(folder));
    if missing <= free {
        return Ok(());
    }
    Err(TrainError::Value {
        field: "features.folder",
        expected: format!("{:.1} GB free for what is made of the pictures", missing as f64 / 1e9),
        found: format!("{:.1} GB on the disk of {}", free as f64 / 1e9, folder.display()),
    })
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn check_room(_: &Path, _: u64) -> Result<(), TrainError> {
    Ok(())
}
