//! How much captions agree with references: BLEU, METEOR, ROUGE-L, CIDEr-D and SPICE, over tokens suited to each picture, so that a
//! data set may have pictures with Chinese references and pictures with English ones. Knows no vocabulary of a model.

use caption_metrics::bleu::bleu;
use caption_metrics::cider::cider;
use caption_metrics::corpus::Corpus;
use caption_metrics::meteor::{MeteorData, meteor};
use caption_metrics::rouge_l::rouge_l;
use caption_metrics::spice::{Spice, SpiceError};
use caption_metrics::tokenize::Tokenization;

/// One caption a picture beside that picture's references. Each figure is computed when it is requested.
#[derive(Debug)]
pub struct Agreement {
    captions: Vec<String>,
    references: Vec<Vec<String>>,
    corpus: Corpus,
}

impl Agreement {
    /// Tokenises captions and references.
    ///
    /// # Errors
    /// If captions and references do not belong together, or a picture has no references.
    pub fn of(captions: &[String], references: &[Vec<String>]) -> Result<Self, caption_metrics::Error> {
        let (candidates, of) = (captions.len(), references.len());
        if candidates != of {
            return Err(caption_metrics::Error::Lengths { candidates, references: of });
        }
        let suited = SuitedTokenizations::to(references);
        let captions: Vec<Vec<String>> = captions.iter().map(|caption| vec![caption.clone()]).collect();
        let captions = suited.tokenize(&captions)?.concat();
        let references = suited.tokenize(references)?;
        let corpus = Corpus::new(&captions, &references)?;
        Ok(Self { captions, references, corpus })
    }

    /// CIDEr-D, 0 to 10; the mean over pictures.
    pub fn cider(&self) -> f64 {
        cider(&self.corpus).corpus
    }

    /// CIDEr-D of every picture, with the length of its references.
    pub fn pictures(&self) -> Vec<PictureAgreement> {
        let tokens = |text: &String| text.split(' ').filter(|token| !token.is_empty()).count();
        let of_picture = |(cider, references): (f64, &Vec<String>)| {
            let sum: usize = references.iter().map(tokens).sum();
            PictureAgreement { cider, reference_tokens: sum as f64 / references.len().max(1) as f64 }
        };
        cider(&self.corpus).images.into_iter().zip(&self.references).map(of_picture).collect()
    }

    /// BLEU-1 to BLEU-4, 0 to 1 each, over all pictures' counts.
    pub fn bleu(&self) -> [f64; 4] {
        bleu(&self.corpus).corpus
    }

    /// ROUGE-L, 0 to 1; the mean over pictures.
    pub fn rouge_l(&self) -> f64 {
        rouge_l(&self.corpus).corpus
    }

    /// METEOR, 0 to 1, of all pictures' statistics; of its exact and stem modules alone where `data` has no more.
    ///
    /// # Errors
    /// None that [`Agreement::of`] has not found already.
    pub fn meteor(&self, data: &MeteorData) -> Result<f64, caption_metrics::Error> {
        Ok(meteor(data, &self.captions, &self.references)?.corpus)
    }

    /// SPICE, 0 to 1; the mean over pictures.
    ///
    /// # Errors
    /// If Java or the program fails.
    pub fn spice(&self, program: &Spice) -> Result<f64, SpiceError> {
        Ok(program.score(&self.captions, &self.references)?.corpus)
    }
}

/// What is found of one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureAgreement {
    /// CIDEr-D, 0 to 10.
    pub cider: f64,
    /// The mean length of its references in tokens.
    pub reference_tokens: f64,
}

/// How the captions of each picture become tokens: by characters where its references are Chinese, else by the reference
/// evaluator's tokenizer.
#[derive(Clone, Debug)]
pub struct SuitedTokenizations {
    of_picture: Vec<Tokenization>,
}

impl SuitedTokenizations {
    /// Those suited to the references of every picture.
    pub fn to(references: &[Vec<String>]) -> Self {
        let suited = |of_one: &Vec<String>| Tokenization::suited_to(of_one.iter().map(String::as_str));
        Self { of_picture: references.iter().map(suited).collect() }
    }

    /// The texts of every picture as strings of tokens. Pictures of one tokenization go through it together, in their order.
    ///
    /// # Errors
    /// None of the tokenizations used here fails.
    pub fn tokenize(&self, texts: &[Vec<String>]) -> Result<Vec<Vec<String>>, caption_metrics::Error> {
        let mut tokenized = vec![Vec::new(); texts.len()];
        for tokenization in [Tokenization::Char, Tokenization::Ptb] {
            let is_suited = |index: &usize| self.of_picture[*index] == tokenization;
            let indices: Vec<usize> = (0..texts.len()).filter(is_suited).collect();
            let group: Vec<Vec<String>> = indices.iter().map(|index| texts[*index].clone()).collect();
            for (index, texts) in indices.into_iter().zip(tokenization.tokenize_images(&group)?) {
                tokenized[index] = texts;
            }
        }
        Ok(tokenized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn each_picture_is_tokenized_as_its_references_ask() {
        let references = [strings(&["A red car.", "the car"]), strings(&["一辆车"])];
        let suited = SuitedTokenizations::to(&references);
        let found = suited.tokenize(&references).unwrap();
        assert_eq!(found, [strings(&["a red car", "the car"]), strings(&["一 辆 车"])]);
        let written = suited.tokenize(&[strings(&["a car"]), strings(&["a车"])]).unwrap();
        assert_eq!(written[0], ["a car"]);
        assert!(written[1][0].ends_with(" 车"), "{written:?}");
    }

    #[test]
    fn captions_that_are_references_agree_in_full() {
        let references = [strings(&["A red car on the road."]), strings(&["一辆蓝色的车"])];
        let agreement =
            Agreement::of(&strings(&["a red car on the road", "一辆蓝色的车"]), &references).unwrap();
        let [bleu_1, .., bleu_4] = agreement.bleu();
        assert!((bleu_1 - 1.0).abs() < 1e-6 && (bleu_4 - 1.0).abs() < 1e-6 && agreement.cider() > 9.9);
        let meteor = agreement.meteor(&MeteorData::without_resources()).unwrap();
        assert!((agreement.rouge_l() - 1.0).abs() < 1e-6 && meteor > 0.9, "{meteor}");
        assert!(Agreement::of(&strings(&["a"]), &references).is_err());
    }
}
