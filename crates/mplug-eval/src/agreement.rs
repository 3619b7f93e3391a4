//! Captions as tokens for the metrics: each picture's in the way suited to its references, so that a dataset may have
//! pictures with Chinese references and pictures with English ones. Knows no vocabulary of a model.

use caption_metrics::tokenize::Tokenization;

use crate::error::TrainError;

/// How the captions of each picture become tokens: by characters where its references are Chinese, else by the reference
/// evaluator's tokenizer.
pub(crate) struct SuitedTokenizations {
    of_picture: Vec<Tokenization>,
}

impl SuitedTokenizations {
    /// Those suited to the references of every picture.
    pub(crate) fn to(references: &[Vec<String>]) -> Self {
        let suited = |of_one: &Vec<String>| Tokenization::suited_to(of_one.iter().map(String::as_str));
        Self { of_picture: references.iter().map(suited).collect() }
    }

    /// The texts of every picture as strings of tokens. Pictures of one tokenization go through it together, in their order.
    pub(crate) fn tokenize(&self, texts: &[Vec<String>]) -> Result<Vec<Vec<String>>, TrainError> {
        let mut tokenized = vec![Vec::new(); texts.len()];
        for tokenization in [Tokenization::Char, Tokenization::Ptb] {
            let is_suited = |place: &usize| self.of_picture[*place] == tokenization;
            let places: Vec<usize> = (0..texts.len()).filter(is_suited).collect();
            let group: Vec<Vec<String>> = places.iter().map(|place| texts[*place].clone()).collect();
            for (place, texts) in places.into_iter().zip(tokenization.tokenize_images(&group)?) {
                tokenized[place] = texts;
            }
        }
        Ok(tokenized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_is_tokenized_as_its_references_ask() {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
        let references = [strings(&["A red car.", "the car"]), strings(&["一辆车"])];
        let suited = SuitedTokenizations::to(&references);
        let found = suited.tokenize(&references).expect("texts are plain");
        assert_eq!(found, [strings(&["a red car", "the car"]), strings(&["一 辆 车"])]);
        let written = suited.tokenize(&[strings(&["a car"]), strings(&["a车"])]).expect("texts are plain");
        assert_eq!(written[0], ["a car"]);
        assert!(written[1][0].ends_with(" 车"), "{written:?}");
    }
}
