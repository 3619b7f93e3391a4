//! Keywords of a picture: the words of its captions that mean something, each weighted by the captions that have it. Words are
//! jieba's; function words of both languages are left out, and so are half words. Captions in English have English keywords. Feature
//! `keywords`.

use std::borrow::Cow;
use std::sync::LazyLock;

use jieba_rs::Jieba;
use serde::Serialize;

use crate::preprocess::text::is_chinese;
use crate::tasks::Caption;

/// A word of a picture's captions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Keyword {
    /// The word.
    #[serde(rename = "tag")]
    pub word: String,
    /// The share of the captions' probability that has it: 1 if all captions do.
    pub weight: f32,
}

/// Parts of speech (the first of jieba's letters) that say nothing of a picture: numbers and their classifiers, pronouns,
/// prepositions, conjunctions, adverbs, particles, directions, sounds, punctuation. The part of speech of the rest is not looked at: the
/// dictionary takes 树 for a verb and 鸟 for nothing in particular.
const FUNCTION_KINDS: &str = "mqrpcdufyexokhw";

/// Chinese words of other kinds that say nothing alone.
const EMPTY_WORDS: &str = "这是 那是 是 有 没有 在 位于 为 到 着 做 让 来 去 会 能 可以 正在 进行 多 大 小 图片 照片 画面 图 里 背景";

/// English words that say nothing of a picture alone.
const FUNCTION_WORDS: &str = "a about above after all along also an and another any are around as at back be behind being below \
    beside between both but by can close couple down each few five for four from front full group has have he her here him his in \
    inside into is it its itself left like lot many middle more near next no not of off on one onto or other others out outside \
    over part picture piece right she side six small some something standing that the their them there these they this three to \
    together top toward towards two under up very view was were what where which while who with you";

