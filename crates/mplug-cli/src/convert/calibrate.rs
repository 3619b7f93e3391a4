//! Prepares a model for int8: runs it on some pictures while its layers take note of what they are given. The pictures are
//! the user's, or drawn ones: outliers are habits of a model far more than of a picture.

use std::fmt;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use mplug::Precision;
use mplug::checkpoint::ModelFolder;
use mplug::config::Task;
use mplug::generate::NotANumber;
use mplug::preprocess::image::{ImageLimits, RgbImage};
use mplug::smoothing::{Observer, Smoothings};
use mplug::tasks::{Answerer, Captioner, LoadOptions, Matcher};
use mplug_bulk::{CollectOptions, Inputs};
use mplug_data::picture::{PictureLoader, split};
use mplug_data::synth::draw;

use crate::{hint, report};

/// Drawn pictures to run on, and their seed.
const DRAWN: u64 = 12;
const DRAWN_SEED: u64 = 20_261_125;
/// Most pictures of the user's that are looked at: more change nothing.
const MOST_PICTURES: usize = 64;
/// What a model that reads text as well is given to read: questions and statements in both languages.
const TEXTS: [&str; 4] = ["what is in the picture?", "图里有什么?", "a dog on the grass", "一群人在海滩上"];

/// The smoothing of each layer, and the pictures by which it was chosen.
pub(super) struct Calibration {
    pub(super) smoothings: Smoothings,
    num_pictures: usize,
    /// Where the pictures are; none for drawn ones.
    paths: Vec<PathBuf>,
}

impl Calibration {
    /// Runs the model of `folder` on the pictures of `paths` (files and folders), or on drawn ones.
    pub(super) fn new(folder: &ModelFolder, paths: &[PathBuf]) -> anyhow::Result<Self> {
        let pictures = if paths.is_empty() {
            (0..DRAWN).map(|index| draw(DRAWN_SEED, index).image).collect()
        } else {
            open_pictures(folder, paths)?
        };
        let observer = Observer::default();
        run(folder, &pictures, &LoadOptions { precision: Some(Precision::F32), observer: Some(&observer) })?;
        Ok(Self {
            smoothings: observer.smoothings(|name| folder.checkpoint().read_f32(name))?,
            num_pictures: pictures.len(),
            paths: paths.to_vec(),
        })
    }
}

/// On what the model was calibrated, what came of it, and what else there is.
impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.num_pictures;
        if self.paths.is_empty() {
            write!(f, "calibrated on {count} drawn pictures")?;
        } else {
            let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
            let pictures = if count == 1 { "picture" } else { "pictures" };
            write!(f, "calibrated on {count} {pictures} of {}", paths.join(", "))?;
        }
        let layers = self.smoothings.iter().count();
        let smoothed = self.smoothings.iter().filter(|(_, choice)| choice.smoothing.is_some()).count();
        write!(f, "; outliers smoothed in {smoothed} of {layers} linear layers")?;
        if self.paths.is_empty() {
            write!(f, "; to calibrate on pictures of your own: `--calibrate DIR`")?;
        }
        Ok(())
    }
}

fn open_pictures(folder: &ModelFolder, paths: &[PathBuf]) -> anyhow::Result<Vec<RgbImage>> {
    let options = CollectOptions { is_recursive: true, ..CollectOptions::default() };
    let mut inputs = Inputs::collect(paths, &options, std::io::stdin()).map_err(hint::of_bulk)?;
    inputs.list.truncate(MOST_PICTURES);
    let image_size = folder.config.vision.image_size as u32;
    let loader = PictureLoader { limits: ImageLimits::default(), image_size };
    let (images, indices) = split(inputs.load(&loader));
    for (input, index) in inputs.list.iter().zip(&indices) {
        if let Err(failure) = index {
            report::message(hint::of_failure(&input.path, failure));
        }
    }
    if images.is_empty() {
        bail!("`--calibrate`: none of the pictures can be read");
    }
    Ok(images)
}

/// Uses the model as its users will.
fn run(folder: &ModelFolder, pictures: &[RgbImage], options: &LoadOptions) -> anyhow::Result<()> {
    match folder.config.task {
        Task::ImageCaptioning => {
            let captioner = Captioner::load_with(folder, options)?;
            captioner.caption_batch(pictures, &captioner.default_options())?;
        }
        Task::VisualQuestionAnswering => {
            let answerer = Answerer::load_with(folder, options)?;
            answerer.answer_batch(pictures, &texts(pictures.len()), &answerer.default_options())?;
        }
        Task::ImageTextRetrieval => {
            let found = Matcher::load_with(folder, options)?.match_batch(pictures, &texts(pictures.len()))?;
            ensure!(found.iter().all(|probability| probability.is_finite()), "{NotANumber}");
        }
    }
    Ok(())
}

fn texts(count: usize) -> Vec<&'static str> {
    TEXTS.into_iter().cycle().take(count).collect()
}
