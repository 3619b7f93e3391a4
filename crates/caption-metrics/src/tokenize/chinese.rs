//! Chinese captions into characters or words.
//!
//! Figures over characters and over words differ a lot (one set of captions scores a CIDEr of 4.9 and 3.5), so a report
//! must say which. Words are jieba's, characters are those of the MUGE benchmark's rule.

/// Whether `character` is a CJK ideograph, by the ranges that BERT's tokeniser and ModelScope use.
pub fn is_cjk(character: char) -> bool {
    matches!(u32::from(character),
        0x3400..=0x4DBF
        | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF
        | 0x2_0000..=0x2_A6DF
        | 0x2_A700..=0x2_B73F
        | 0x2_B740..=0x2_B81F
        | 0x2_B820..=0x2_CEAF
        | 0x2_F800..=0x2_FA1F)
}

/// Whether `character` is one of the punctuation marks that ModelScope's chinese_utils.py takes for Chinese.
pub(crate) fn is_chinese_punctuation(character: char) -> bool {
    matches!(character,
        '\u{00B7}' | '\u{2013}'..='\u{2014}' | '\u{2018}'..='\u{2019}' | '\u{201B}'..='\u{201F}'
        | '\u{2026}'..='\u{2027}' | '\u{3000}'..='\u{3003}' | '\u{3008}'..='\u{3011}'
        | '\u{3014}'..='\u{301F}' | '\u{3030}' | '\u{303E}'..='\u{303F}' | '\u{FE4F}' | '\u{FE51}'
        | '\u{FE54}' | '\u{FF01}'..='\u{FF0D}' | '\u{FF0F}' | '\u{FF1A}'..='\u{FF20}'
        | '\u{FF3B}'..='\u{FF40}' | '\u{FF5B}'..='\u{FF64}')
}

/// Characters as tokens; a run of letters or digits of other scripts is one token, in lower case. Punctuation marks are
/// tokens too.
///
/// This is the rule of the MUGE captioning benchmark as it is described; its evaluator was never published. Lower case is
/// our choice: the models' vocabularies know no other.
pub fn characters(caption: &str) -> String {
    let mut tokens = String::with_capacity(2 * caption.len());
    let mut run_is_open = false;
    for character in caption.chars() {
        let is_in_run = character.is_alphanumeric() && !is_cjk(character);
        let continues_run = is_in_run && run_is_open;
        run_is_open = is_in_run;
        if character.is_whitespace() {
            continue;
        }
        if !continues_run && !tokens.is_empty() {
            tokens.push(' ');
        }
        tokens.extend(character.to_lowercase());
    }
    tokens
}

/// Chinese characters and punctuation marks apart, anything else as it stands (chinese_utils.py, `rebuild_chinese_str`).
pub fn modelscope_characters(caption: &str) -> String {
    let mut apart = String::with_capacity(2 * caption.len());
    for character in caption.chars() {
        let is_apart = is_cjk(character) || is_chinese_punctuation(character);
        if is_apart {
            apart.push(' ');
        }
        apart.push(character);
        if is_apart {
            apart.push(' ');
        }
    }
    apart.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Words of jieba's default dictionary, with its hidden Markov model for words that are not in it.
#[cfg(feature = "jieba")]
pub fn words(caption: &str) -> Vec<&str> {
    use std::sync::LazyLock;

    /// Read once: the dictionary has 350,000 words.
    static JIEBA: LazyLock<jieba_rs::Jieba> = LazyLock::new(jieba_rs::Jieba::new);
    JIEBA.cut(caption, true).into_iter().map(|token| token.word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stand_alone_and_runs_together() {
        for (caption, tokens) in [
            ("穿着T恤的3个人", "穿 着 t 恤 的 3 个 人"),
            ("连衣裙100%纯棉", "连 衣 裙 100 % 纯 棉"),
            ("iPhone 手机，好。", "iphone 手 机 ， 好 。"),
            ("a man surfing 冲浪", "a man surfing 冲 浪"),
            (" \u{3000}", ""),
            ("", ""),
        ] {
            assert_eq!(characters(caption), tokens, "{caption}");
        }
    }

    #[test]
    fn the_originals_rule_keeps_what_is_not_chinese() {
        assert_eq!(modelscope_characters("连衣裙100%纯棉！"), "连 衣 裙 100% 纯 棉 ！");
        assert_eq!(modelscope_characters("a  man, 冲浪"), "a man, 冲 浪");
    }

    /// The original's list, character by character.
    #[test]
    fn punctuation_is_the_originals() {
        let list = "＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､\u{3000}、〃〈〉《》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏﹑﹔·！？｡。";
        for code in 0..0x1_1000 {
            let Some(character) = char::from_u32(code) else { continue };
            assert_eq!(is_chinese_punctuation(character), list.contains(character), "{character} {code:x}");
        }
    }

    #[cfg(feature = "jieba")]
    #[test]
    fn words_are_jiebas() {
        assert_eq!(words("穿着T恤的男人"), ["穿着", "T恤", "的", "男人"]);
    }
}
