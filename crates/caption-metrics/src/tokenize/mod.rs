//! Captions into tokens.
//!
//! [`ptb`] is compatible with the Penn Treebank tokeniser that the reference evaluator runs (Stanford CoreNLP 3.4.1);
//! [`chinese`] has characters and words. [`Tokenization`] chooses among them: figures of different ones cannot be compared.

pub mod chinese;
pub mod ptb;

use rayon::prelude::*;

use crate::Error;

/// How captions become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokenization {
    /// [`ptb`]: what everybody reports for English.
    Ptb,
    /// [`chinese::characters`]: what is mostly reported for Chinese.
    Char,
    /// Words by jieba, with their punctuation.
    Jieba,
    /// The AI Challenger evaluator's pipeline: full stops (`。`) taken out, words by jieba, then [`ptb`].
    Aic,
    /// Captions are tokens already, with spaces between.
    None,
}

impl Tokenization {
    /// Its name in reports: `ptb`, `char`, `jieba`, `aic`, `none`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ptb => "ptb",
            Self::Char => "char",
            Self::Jieba => "jieba",
            Self::Aic => "aic",
            Self::None => "none",
        }
    }

    /// `char` where at least half of the captions have a Chinese character, else `ptb`.
    pub fn suited_to<'c>(captions: impl IntoIterator<Item = &'c str>) -> Self {
        let (mut chinese, mut all) = (0_usize, 0_usize);
        for caption in captions {
            all += 1;
            chinese += usize::from(caption.chars().any(chinese::is_cjk));
        }
        if all > 0 && 2 * chinese >= all { Self::Char } else { Self::Ptb }
    }

    /// Tokenises captions in parallel: strings of tokens with one space between.
    ///
    /// Their order matters a little: [`ptb`] sees a few first characters of the caption that follows, as the reference
    /// evaluator does, which gives it all references of all images in one file, and all candidates in another.
    ///
    /// # Errors
    /// [`Error::NoJieba`] for words in a build without jieba.
    pub fn tokenize<S: AsRef<str> + Sync>(self, captions: &[S]) -> Result<Vec<String>, Error> {
        let each = |tokenize: fn(&str) -> String| {
            let captions = captions.par_iter().with_min_len(64);
            captions.map(|caption| tokenize(caption.as_ref())).collect::<Vec<String>>()
        };
        Ok(match self {
            Self::Ptb => ptb::tokenize_in_order(captions),
            Self::Char => each(chinese::characters),
            Self::None => each(str::to_owned),
            #[cfg(feature = "jieba")]
            Self::Jieba => each(|caption| chinese::words(caption.trim()).join(" ")),
            #[cfg(feature = "jieba")]
            Self::Aic => {
                let words = |caption: &str| chinese::words(&caption.trim().replace('。', "")).join(" ");
                ptb::tokenize_in_order(&each(words))
            }
            #[cfg(not(feature = "jieba"))]
            Self::Jieba | Self::Aic => return Err(Error::NoJieba),
        })
    }

    /// Tokenises the captions of many images as one list, so that each has the neighbours that it has in the reference
    /// evaluator: image by image, the last caption of each would stand at the end of a document.
    ///
    /// # Errors
    /// As [`Tokenization::tokenize`].
    pub fn tokenize_images<S: AsRef<str>>(self, images: &[Vec<S>]) -> Result<Vec<Vec<String>>, Error> {
        let all: Vec<&str> = images.iter().flatten().map(AsRef::as_ref).collect();
        let mut tokens = self.tokenize(&all)?.into_iter();
        Ok(images.iter().map(|image| tokens.by_ref().take(image.len()).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_detected_by_the_characters() {
        assert_eq!(Tokenization::suited_to(["一只猫", "a cat"]), Tokenization::Char);
        assert_eq!(Tokenization::suited_to(["a cat", "a dog", "狗"]), Tokenization::Ptb);
        assert_eq!(Tokenization::suited_to([]), Tokenization::Ptb);
    }

    #[test]
    fn images_keep_their_neighbours() {
        let images = [vec!["they're", "vitamin C."], vec![], vec!["The end, they're"]];
        let tokens = Tokenization::Ptb.tokenize_images(&images).unwrap();
        assert_eq!(tokens[0], ["they 're", "vitamin c"], "a caption that starts with `The` follows");
        assert_eq!((tokens[1].len(), tokens[2][0].as_str()), (0, "the end they re"), "the document's end");
    }

    #[cfg(not(feature = "jieba"))]
    #[test]
    fn words_need_jieba() {
        assert_eq!(Tokenization::Jieba.tokenize(&["猫"]), Err(Error::NoJieba));
    }
}
