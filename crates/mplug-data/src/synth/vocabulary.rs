//! The vocabulary of models of drawn pictures: every token that captions, questions and answers can have.
//!
//! The numbers of special tokens are BERT's. The words of questions stand behind those of captions, so that the numbers
//! of a captioning model's tokens hold for every model. This file refuses to know sentences.

use std::collections::BTreeSet;

use super::caption::caption_words;
use super::question::question_words;

/// A `vocab.txt` for models of drawn pictures: BERT's special tokens at BERT's numbers (`[PAD]` 0, `[UNK]` 100, `[CLS]`
/// 101, `[SEP]` 102, `[MASK]` 103), ASCII digits, letters and punctuation, then every Chinese character and every
/// English word that a caption can have, then those that only questions, answers and false captions have. One token a
/// line. The demo models have it whole.
pub fn demo_vocabulary() -> String {
    let mut lines = vec!["[PAD]".to_owned()];
    lines.extend((1..100).map(|i| format!("[unused{i}]")));
    lines.extend(["[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned));
    lines.extend(('!'..='~').filter(|c| !c.is_ascii_uppercase()).map(String::from));
    lines.extend("，。！？、".chars().map(String::from));
    let mut known: BTreeSet<String> = lines.iter().cloned().collect();
    for text in [caption_words(), question_words()] {
        let (chinese, english) = tokens(&text);
        lines.extend(chinese.into_iter().chain(english).filter(|token| known.insert(token.clone())));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// The Chinese characters and the English words of a text, both sorted; punctuation is left out.
fn tokens(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let chinese = text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()).map(String::from).collect();
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    (chinese, words.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_words_are_told_apart() {
        let (chinese, english) = tokens("is there 一只猫, a cat？一");
        assert_eq!(chinese.into_iter().collect::<String>(), "一只猫");
        assert_eq!(english.into_iter().collect::<Vec<_>>(), ["a", "cat", "is", "there"]);
    }
}
