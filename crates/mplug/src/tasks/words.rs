//! From the words of [`GenerationOptions`] to [`Constraints`]: read by the tokenizer, as texts will be returned, and checked before
//! anything is generated.

use std::sync::Arc;

use super::{raw_text_of, word_ids};
use crate::error::Error;
use crate::generate::GenerationOptions;
use crate::generate::constraints::{Constraints, RequiredWord, TextOf};
use crate::preprocess::text::{Tokenizer, has_word, join_chinese};

/// The words that texts must and must not have, if there are any.
///
/// `begun` are the tokens that every text begins with.
pub(super) fn constraints(
    tokenizer: &Arc<Tokenizer>,
    begun: &[u32],
    options: &GenerationOptions,
) -> Result<Option<Constraints>, Error> {
    if options.forbidden_words.is_empty() && options.required_words.is_empty() {
        return Ok(None);
    }
    let text_of: TextOf = {
        let (tokenizer, begun) = (Arc::clone(tokenizer), begun.to_vec());
        Arc::new(move |token_ids| join_chinese(&raw_text_of(&tokenizer, &begun, token_ids)))
    };
    let forbidden = forbidden(tokenizer, &text_of(&[]), &options.forbidden_words)?;
    let required = required(tokenizer, &forbidden, &options.required_words)?;
    let least: usize = required.iter().map(|word| word.token_ids.len()).sum();
    if least >= options.max_new_tokens {
        let most = options.max_new_tokens;
        let problem = format!("takes {least} tokens and the end; at most {most} are generated");
        return Err(error(&options.required_words.join(" "), problem));
    }
    Ok(Some(Constraints::new(text_of, has_word, forbidden, required)))
}

/// `begun` is what every text begins with.
fn forbidden(tokenizer: &Tokenizer, begun: &str, words: &[String]) -> Result<Vec<String>, Error> {
    let mut forbidden = Vec::with_capacity(words.len());
    for word in words {
        let token_ids = word_ids(tokenizer, word);
        if token_ids.is_empty() {
            return Err(error(word, "has nothing in it that could be forbidden"));
        }
        let is_beyond = tokenizer.check_ids(word, &token_ids).is_err();
        if is_beyond || token_ids.contains(&tokenizer.unk_token_id()) {
            continue; // The model cannot write it.
        }
        let text = text(tokenizer, &token_ids);
        if has_word(begun, &text) {
            return Err(error(word, "is forbidden, but the prefix has it"));
        }
        forbidden.push(text);
    }
    Ok(forbidden)
}

fn required(
    tokenizer: &Tokenizer,
    forbidden: &[String],
    words: &[String],
) -> Result<Vec<RequiredWord>, Error> {
    let mut required = Vec::with_capacity(words.len());
    for word in words {
        let token_ids = word_ids(tokenizer, word);
        if token_ids.is_empty() || token_ids.contains(&tokenizer.unk_token_id()) {
            return Err(error(word, "is required, but the model's vocabulary cannot write it"));
        }
        tokenizer.check_ids(word, &token_ids)?;
        let text = text(tokenizer, &token_ids);
        if let Some(clash) = forbidden.iter().find(|clash| has_word(&text, clash)) {
            return Err(error(word, format!("is required, but `{clash}` is forbidden")));
        }
        required.push(RequiredWord { text, token_ids });
    }
    Ok(required)
}

/// A word as texts have it: in lower case where the model knows no other, Chinese without spaces.
fn text(tokenizer: &Tokenizer, token_ids: &[u32]) -> String {
    join_chinese(&tokenizer.decode(token_ids))
}

fn error(word: &str, problem: impl Into<String>) -> Error {
    Error::Word { word: word.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\nred\n##s\n猫\n小\n";

    fn checked(options: &GenerationOptions) -> Result<usize, String> {
        let tokenizer = Arc::new(Tokenizer::from_vocab(VOCABULARY).unwrap());
        let begun = word_ids(&tokenizer, "a");
        let found = constraints(&tokenizer, &begun, options).map_err(|error| error.to_string())?;
        Ok(usize::from(found.is_some()))
    }

    fn options(forbidden: &[&str], required: &[&str]) -> GenerationOptions {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        GenerationOptions {
            forbidden_words: words(forbidden),
            required_words: words(required),
            max_new_tokens: 5,
            ..GenerationOptions::default()
        }
    }

    #[test]
    fn words_are_checked_before_anything_is_written() {
        assert_eq!(checked(&options(&[], &[])), Ok(0));
        assert_eq!(checked(&options(&["Cats", "dog"], &["小猫", "RED"])), Ok(1));
        for (forbidden, required, expected) in [
            (&["a"][..], &[][..], "prefix"),
            (&[" "], &[], "nothing in it"),
            (&[], &["dog"], "cannot write"),
            (&["猫"], &["小猫"], "`猫` is forbidden"),
            (&[], &["red cat", "小猫", "a"], "takes 5 tokens"),
        ] {
            let problem = checked(&options(forbidden, required)).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
