//! From tokens to text: the original's spacing, and the spacing that Chinese readers expect.
//!
//! Source: `BertTokenizer.decode` of transformers 4.57. Refuses to know ids and vocabularies.

use super::basic::is_chinese;

/// The clean-up of transformers' `clean_up_tokenization`, in its order.
const CLEAN_UP: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// Tokens with one space between them, `##` pieces joined to what precedes them, English punctuation moved up.
pub(super) fn detokenize<'t>(tokens: impl Iterator<Item = &'t str>) -> String {
    let joined = tokens.collect::<Vec<_>>().join(" ").replace(" ##", "");
    CLEAN_UP.iter().fold(joined.trim().to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Removes the spaces that Chinese text does not have: "一 群 人 ， 2 只 cat" becomes "一群人，2 只 cat".
///
/// The rule: a space goes where the characters on **both** sides are Chinese characters (or quotes, dashes and dots
/// that Chinese shares with other scripts), and where the character on **either** side is Chinese punctuation or a
/// full-width form. So a space between two Latin words, and one between a Latin word or a number and a Chinese
/// character, stays. (The original's helper does so between Chinese characters only, and its pipelines do not call it.)
pub fn join_chinese(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        joined.push(character);
        let mut spaces = 0;
        while character != ' ' && rest.next_if_eq(&' ').is_some() {
            spaces += 1;
        }
        if !rest.peek().is_some_and(|&next| is_set_solid(character, next)) {
            joined.extend(std::iter::repeat_n(' ', spaces));
        }
    }
    joined
}

/// Whether `text` has `word`, both as [`join_chinese`] leaves them. Where a word begins or ends in a letter or digit of a script
/// with spaces, no such letter or digit may stand before or behind it: "cat" is in "a cat on 2 mats", "at" is not; "猫" is in "小猫".
pub fn has_word(text: &str, word: &str) -> bool {
    let is_spaced = |character: char| character.is_alphanumeric() && !is_chinese(character);
    let goes_on = |inside: Option<char>, outside: Option<char>| {
        inside.is_some_and(is_spaced) && outside.is_some_and(is_spaced)
    };
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !goes_on(word.chars().next(), before.chars().next_back())
            && !goes_on(word.chars().next_back(), after.chars().next())
    })
}

/// Whether Chinese typography sets the two characters without a space between them.
fn is_set_solid(left: char, right: char) -> bool {
    is_full_width(left) || is_full_width(right) || is_chinese_or_shared(left) && is_chinese_or_shared(right)
}

/// Chinese punctuation and full-width forms, which carry their own space: 、。《》【】，！？（）％￥.
fn is_full_width(character: char) -> bool {
    matches!(character, '\u{3001}'..='\u{303F}' | '\u{FF01}'..='\u{FF60}' | '\u{FFE0}'..='\u{FFE6}')
}

fn is_chinese_or_shared(character: char) -> bool {
    is_chinese(character) || matches!(character, '‘' | '’' | '“' | '”' | '…' | '—' | '·')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_between_chinese_go_and_others_stay() {
        assert_eq!(join_chinese("一 群 人 在 海 滩 上 。 a"), "一群人在海滩上。a");
        assert_eq!(join_chinese("穿 t 恤 的 2 只 cat dog ， 走"), "穿 t 恤的 2 只 cat dog，走");
        assert_eq!(join_chinese("“ 你 好 ” , a man's hat. "), "“你好” , a man's hat. ");
        assert_eq!(join_chinese("人  人 "), "人人 ");
        assert_eq!(join_chinese(""), "");
    }

    #[test]
    fn words_are_found_whole() {
        for word in ["cat", "2", "小猫", "猫", "cat,", "a cat"] {
            assert!(has_word("a cat, 2小猫 mats", word), "{word}");
        }
        for word in ["at", "ca", "mat", "猫小", "cats"] {
            assert!(!has_word("a cat, 2小猫 mats", word), "{word}");
        }
        assert!(has_word("concat cat", "cat"), "a later position counts too");
    }

    #[test]
    fn clean_up_follows_the_original() {
        let text = |tokens: &[&str]| detokenize(tokens.iter().copied());
        assert_eq!(text(&["do", "n't", "stop", ",", "un", "##able", "!"]), "don't stop, unable!");
        assert_eq!(text(&["##ab", "it", "'", "s"]), "##ab it's");
        assert_eq!(text(&[]), "");
    }
}
