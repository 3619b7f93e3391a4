//! How texts fit a model: which are cut at its length, and which have words that its vocabulary lacks. The original says nothing of
//! either; whoever reads a score or an answer may want to know.

use super::Tokenizer;

/// Words that are named.
const NAMED: usize = 5;
/// Characters that are shown of a word.
const SHOWN: usize = 24;

/// How some texts fit a model. Made by [`Answerer::text_fit`](crate::tasks::Answerer::text_fit),
/// [`Matcher::text_fit`](crate::tasks::Matcher::text_fit) and [`Tokenizer::fit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFit {
    /// Texts that were looked at.
    pub texts: usize,
    /// Of these, texts that are longer than the model's and cut.
    pub cut: usize,
    /// Tokens at which they are cut, those that begin and end a text included.
    pub max_len: usize,
    /// Tokens of all texts, without those that begin and end one, before they are cut.
    pub tokens: usize,
    /// Of these, words that the vocabulary lacks: each becomes `[UNK]`.
    pub unknown: usize,
    /// Texts that have such words.
    pub with_unknown: usize,
    /// The first of those words; of words without spaces between them the character that is lacking.
    pub unknown_words: Vec<String>,
}

impl TextFit {
    /// What a reader of the results should know, a sentence each; nothing where all texts fit.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.cut > 0 {
            let were = if self.cut == 1 { "text was" } else { "texts were" };
            notes.push(format!("{} {were} cut at {} tokens", self.cut, self.max_len));
        }
        if self.unknown > 0 {
            let have = if self.with_unknown == 1 { "text has" } else { "texts have" };
            notes.push(format!(
                "{} {have} words that the vocabulary lacks ({} of {} tokens), such as {}",
                self.with_unknown,
                self.unknown,
                self.tokens,
                self.unknown_words.join(", ")
            ));
        }
        notes
    }

    fn add(&mut self, tokenizer: &Tokenizer, text: &str) {
        let ids = tokenizer.encode(text, usize::MAX); // [CLS] … [SEP]
        let unknown = ids.iter().filter(|id| **id == tokenizer.unk_token_id()).count();
        self.texts += 1;
        self.cut += usize::from(ids.len() > self.max_len.max(2));
        self.tokens += ids.len() - 2;
        self.unknown += unknown;
        self.with_unknown += usize::from(unknown > 0);
        if unknown > 0 && self.unknown_words.len() < NAMED {
            self.name_unknown(tokenizer, text);
        }
    }

    fn name_unknown(&mut self, tokenizer: &Tokenizer, text: &str) {
        let is_unknown =
            |piece: &str| tokenizer.encode(piece, usize::MAX).contains(&tokenizer.unk_token_id());
        for word in text.split_whitespace().filter(|word| is_unknown(word)) {
            let character = word.chars().map(String::from).find(|character| is_unknown(character));
            let found = character.unwrap_or_else(|| word.chars().take(SHOWN).collect());
            if self.unknown_words.len() < NAMED && !self.unknown_words.contains(&found) {
                self.unknown_words.push(found);
            }
        }
    }
}

impl Tokenizer {
    /// How texts fit a model that reads at most `max_len` tokens of each.
    pub fn fit(&self, texts: impl IntoIterator<Item = impl AsRef<str>>, max_len: usize) -> TextFit {
        let mut fit = TextFit { max_len, ..TextFit::default() };
        for text in texts {
            fit.add(self, text.as_ref());
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_texts_and_unknown_words_are_counted() {
        let tokenizer = Tokenizer::from_vocab("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n##s\n")
            .expect("a vocabulary");
        let fit = tokenizer.fit(["the cats", "the cats the", "a dog, the cat 猫猫", ""], 5);
        let expected = TextFit {
            texts: 4,
            cut: 2,
            max_len: 5,
            tokens: 3 + 4 + 7,
            unknown: 5,
            with_unknown: 1,
            unknown_words: ["a", "d", "猫"].map(str::to_owned).to_vec(),
        };
        assert_eq!(fit, expected);
        assert_eq!(
            fit.notes(),
            [
                "2 texts were cut at 5 tokens",
                "1 text has words that the vocabulary lacks (5 of 14 tokens), such as a, d, 猫"
            ]
        );
        assert!(tokenizer.fit(["the cat"], 5).notes().is_empty());
        assert_eq!(tokenizer.fit(["the cats the"], 5).notes(), ["1 text was cut at 5 tokens"]);
    }
}
