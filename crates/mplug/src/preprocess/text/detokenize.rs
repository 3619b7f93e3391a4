//! From tokens to text: the original's spacing, and the spacing that Chinese readers expect.
//!
//! Source: SPEC 2.3. Refuses to know ids and vocabularies.

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

/// Removes the spaces between Chinese characters: "一 群 人 ， 2 只 cat" becomes "一群人， 2 只 cat".
///
/// The rule: spaces go where the characters on **both** sides are Chinese characters, or Chinese punctuation, or
/// full-width forms. A space beside a Latin letter, a digit or ASCII punctuation stays. (The original's helper does so
/// for Chinese characters only, and its pipelines do not call it.)
pub fn join_chinese(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        joined.push(character);
        let mut spaces = 0;
        while is_wide(character) && rest.next_if_eq(&' ').is_some() {
            spaces += 1;
        }
        if !rest.peek().copied().is_some_and(is_wide) {
            joined.extend(std::iter::repeat_n(' ', spaces));
        }
    }
    joined
}

/// A character that Chinese text sets without spaces around it.
fn is_wide(character: char) -> bool {
    is_chinese(character)
        || matches!(character,
            '\u{3001}'..='\u{303F}' // CJK symbols and punctuation: 、。《》【】
            | '\u{FF01}'..='\u{FF60}' | '\u{FFE0}'..='\u{FFE6}' // full-width forms: ，！？（）％￥
            | '‘' | '’' | '“' | '”' | '…' | '—' | '·') // punctuation shared with other scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_between_chinese_go_and_others_stay() {
        assert_eq!(join_chinese("一 群 人 在 海 滩 上 。"), "一群人在海滩上。");
        assert_eq!(join_chinese("穿 t 恤 的 2 只 cat dog ， 走"), "穿 t 恤的 2 只 cat dog ，走");
        assert_eq!(join_chinese("“ 你 好 ” , a man's hat. "), "“你好” , a man's hat. ");
        assert_eq!(join_chinese("人  人 "), "人人 ");
        assert_eq!(join_chinese(""), "");
    }

    #[test]
    fn clean_up_follows_the_original() {
        let text = |tokens: &[&str]| detokenize(tokens.iter().copied());
        assert_eq!(text(&["do", "n't", "stop", ",", "un", "##able", "!"]), "don't stop, unable!");
        assert_eq!(text(&["##ab", "it", "'", "s"]), "##ab it's");
        assert_eq!(text(&[]), "");
    }
}
