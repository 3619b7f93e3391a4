//! Captions into tokens.
//!
//! [`ptb`] is compatible with the Penn Treebank tokeniser that the reference evaluator runs (Stanford CoreNLP 3.4.1);
//! [`chinese`] has characters and words. [`Tokenization`] chooses among them: figures of different ones cannot be compared.

pub mod chinese;
pub mod ptb;

use rayon::prelude::*;
use serde::Serialize;

use crate::Error;

/// How captions become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
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
    /// `char` where at least half of the captions have a Chinese character, else `ptb`.
    pub fn suited_to<'c>(captions: impl IntoIterator<Item = &'c str>) -> Self {
        let (mut chinese, mut all) = (0_usize, 0_usize);
        for caption in captions {
            all += 1;
            chinese += usize::from(caption.chars().any(chinese::is_cjk));
        }
        if all > 0 && 2 * chinese >= all { Self::Char } else { Self::Ptb }
    }

    /// Tokenises captions, each on its own, in parallel: strings of tokens with one space between.
    ///
    /// # Errors
    /// [`Error::NoJieba`] for words in a build without jieba.
    pub fn tokenize<S: AsRef<str> + Sync>(self, captions: &[S]) -> Result<Vec<String>, Error> {
        #[cfg(not(feature = "jieba"))]
        if matches!(self, Self::Jieba | Self::Aic) {
            return Err(Error::NoJieba);
        }
        Ok(captions.par_iter().with_min_len(64).map(|caption| self.tokenize_one(caption.as_ref())).collect())
    }

    fn tokenize_one(self, caption: &str) -> String {
        match self {
            Self::Ptb => ptb::tokenize(caption),
            Self::Char => chinese::characters(caption),
            Self::None => caption.to_owned(),
            #[cfg(feature = "jieba")]
            Self::Jieba => chinese::words(caption.trim()).join(" "),
            #[cfg(feature = "jieba")]
            Self::Aic => {
                let caption = caption.trim().replace('。', "");
                ptb::tokenize(&chinese::words(&caption).join(" "))
            }
            #[cfg(not(feature = "jieba"))]
            Self::Jieba | Self::Aic => caption.to_owned(), // refused before
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_told_from_the_characters() {
        assert_eq!(Tokenization::suited_to(["一只猫", "a cat"]), Tokenization::Char);
        assert_eq!(Tokenization::suited_to(["a cat", "a dog", "狗"]), Tokenization::Ptb);
        assert_eq!(Tokenization::suited_to([]), Tokenization::Ptb);
    }

    #[cfg(not(feature = "jieba"))]
    #[test]
    fn words_need_jieba() {
        assert_eq!(Tokenization::Jieba.tokenize(&["猫"]), Err(Error::NoJieba));
    }
}
