//! Exact-match accuracy: ModelScope's default figure for captioning and question answering.

use crate::tokenize::chinese::{is_chinese_punctuation, is_cjk};
use crate::{Error, Scores};

/// 1 for each candidate that equals one of its references, 0 for others; the corpus figure is their mean.
///
/// As in the original, spaces between Chinese characters are taken out of candidates, and references stay as they are. The
/// original has one reference for each candidate; here any of several counts.
///
/// # Errors
/// [`Error::Lengths`] unless there are as many candidates as lists of references.
pub fn accuracy<C, R>(candidates: &[C], references: &[Vec<R>]) -> Result<Scores, Error>
where
    C: AsRef<str>,
    R: AsRef<str>,
{
    if candidates.len() != references.len() {
        return Err(Error::Lengths { candidates: candidates.len(), references: references.len() });
    }
    let is_right = |(candidate, references): (&C, &Vec<R>)| {
        let candidate = join_chinese(candidate.as_ref());
        references.iter().any(|reference| reference.as_ref() == candidate)
    };
    Ok(Scores::of_mean(candidates.iter().zip(references).map(|pair| f64::from(is_right(pair))).collect()))
}

/// Takes out the spaces between Chinese words and punctuation marks (chinese_utils.py, `remove_space_between_chinese_chars`).
pub fn join_chinese(text: &str) -> String {
    let is_joined =
        |word: &str| word.chars().all(|c| is_cjk(c) || is_chinese_punctuation(c) || c.is_ascii_punctuation());
    let mut joined = String::with_capacity(text.len());
    let mut previous_is_joined = None;
    for word in text.split(' ') {
        let joins = is_joined(word);
        if previous_is_joined.is_some_and(|previous| !(previous && joins)) {
            joined.push(' ');
        }
        joined.push_str(word);
        previous_is_joined = Some(joins);
    }
    joined.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_between_chinese_characters_do_not_count() {
        for (text, joined) in [
            ("一 群 人 在 海 滩 上", "一群人在海滩上"),
            ("穿 着 t 恤 的 人 。", "穿着 t 恤的人。"),
            ("a dog runs", "a dog runs"),
            (" a  dog , 狗 ", "a  dog ,狗"),
            ("", ""),
        ] {
            assert_eq!(join_chinese(text), joined, "{text:?}");
        }
    }

    #[test]
    fn any_reference_counts_and_references_stay_as_they_are() {
        let scores =
            accuracy(&["两 只 猫", "a dog", "cat"], &[vec!["猫", "两只猫"], vec!["a Dog"], vec!["cat"]])
                .unwrap();
        assert_eq!(scores.images, [1.0, 0.0, 1.0]);
        assert!(accuracy(&["a"], &[] as &[Vec<&str>]).is_err());
    }
}
