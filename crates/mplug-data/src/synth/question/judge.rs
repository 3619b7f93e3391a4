//! Compares answers as a person would: by what they say, not by case, spaces, articles or how a number is written.
//!
//! English follows the official evaluator of VQA in small (lower case, no articles, numbers as digits). This file
//! refuses to know questions.

const NUMERALS_ZH: [(char, char); 11] = [
    ('零', '0'),
    ('一', '1'),
    ('二', '2'),
    ('两', '2'),
    ('三', '3'),
    ('四', '4'),
    ('五', '5'),
    ('六', '6'),
    ('七', '7'),
    ('八', '8'),
    ('九', '9'),
];
const NUMERALS_EN: [&str; 10] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const ARTICLES: [&str; 3] = ["a", "an", "the"];

/// An answer as answers are compared: lower case; no full stop at the end; numbers as digits; Chinese without spaces,
/// English with single ones and without articles.
pub(super) fn normalized(answer: &str) -> String {
    let lower = answer.to_lowercase();
    let text = lower.trim().trim_end_matches(['。', '.', '！', '!']);
    if text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)) {
        return text.chars().filter(|c| !c.is_whitespace()).map(digit_zh).collect();
    }
    let words: Vec<String> =
        text.split_whitespace().filter(|word| !ARTICLES.contains(word)).map(digit_en).collect();
    words.join(" ")
}

fn digit_zh(character: char) -> char {
    NUMERALS_ZH.iter().find(|(numeral, _)| *numeral == character).map_or(character, |(_, digit)| *digit)
}

fn digit_en(word: &str) -> String {
    let number = NUMERALS_EN.iter().position(|numeral| *numeral == word);
    number.map_or_else(|| word.to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_becomes_the_same() {
        for (answer, expected) in [
            ("两 只", "2只"),
            ("二只。", "2只"),
            ("2 只", "2只"),
            ("两", "2"),
            ("Two", "2"),
            (" 2 ", "2"),
            ("A Black  cat.", "black cat"),
            ("on the grass", "on grass"),
            ("三角形", "3角形"),
            ("", ""),
            ("the", ""),
        ] {
            assert_eq!(normalized(answer), expected, "{answer}");
        }
    }
}
