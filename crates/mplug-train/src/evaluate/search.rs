//! How well pictures and texts find each other, computed as `mplug eval` does. Of each picture and text only its features are
//! kept (a kilobyte each); a picture whose texts the matching head reads is opened and encoded once more.

use std::collections::HashMap;

use mplug::contrastive_head::ContrastiveHead;
use mplug::model::{Multimodal, RetrievalHeads};
use mplug::visual_encoder::VisualEncoder;
use mplug_eval::retrieval::{Candidates, Features, Ranking};

use super::{Evaluation, Evaluator};
use crate::config::BestBy;
use crate::engine_copy::EngineCopy;
use crate::error::TrainError;
use crate::training_data::{EncodedExample, Split, TrainingData};

/// Texts that a worker takes at once.
const TEXTS_AT_ONCE: usize = 16;

/// The model in the engine.
struct Searcher {
    visual_encoder: VisualEncoder,
    multimodal: Multimodal,
    heads: RetrievalHeads,
    contrast: ContrastiveHead,
    width: usize,
}

impl Searcher {
    fn new(copy: EngineCopy<'_>) -> Result<Self, TrainError> {
        let mut heads = copy.retrieval_heads()?;
        let contrast = heads.contrastive.take().ok_or_else(|| {
            TrainError::Recipe("expected a model with projections for retrieval, found none".to_owned())
        })?;
        Ok(Self {
            multimodal: copy.multimodal()?,
            visual_encoder: copy.visual_encoder()?,
            heads,
            contrast,
            width: copy.config.text.hidden_size,
        })
    }

    fn picture_features(&self, example: &EncodedExample) -> Vec<f32> {
        self.contrast.image_features(&self.visual_encoder.forward(&example.pixel_values))
    }

    fn text_features(&self, text: &[u32]) -> Vec<f32> {
        self.contrast.text_features(&self.multimodal.text_encoder.forward(text, text.len()))
    }

    /// The logarithm of the odds that each of `texts` describes the picture. In the order of the probability, but never
    /// rounded to an end, so that pairs beyond doubt keep their order.
    fn log_odds<'t>(&self, example: &EncodedExample, texts: impl Iterator<Item = &'t [u32]>) -> Vec<f32> {
        let image = self.visual_encoder.forward(&example.pixel_values);
        let picture = self.multimodal.fusion_encoder.attend_to(image);
        let odds = |text: &[u32]| {
            let fused = self.multimodal.fuse(&picture, text, text.len());
            let classes = self.heads.matching.forward(&fused.text[..self.width]); // [no match, match]
            classes[1] - classes[0]
        };
        texts.map(odds).collect()
    }
}

/// The held-out texts, and the pictures that they are of.
struct Pairs {
    texts: Vec<Vec<u32>>,
    /// Of each text, its picture's row.
    picture_of_text: Vec<usize>,
    /// Of each picture, the number of the first example with it.
    pictures: Vec<u64>,
}

impl Pairs {
    fn read(data: &dyn TrainingData, count: usize) -> Result<Self, TrainError> {
        let mut pairs = Self { texts: Vec::new(), picture_of_text: Vec::new(), pictures: Vec::new() };
        let mut rows = HashMap::new();
        for index in 0..count as u64 {
            let (picture, text) = data.held_out_text(index)?;
            let row = *rows.entry(picture).or_insert_with(|| {
                pairs.pictures.push(index);
                pairs.pictures.len() - 1
            });
            pairs.picture_of_text.push(row);
            pairs.texts.push(text);
        }
        Ok(pairs)
    }
}

impl Evaluator<'_> {
    /// Recall of pictures by texts and of texts by pictures, of the first `count` held-out pairs.
    pub(super) fn searched(&self, count: usize) -> Result<Evaluation, TrainError> {
        let searcher = Searcher::new(EngineCopy { model: self.model, config: self.config })?;
        let pairs = Pairs::read(self.data, count)?;
        let features = self.features(&searcher, &pairs)?;
        let candidates = self.workers.run_together(|| Candidates::of(&features, self.plan.rerank));
        let log_odds = self.match_pairs(&searcher, &pairs, &candidates.texts_by_picture())?;
        drop(searcher);
        let ranking = Ranking::new(features, candidates, log_odds);
        let is_right = |picture: usize, text: usize| pairs.picture_of_text[text] == picture;
        let report = self.workers.run_together(|| ranking.recalls(is_right));
        let [texts, pictures] = [report.text_retrieval, report.image_retrieval];
        let recalls = [
            (BestBy::TextR1, texts.r1),
            (BestBy::TextR5, texts.r5),
            (BestBy::TextR10, texts.r10),
            (BestBy::ImageR1, pictures.r1),
            (BestBy::ImageR5, pictures.r5),
            (BestBy::ImageR10, pictures.r10),
        ];
        let mean = recalls.iter().map(|(_, value)| value).sum::<f64>() / recalls.len() as f64;
        let all = recalls.into_iter().chain([(BestBy::RMean, mean)]);
        let metrics = all.map(|(figure, value)| (figure.name(), value)).collect();
        Ok(Evaluation { metrics, ..Evaluation::default() })
    }

    /// The features of all pictures and texts.
    fn features(&self, searcher: &Searcher, pairs: &Pairs) -> Result<Features, TrainError> {
        let pictures = self.workers.deal(pairs.pictures.len(), |row| {
            self.go_on()?;
            let example = self.data.example(Split::HeldOut, pairs.pictures[row])?;
            Ok(searcher.picture_features(&example))
        })?;
        let groups: Vec<&[Vec<u32>]> = pairs.texts.chunks(TEXTS_AT_ONCE).collect();
        let texts = self.workers.deal(groups.len(), |group| {
            self.go_on()?;
            Ok(groups[group].iter().map(|text| searcher.text_features(text)).collect::<Vec<_>>())
        })?;
        Ok(Features { pictures, texts: texts.concat() })
    }

    /// The logarithm of the odds of candidates, which are texts by picture.
    fn match_pairs(
        &self,
        searcher: &Searcher,
        pairs: &Pairs,
        candidates: &[Vec<usize>],
    ) -> Result<Vec<Vec<(usize, f32)>>, TrainError> {
        self.workers.deal(candidates.len(), |row| {
            self.go_on()?;
            let texts = &candidates[row];
            if texts.is_empty() {
                return Ok(Vec::new());
            }
            let example = self.data.example(Split::HeldOut, pairs.pictures[row])?;
            let odds = searcher.log_odds(&example, texts.iter().map(|text| &pairs.texts[*text][..]));
            Ok(texts.iter().copied().zip(odds).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Their probabilities all round to 1: ranked by those, the pairs would be equal.
    #[test]
    fn pairs_beyond_doubt_keep_their_order() {
        let odds = [30.0, 30.5, 31.0];
        let features = Features { pictures: vec![vec![1.0]], texts: vec![vec![0.9], vec![0.8], vec![0.7]] };
        let candidates = Candidates::of(&features, 3);
        let ranking = Ranking::new(features, candidates, vec![(0..).zip(odds).collect()]);
        let recall = ranking.recalls(|_, text| text == 2).text_retrieval;
        assert!(recall.r1 > 0.99, "{recall:?}");
    }
}
