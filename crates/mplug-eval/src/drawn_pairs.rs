//! Retrieval models on freshly drawn pictures and one caption of each. Drawn pictures are often similar, so that a caption may be
//! true of several: that is checked by program, and recall is counted both ways.

use mplug::preprocess::image::resize_bicubic;
use mplug_data::dataset::Language;
use mplug_data::synth::{ParsedCaption, Scene, captions_en, captions_zh, chosen_caption, compose, draw};
use rayon::prelude::*;

use crate::drawn::Drawn;
use crate::error::EvalError;
use crate::event::OnEvent;
use crate::pairs_report::{DrawnPairs, PairsReport, Recalls};
use crate::search::{Search, SearchPlan};

/// Draws pictures, and searches among them and one caption of each.
///
/// # Errors
/// [`EvalError::Model`] if the model has no contrastive head or cannot read a text, [`EvalError::NotANumber`], and
/// [`EvalError::Stopped`].
pub fn search(drawn: &Drawn, plan: &SearchPlan<'_>, on_event: OnEvent<'_>) -> Result<PairsReport, EvalError> {
    let scenes: Vec<Scene> = drawn.indices().par_iter().map(|&index| compose(drawn.seed, index)).collect();
    let texts = captions(drawn, &scenes);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let image_size = plan.matcher.config().vision.image_size as u32;
    let open =
        |index: usize| Ok(resize_bicubic(&draw(drawn.seed, index as u64).image, image_size, image_size));
    let name = |index: usize| format!("picture {}", index + 1);
    let search = Search { plan, open: &open, name: &name };
    let found = search.encode(drawn.count, on_event)?;
    if found.failed > 0 {
        return Err(mplug::Error::from(mplug::generate::NotANumber).into());
    }
    let Ok(ranking) = search.rank(&found, &texts, on_event)? else {
        return Err(mplug::Error::from(mplug::generate::NotANumber).into());
    };
    let own = ranking.recalls(|picture, text| picture == text);
    let also_true = also_true(&scenes, &texts);
    let all =
        ranking.recalls(|picture, text| picture == text || also_true[text].binary_search(&picture).is_ok());
    let of_others = DrawnPairs {
        synth_seed: drawn.seed,
        texts_of_others: also_true.iter().filter(|pictures| !pictures.is_empty()).count(),
        counting_others: Recalls::of(all),
    };
    let sizes = [drawn.count, drawn.count];
    Ok(PairsReport::new(sizes, 0, plan.rerank, Recalls::of(own)).with_drawn(of_others))
}

/// One caption of each drawn picture, the one that training would hold out.
fn captions(drawn: &Drawn, scenes: &[Scene]) -> Vec<String> {
    let caption = |(index, scene): (u64, &Scene)| {
        let captions = match drawn.language_of(index) {
            Language::Chinese => captions_zh(scene),
            Language::English => captions_en(scene),
        };
        chosen_caption(&captions, index).unwrap_or_default().to_owned()
    };
    (0..).zip(scenes).map(caption).collect()
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
        let texts = captions(&drawn, &scenes);
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
