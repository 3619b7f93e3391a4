//! Retrieval models on datasets and on freshly drawn pictures: what the pictures and texts are, and which belong together.
//! `retrieval` ranks them, `caption-metrics` counts.

use std::path::Path;

use anyhow::ensure;
use caption_metrics::retrieval::recalls_of;
use mplug::{
    checkpoint::ModelFolder, generate::NotANumber, preprocess::image::resize_bicubic, tasks::Matcher,
};
use mplug_data::dataset::Language;
use mplug_data::synth::{ParsedCaption, Scene, captions_en, captions_zh, chosen_caption, compose, draw};
use rayon::prelude::*;

use super::{
    EvalArgs,
    drawn::Drawn,
    pairs_report::{DrawnPairs, PairsReport, Recalls},
    retrieval::{DEFAULT_RERANK, Search, of_read},
};
use crate::{pictures, precision, status::Status};

/// Searches among the pictures of the dataset `path` and all their captions, and reports.
pub(super) fn evaluate(args: &EvalArgs, folder: &ModelFolder, path: &Path) -> anyhow::Result<Status> {
    let dataset = args.reading.open(path, args.limits.limits())?;
    let (mut texts, mut picture_of_text) = (Vec::new(), Vec::new());
    for (picture, record) in dataset.annotations().records.iter().enumerate() {
        for text in record.references.iter().filter(|text| !text.trim().is_empty()) {
            texts.push(text.as_str());
            picture_of_text.push(picture);
        }
    }
    ensure!(!texts.is_empty(), "{}: has no captions to search by", dataset.annotations().path.display());
    let matcher = load(args, folder)?;
    let side = matcher.config().vision.image_size as u32;
    let open = |place: usize| pictures::open_example(&dataset, place, side).map_err(|failure| failure.reason);
    let search = search(args, &matcher, &open);
    let found = search.encode(dataset.annotations().records.len())?;
    let of_read = of_read(&found, &picture_of_text)?;
    let (num_pictures, failed) = (found.numbers.len(), found.failed);
    let read: Vec<&str> = of_read.iter().map(|&(text, _)| texts[text]).collect();
    let ranking = search.rank(found, &read)?;
    let recalls =
        recalls_of(&ranking, [num_pictures, read.len()], |picture, text| of_read[text].1 == picture);
    let report = PairsReport::new([num_pictures, read.len()], failed, search.rerank, Recalls::of(recalls));
    args.output.write_form(|to| report.write_text(to), || serde_json::to_value(&report))?;
    Ok(Status::of_failures(failed))
}

/// Draws pictures, searches among them and one caption of each, and reports.
pub(super) fn evaluate_drawn(args: &EvalArgs, folder: &ModelFolder) -> anyhow::Result<Status> {
    let drawn = Drawn::of(args);
    let scenes: Vec<Scene> = drawn.indices().par_iter().map(|&index| compose(drawn.seed, index)).collect();
    let texts: Vec<String> =
        drawn.indices().iter().zip(&scenes).map(|(&index, scene)| caption(&drawn, index, scene)).collect();
    let matcher = load(args, folder)?;
    let side = matcher.config().vision.image_size as u32;
    let open = |index: usize| Ok(resize_bicubic(&draw(drawn.seed, index as u64).image, side, side));
    let search = search(args, &matcher, &open);
    let found = search.encode(drawn.count)?;
    ensure!(found.failed == 0, "{NotANumber}");
    let read: Vec<&str> = texts.iter().map(String::as_str).collect();
    let ranking = search.rank(found, &read)?;
    let sizes = [drawn.count, drawn.count];
    let own = recalls_of(&ranking, sizes, |picture, text| picture == text);
    let also_true = also_true(&scenes, &read);
    let all = recalls_of(&ranking, sizes, |picture, text| {
        picture == text || also_true[text].binary_search(&picture).is_ok()
    });
    let of_others = DrawnPairs {
        synth_seed: drawn.seed,
        texts_of_others: also_true.iter().filter(|pictures| !pictures.is_empty()).count(),
        counting_others: Recalls::of(all),
    };
    let report = PairsReport::new(sizes, 0, search.rerank, Recalls::of(own)).with_drawn(of_others);
    args.output.write_form(|to| report.write_text(to), || serde_json::to_value(&report))?;
    Ok(Status::Good)
}

fn load(args: &EvalArgs, folder: &ModelFolder) -> anyhow::Result<Matcher> {
    let matcher = Matcher::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    matcher.contrastive_head()?; // before anything is read or drawn
    Ok(matcher)
}

fn search<'a>(
    args: &EvalArgs,
    matcher: &'a Matcher,
    open: &'a (dyn Fn(usize) -> Result<image::RgbImage, String> + Sync),
) -> Search<'a> {
    let rerank = args.rerank.unwrap_or(DEFAULT_RERANK);
    Search { matcher, open, batch_size: args.batch.batch_size, rerank }
}

/// The caption of drawn picture `index`, the one that training would hold out.
fn caption(drawn: &Drawn, index: u64, scene: &Scene) -> String {
    let captions = match drawn.language_of(index) {
        Language::Chinese => captions_zh(scene),
        Language::English => captions_en(scene),
    };
    chosen_caption(&captions, index).unwrap_or_default().to_owned()
}

/// For each text the other pictures of which it is true, ascending; text `n` is of scene `n`.
fn also_true(scenes: &[Scene], texts: &[&str]) -> Vec<Vec<usize>> {
    let of_text = |(own, text): (usize, &&str)| {
        let parsed = ParsedCaption::new(text);
        let others = (0..scenes.len()).filter(|&picture| picture != own);
        others.filter(|&picture| parsed.check(&scenes[picture]).is_true()).collect()
    };
    texts.par_iter().enumerate().map(of_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_true_of_other_pictures_are_found() {
        let drawn = Drawn { seed: 2, count: 200, language: None };
        let scenes: Vec<Scene> = drawn.indices().iter().map(|&index| compose(drawn.seed, index)).collect();
        let texts: Vec<String> = drawn
            .indices()
            .iter()
            .zip(&scenes)
            .map(|(&index, scene)| caption(&drawn, index, scene))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let found = also_true(&scenes, &texts);
        for (text, pictures) in found.iter().enumerate() {
            assert!(pictures.is_sorted() && !pictures.contains(&text));
            // Equal texts are true of each other's pictures.
            let equal = (0..texts.len()).filter(|&other| other != text && texts[other] == texts[text]);
            assert!(equal.into_iter().all(|other| pictures.contains(&other)));
        }
    }
}