static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// At most `most` keywords of the captions, the weightiest first; of equal weight the one that is read first.
pub fn keywords(captions: &[Caption], most: usize) -> Vec<Keyword> {
    let best = captions.iter().map(|caption| caption.score).fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = captions.iter().map(|caption| (caption.score - best).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let mut found: Vec<Keyword> = Vec::new();
    // A text that was cut may go on in another language where a model writes two.
    let is_english = captions.first().is_some_and(|best| !best.text.chars().any(is_chinese));
    for (caption, weight) in captions.iter().zip(&weights) {
        let text = whole_words(caption);
        let mut words = meaningful_words(&text);
        words.retain(|word| !is_english || !word.chars().any(is_chinese));
        for (index, word) in words.iter().enumerate() {
            if words[..index].contains(word) {
                continue;
            }
            match found.iter_mut().find(|keyword| keyword.word == *word) {
                Some(keyword) => keyword.weight += weight / sum,
                None => found.push(Keyword { word: (*word).to_owned(), weight: weight / sum }),
            }
        }
    }
    found.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    found.truncate(most);
    found
}

/// The text of a caption without half words: pieces that continue a word which is not there (`##ing`), and the last word of a text
/// that was cut before its end, which may be the beginning of a longer one.
fn whole_words(caption: &Caption) -> Cow<'_, str> {
    let text = caption.text.as_str();
    let text = if caption.is_finished { text } else { &text[..last_word(text)] };
    if !text.contains("##") {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    let mut parts = text.split("##");
    whole.push_str(parts.next().unwrap_or_default());
    for part in parts {
        whole.push(' ');
        // A piece of Chinese is one character.
        let piece = match part.chars().next() {
            Some(first) if is_chinese(first) => first.len_utf8(),
            _ => part.find(|c: char| c.is_whitespace() || is_chinese(c)).unwrap_or(part.len()),
        };
        whole.push_str(&part[piece..]);
    }
    Cow::Owned(whole)
}

/// Where the last word of a text begins.
fn last_word(text: &str) -> usize {
    cut(text)
        .iter()
        .rev()
        .find(|word| !word.trim().is_empty())
        .map_or(text.len(), |word| text.rfind(word).unwrap_or(text.len()))
}

/// Chinese cut into words.
pub(crate) fn cut(text: &str) -> Vec<&str> {
    JIEBA.cut(text, true).into_iter().map(|token| token.word).collect()
}

/// The words that mean something, as they are read.
fn meaningful_words(text: &str) -> Vec<&str> {
    let listed = |list: &str, word: &str| list.split_whitespace().any(|known| known == word);
    let is_kept = |word: &str, kind: &str| match word.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => word.len() > 1 && !listed(FUNCTION_WORDS, word),
        Some(first) if first.is_alphabetic() => {
            !kind.starts_with(|letter| FUNCTION_KINDS.contains(letter)) && !listed(EMPTY_WORDS, word)
        }
        _ => false,
    };
    let found = JIEBA.tag(text, true).into_iter();
    found.filter(|found| is_kept(found.word, found.tag)).map(|found| found.word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption(text: &str, score: f32) -> Caption {
        Caption { text: text.to_owned(), score, is_finished: true, ..Caption::default() }
    }

    fn words(found: &[Keyword]) -> Vec<&str> {
        found.iter().map(|keyword| keyword.word.as_str()).collect()
    }

    #[test]
    fn keywords_are_weighted_by_the_captions_that_have_them() {
        let captions =
            [caption("一个人在海滩上冲浪", -0.5), caption("一个人在海滩上放风筝", -0.5 - 2f32.ln())];
        let found = keywords(&captions, 10);
        assert_eq!(words(&found)[..2], ["人", "海滩"]);
        assert!((found[0].weight - 1.0).abs() < 1e-6);
        let surfing = found.iter().find(|keyword| keyword.word == "冲浪").unwrap();
        assert!((surfing.weight - 2.0 / 3.0).abs() < 1e-6, "{found:?}");
        assert!(
            found.iter().all(|keyword| !["一个", "在", "上"].contains(&keyword.word.as_str())),
            "{found:?}"
        );
        assert_eq!(keywords(&captions, 1).len(), 1);
    }

    #[test]
    fn words_of_one_character_count() {
        let found = keywords(&[caption("这是水里的一条橙色的鱼，树上有三只鸟", -1.0)], 10);
        assert_eq!(words(&found), ["水里", "橙色", "鱼", "树上", "鸟"], "{found:?}");
    }

    #[test]
    fn english_words_are_kept_but_for_function_words() {
        let found = keywords(&[caption("a red car is next to a house, and a red cat", -1.0)], 10);
        assert_eq!(words(&found), ["red", "car", "house", "cat"]);
    }

    #[test]
    fn half_words_are_no_keywords() {
        let cut = |text: &str| Caption { is_finished: false, ..caption(text, -1.0) };
        assert_eq!(words(&keywords(&[cut("草地上有三辆红色的汽")], 10)), ["草地", "红色"]);
        assert_eq!(words(&keywords(&[cut("a man with a red umb")], 10)), ["man", "red"]);
        assert_eq!(words(&keywords(&[caption("a ##ing dog and ##s", -1.0)], 10)), ["dog"]);
        assert_eq!(words(&keywords(&[caption("##花旁边有一只狗", -1.0)], 10)), ["狗"]);
        assert_eq!(words(&keywords(&[cut("cat")], 10)), [""; 0]);
    }

    #[test]
    fn english_captions_have_english_keywords() {
        let captions = [caption("three red cars", -0.5), caption("three red cars 草地", -2.0)];
        assert_eq!(words(&keywords(&captions, 10)), ["red", "cars"]);
        let found = keywords(&[caption("一件红色的T恤和一辆car", -0.5)], 10);
        assert!(words(&found).contains(&"car"), "{found:?}");
    }

    #[test]
    fn no_caption_has_no_keywords() {
        assert_eq!(keywords(&[], 5), []);
        assert_eq!(keywords(&[caption("", f32::NEG_INFINITY)], 5), []);
    }
}
