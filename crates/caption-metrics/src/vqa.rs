//! Accuracy of answers to questions about pictures: against the ten answers that people gave (Antol et al. 2015, with the
//! official evaluator's clean-up of answers), and by the soft labels of the research code.

/// How many of the others must agree for full marks.
const FULL_AGREEMENT: f64 = 3.0;
/// The official evaluator passes a regular expression's flag where a count belongs, so it takes out 32 full stops at most.
const MAX_FULL_STOPS: usize = 32;

/// How right `answer` is, 0 to 1: over each choice of all but one of the people's answers, the mean of agreement with the
/// rest, full from three on. 0 where nobody answered.
pub fn vqa_accuracy<A: AsRef<str>>(answer: &str, people: &[A]) -> f64 {
    let answer = normalize_answer(answer);
    let differ = people.iter().any(|a| a.as_ref() != people[0].as_ref());
    // People's answers are cleaned up only where they are not all the same, and only of punctuation.
    let clean = |a: &A| if differ { strip_punctuation(a.as_ref()) } else { a.as_ref().to_owned() };
    let agrees: Vec<bool> = people.iter().map(|a| clean(a) == answer).collect();
    let agreeing = agrees.iter().filter(|&&agrees| agrees).count();
    let marks = agrees.iter().map(|&is_one_of_them| {
        let others = agreeing - usize::from(is_one_of_them);
        (others as f64 / FULL_AGREEMENT).min(1.0)
    });
    if people.is_empty() { 0.0 } else { marks.sum::<f64>() / people.len() as f64 }
}

/// The research code's figure: the weight of the label that equals the answer, 0 if none does.
pub fn soft_score(answer: &str, labels: &[(&str, f64)]) -> f64 {
    labels.iter().find(|(label, _)| *label == answer).map_or(0.0, |(_, weight)| *weight)
}

/// An answer as the official evaluator compares it: without punctuation and articles, in lower case, numbers as digits,
/// contractions with their apostrophes.
pub fn normalize_answer(answer: &str) -> String {
    let answer = answer.replace(['\n', '\t'], " ");
    let stripped = strip_punctuation(answer.trim()).to_lowercase();
    let words = stripped.split_whitespace().map(digit).filter(|word| !["a", "an", "the"].contains(word));
    words.map(with_apostrophe).collect::<Vec<_>>().join(" ")
}

/// Punctuation becomes nothing where it stands beside a space, or where the answer has a number such as 1,000; else a space.
fn strip_punctuation(answer: &str) -> String {
    let has_thousands =
        answer.as_bytes().windows(3).any(|w| w[0].is_ascii_digit() && w[1] == b',' && w[2].is_ascii_digit());
    let mut stripped = answer.to_owned();
    for mark in ";/[]\"{}()=+\\_-><@`,?!".chars() {
        let is_beside_space = answer.contains(&format!("{mark} ")) || answer.contains(&format!(" {mark}"));
        stripped = stripped.replace(mark, if is_beside_space || has_thousands { "" } else { " " });
    }
    strip_full_stops(&stripped)
}

/// Full stops go, but for those before a digit.
fn strip_full_stops(answer: &str) -> String {
    let mut stripped = String::with_capacity(answer.len());
    let mut characters = answer.chars().peekable();
    let mut taken_out = 0;
    while let Some(character) = characters.next() {
        let is_decimal = characters.peek().is_some_and(char::is_ascii_digit);
        if character == '.' && !is_decimal && taken_out < MAX_FULL_STOPS {
            taken_out += 1;
        } else {
            stripped.push(character);
        }
    }
    stripped
}

fn digit(word: &str) -> &str {
    const NUMBERS: [&str; 11] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    const DIGITS: [&str; 11] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    match NUMBERS.iter().position(|number| *number == word) {
        Some(number) => DIGITS[number],
        None if word == "none" => "0",
        None => word,
    }
}

/// The contraction that `word` is but for one missing apostrophe; else `word`.
fn with_apostrophe(word: &str) -> &str {
    if word == "somebody'd" {
        return "somebodyd"; // the official table has this one the wrong way round
    }
    let misses_one = |full: &str| {
        full.len() == word.len() + 1
            && full
                .match_indices('\'')
                .any(|(at, _)| full[..at] == word[..at.min(word.len())] && full[at + 1..] == word[at..])
    };
    CONTRACTIONS.split_whitespace().find(|full| word.is_ascii() && misses_one(full)).unwrap_or(word)
}

/// The contractions of the official table. Words such as `well` and `hell` are not in it, nor is `he'll`.
const CONTRACTIONS: &str = "\
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's \
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock \
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd \
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's \
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd \
where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all \
y'all'll y'all'd've you'd you'd've you'll you're you've";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cleaned_up() {
        for (answer, clean) in [
            ("The Red dog.", "red dog"),
            ("two", "2"),
            ("none", "0"),
            ("dont know", "don't know"),
            ("couldntve", "couldntve"),
            ("couldnt've", "couldn't've"),
            ("ow's'at", "'ow's'at"),
            ("1,000 people", "1000 people"),
            ("black/white", "black white"),
            ("yes, it is", "yes it is"),
            ("2.5 m", "2.5 m"),
            ("well", "well"),
            ("猫。", "猫。"),
            ("", ""),
        ] {
            assert_eq!(normalize_answer(answer), clean, "{answer}");
        }
    }

    #[test]
    fn agreement_is_soft() {
        let people =
            |yes: usize| -> Vec<&str> { (0..10).map(|n| if n < yes { "yes" } else { "no" }).collect() };
        // One who agrees: nine choices keep that one, one does not.
        for (yes, accuracy) in [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)] {
            assert!((vqa_accuracy("Yes.", &people(yes)) - accuracy).abs() < 1e-12, "{yes}");
        }
        assert_eq!(vqa_accuracy("yes", &[] as &[&str]), 0.0);
    }

    #[test]
    fn equal_answers_of_people_stay_as_they_are() {
        assert_eq!(vqa_accuracy("black/white", &["black/white"; 10]), 0.0, "the official evaluator's way");
        assert_eq!(soft_score("yes", &[("no", 0.3), ("yes", 0.6)]), 0.6);
        assert_eq!(soft_score("no", &[]), 0.0);
    }
}
