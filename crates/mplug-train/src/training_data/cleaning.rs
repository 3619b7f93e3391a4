//! The research code's cleaning of captions that are read (its `pre_caption`): little letters, no marks, few words.

use mplug::preprocess::text::lowercase;

/// Words that are kept.
const MOST_WORDS: usize = 30;
/// What is left out.
const MARKS: &str = ",.'!?\"()*#:;~";

/// Whether Python's `\s` takes a character for a space.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// The caption without marks, hyphens as spaces, spaces in a row as one, at most 30 words.
pub(super) fn cleaned(caption: &str) -> String {
    let kept: String = lowercase(caption).chars().filter(|character| !MARKS.contains(*character)).collect();
    let kept = kept.replace(['-', '/'], " ").replace("<person>", "person");
    let mut single = String::with_capacity(kept.len());
    let mut spaces = String::new();
    for character in kept.chars().chain(['x']) {
        if is_space(character) {
            spaces.push(character);
            continue;
        }
        // A single space of another kind stays, as in the original.
        single.push_str(if spaces.chars().count() > 1 { " " } else { &spaces });
        spaces.clear();
        single.push(character);
    }
    single.pop();
    let text = single.trim_end_matches('\n').trim_matches(' ');
    text.split(' ').take(MOST_WORDS).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the original's function gives.
    #[test]
    fn captions_are_cleaned_as_in_the_research_code() {
        let long = vec!["word"; 40].join(" ");
        for (caption, right) in [
            ("A man's well-known dog, (left/right)!", "a mans well known dog left right"),
            ("  <PERSON> and <person>:  two~three  \n", "person and person twothree"),
            ("a\tb \t c\n", "a\tb c"),
            ("a\n", "a"),
            ("...", ""),
            ("一只狗。", "一只狗。"),
            (&long, long.split_at(30 * 5 - 1).0),
        ] {
            assert_eq!(cleaned(caption), right, "{caption:?}");
        }
    }
}
