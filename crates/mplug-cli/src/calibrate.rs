//! Prepares a model for int8: runs it on some pictures while its layers take note of what they are given. The pictures are
//! the user's, or drawn ones: outliers are habits of a model far more than of a picture.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use mplug::{
    Precision,
    checkpoint::ModelFolder,
    config::Task,
    generate::NotANumber,
    preprocess::image::{ImageLimits, RgbImage},
    quantize::{Observer, Smoothings},
    tasks::{Answerer, Captioner, LoadOptions, Matcher},
};
use mplug_data::synth::draw;

use crate::{
    inputs::Inputs,
    pictures::{self, PictureLoader},
    report,
};

/// Drawn pictures to run on, and their seed.
const DRAWN: u64 = 12;
const DRAWN_SEED: u64 = 20_261_125;
/// Most pictures of the user's that are looked at: more change nothing.
const MOST_PICTURES: usize = 64;
/// What a model that reads text as well is given to read: questions and statements in both languages.
const TEXTS: [&str; 4] = ["what is in the picture?", "图里有什么?", "a dog on the grass", "一群人在海滩上"];

/// The smoothing of each layer of `folder`, judged on the pictures of `paths` (files and folders), or on drawn ones.
pub(crate) fn smoothings(folder: &ModelFolder, paths: &[PathBuf]) -> anyhow::Result<Smoothings> {
    let pictures = if paths.is_empty() {
        (0..DRAWN).map(|index| draw(DRAWN_SEED, index).image).collect()
    } else {
        open_pictures(folder, paths)?
    };
    let observer = Observer::default();
    run(folder, &pictures, &LoadOptions { precision: Some(Precision::F32), observer: Some(&observer) })?;
    Ok(observer.smoothings(|name| folder.checkpoint().read_f32(name))?)
}

fn open_pictures(folder: &ModelFolder, paths: &[PathBuf]) -> anyhow::Result<Vec<RgbImage>> {
    let mut inputs = Inputs::collect(paths, true)?.list;
    inputs.truncate(MOST_PICTURES);
    let image_size = folder.config.vision.image_size as u32;
    let loader = PictureLoader { limits: ImageLimits::default(), image_size };
    let (images, places) = pictures::split(loader.load_batch(&inputs));
    for (input, place) in inputs.iter().zip(&places) {
        if let Err(reason) = place {
            report::message(report::about(&input.path, reason));
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
            let found = Matcher::load_with(folder, options)?.match_batch(pictures, &texts(pictures.len()));
            ensure!(found.iter().all(|probability| probability.is_finite()), "{NotANumber}");
        }
    }
    Ok(())
}

fn texts(count: usize) -> Vec<&'static str> {
    TEXTS.into_iter().cycle().take(count).collect()
}
