//! How much captions agree with references: CIDEr-D and BLEU-4, over tokens suited to each picture, so that a data set may have
//! pictures with Chinese references and pictures with English ones. Knows no vocabulary of a model.

use caption_metrics::bleu::bleu;
use caption_metrics::cider::cider;
use caption_metrics::corpus::Corpus;
use caption_metrics::tokenize::Tokenization;

/// Figures of captions against references.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// CIDEr-D, 0 to 10; the mean over pictures.
    pub cider: f64,
    /// BLEU-4, 0 to 1, over all pictures' counts.
    pub bleu_4: f64,
}

impl Agreement {
    /// The figures of one caption a picture against that picture's references.
    ///
    /// # Errors
    /// If captions and references do not belong together, or a picture has no references.
    pub fn of(captions: &[String], references: &[Vec<String>]) -> Result<Self, caption_metrics::Error> {
        Self::of_each(captions, references).map(|(agreement, _)| agreement)
    }

    /// [`Agreement::of`], with what is found of every picture.
    ///
    /// # Errors
    /// If captions and references do not belong together, or a picture has no references.
    pub fn of_each(
        captions: &[String],
        references: &[Vec<String>],
    ) -> Result<(Self, Vec<PictureAgreement>), caption_metrics::Error> {
        let (candidates, of) = (captions.len(), references.len());
        if candidates != of {
            return Err(caption_metrics::Error::Lengths { candidates, references: of });
        }
        let suited = SuitedTokenizations::to(references);
        let candidates: Vec<Vec<String>> = captions.iter().map(|caption| vec![caption.clone()]).collect();
        let candidates = suited.tokenize(&candidates)?.concat();
        let references = suited.tokenize(references)?;
        let corpus = Corpus::new(&candidates, &references)?;
        let cider = cider(&corpus);
        let tokens = |text: &String| text.split(' ').filter(|token| !token.is_empty()).count();
        let of_picture = |(cider, references): (&f64, &Vec<String>)| PictureAgreement {
            cider: *cider,
            reference_tokens: references.iter().map(tokens).sum::<usize>() as f64
                / references.len().max(1) as f64,
        };
        let pictures = cider.images.iter().zip(&references).map(of_picture).collect();
        Ok((Self { cider: cider.corpus, bleu_4: bleu(&corpus).corpus[3] }, pictures))
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
        let captions = strings(&["a red car on the road", "一辆蓝色的车"]);
        let (whole, pictures) = Agreement::of_each(&captions, &references).unwrap();
        assert_eq!((whole, pictures.len()), (agreement, 2));
        assert_eq!(pictures.iter().map(|one| one.reference_tokens).collect::<Vec<_>>(), [6.0, 6.0]);
        assert!((agreement.bleu_4 - 1.0).abs() < 1e-6 && agreement.cider > 9.9, "{agreement:?}");
        assert!(Agreement::of(&strings(&["a"]), &references).is_err());
    }
}
