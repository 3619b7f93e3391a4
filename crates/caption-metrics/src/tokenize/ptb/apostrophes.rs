//! Contractions, and words with an apostrophe in them.
//!
//! Follows PTBTokenizer 3.4.1 as watched from outside. Knows nothing of quotation but where a straight apostrophe
//! turns out to open one.

use super::chars::{Class, class_of};
use super::lexer::{Kind, Lexer, Match};

const CLITICS: [&str; 6] = ["s", "d", "m", "re", "ve", "ll"];

/// Words kept whole. "*" stands for a straight or a closing apostrophe.
#[rustfmt::skip] // a list of words reads best filled
const WHOLE: &[&str] = &[
    "c*est", "c*mon", "cap*n", "d*", "dunkin*", "e*er", "ev*ry", "j*", "l*", "li*l", "nor*easter",
    "ol*", "s*mores", "somethin*",
];

/// Words kept whole that start with an apostrophe, straight or closing.
const SHORTENED: [&str; 4] = ["em", "till", "til", "cause"];

impl Lexer<'_> {
    /// A word before "n't": "do" of "don't". The word must be ASCII and not end in "n" once "n't" is off.
    pub(super) fn before_contraction(&self, at: usize) -> Option<Match> {
        if let Some(end) = self.negation(at) {
            return Some(Match::new(end, Kind::Contraction));
        }
        let end = self.text.ascii_run(at, |byte| byte.is_ascii_alphabetic());
        let not = end.checked_sub(1).filter(|&not| not > at)?;
        let seen = self.negation(not)?;
        (!self.text.byte(not - 1).eq_ignore_ascii_case(&b'n'))
            .then(|| Match::new(not, Kind::Plain).seen(seen))
    }

    /// The end of "n't" at a position.
    fn negation(&self, at: usize) -> Option<usize> {
        if !self.text.byte(at).eq_ignore_ascii_case(&b'n') {
            return None;
        }
        let end = self.text.any_apostrophe(at + 1)?;
        self.text.byte(end).eq_ignore_ascii_case(&b't').then_some(end + 1)
    }

    /// All words with an apostrophe inside that stay whole or whose first part is odd.
    pub(super) fn apostrophe_word(&self, at: usize) -> Option<Match> {
        let letters = self.letters(at);
        if letters == at {
            return None;
        }
        let after = self.text.any_apostrophe(letters)?;
        let best = Match::new(at, Kind::Plain)
            .or_longer(self.whole_word(at))
            .or_longer(self.prefixed(at, letters, after))
            .or_longer(self.between_vowels(at, letters, after))
            .or_longer(self.split_prefix(at, letters, after));
        (best.seen > at).then_some(best)
    }

    fn letters(&self, at: usize) -> usize {
        self.text.run(at, |character| class_of(character) == Class::Letter)
    }

    fn whole_word(&self, at: usize) -> Option<Match> {
        let ends = WHOLE.iter().filter_map(|word| self.whole_word_end(at, word));
        let oo = self.text.word(at, "o").and_then(|end| self.text.word(self.text.any_apostrophe(end)?, "o"));
        // "nat'l" with the straight apostrophe only, "o'o" with any.
        ends.chain(self.text.word(at, "nat'l")).chain(oo).max().map(|end| Match::new(end, Kind::Plain))
    }

    fn whole_word_end(&self, at: usize, word: &str) -> Option<usize> {
        let (left, right) = word.split_once('*')?;
        let apostrophe = self.text.word(at, left)?;
        self.text.word(self.text.apostrophe(apostrophe)?, right)
    }

    /// "S'mores", "B'nai": a capital or "n", an apostrophe, and two letters or more. "o'clock" is a thing.
    fn prefixed(&self, at: usize, letters: usize, after: usize) -> Option<Match> {
        let is_prefix = matches!(self.text.byte(at), b'n' | b'A'..=b'H' | b'J'..=b'X' | b'Z');
        if letters != at + 1 || !is_prefix {
            return None;
        }
        let end = self.letters(after);
        (end > after && end > self.text.after(after)).then(|| Match::new(end, Kind::Plain))
    }

    /// "Hawai'i", "ma'am": a vowel, the apostrophe, a vowel or a capital, and a letter before it all.
    fn between_vowels(&self, at: usize, letters: usize, after: usize) -> Option<Match> {
        let is_vowel = |byte: u8| matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u');
        let before = self.text.byte(letters - 1);
        let is_between = (is_vowel(before) || before.eq_ignore_ascii_case(&b'y'))
            && letters > self.text.after(at)
            && (is_vowel(self.text.byte(after)) || self.text.byte(after).is_ascii_uppercase());
        is_between.then(|| Match::new(self.letters(after), Kind::Plain))
    }

    /// "y'all" is "y'" and "all".
    fn split_prefix(&self, at: usize, letters: usize, after: usize) -> Option<Match> {
        let is_split = letters == at + 1
            && self.text.apostrophe(letters).is_some()
            && matches!(self.text.byte(at), b'j' | b'J' | b'y' | b'Y')
            && self.text.byte(after).is_ascii_alphabetic();
        is_split.then(|| Match::new(after, Kind::Plain).seen(after + 1))
    }

    /// A word before a clitic, or before letters that start like one.
    pub(super) fn before_clitic(&self, at: usize) -> Option<Match> {
        let word = self.word(at)?;
        Some(word.seen(self.clitic_end(word.end)?))
    }

    /// "'s", "'d", "'m", "'re", "'ve", "'ll", and the opening quotation mark that a straight apostrophe is otherwise.
    ///
    /// A clitic should have a character after it that is no ASCII letter. Without one it gives way to the quotation
    /// mark if that is equally long, which it is for "'re" at the very end of a document.
    pub(super) fn clitic(&self, at: usize) -> Option<Match> {
        let end = self.clitic_end(at);
        if let Some(end) = end
            && end < self.text.len()
            && !self.text.byte(end).is_ascii_alphabetic()
        {
            return Some(Match::new(end, Kind::Contraction).seen(self.text.after(end)));
        }
        let clitic = end.map(|end| Match::new(end, Kind::Contraction));
        match self.opening(at) {
            Some(opening) => Some(opening.or_longer(clitic)),
            None => clitic,
        }
    }

    fn clitic_end(&self, at: usize) -> Option<usize> {
        let after = self.text.apostrophe(at)?;
        CLITICS.iter().find_map(|clitic| self.text.word(after, clitic))
    }

    /// A straight apostrophe before a letter and something more opens a quotation. White space beyond these is something there.
    fn opening(&self, at: usize) -> Option<Match> {
        let opens = self.text.byte(at) == b'\''
            && self.text.byte(at + 1).is_ascii_alphabetic()
            && !matches!(self.text.char(at + 2), None | Some(' ' | '\t' | '\n' | '\r' | '\u{a0}'));
        opens.then(|| Match::new(at + 1, Kind::Fixed("`")).seen(self.text.after(at + 2)))
    }

    /// "'em", "'n'", "'90s", "'tis" and their like.
    pub(super) fn shortened(&self, at: usize) -> Option<Match> {
        let after = self.text.apostrophe(at)?;
        let it = ["tis", "twas"].iter().find_map(|word| self.text.word(after, word));
        if self.text.byte(at) == b'\''
            && let Some(seen) = it
        {
            return Some(Match::new(after + 1, Kind::Plain).seen(seen));
        }
        if let Some(end) = SHORTENED.iter().find_map(|word| self.text.word(after, word)) {
            // Equally long as what an opening quotation mark sees, and before it.
            return Some(Match::new(end, Kind::Plain));
        }
        if self.text.byte(after).eq_ignore_ascii_case(&b'n') {
            let end = self.text.apostrophe(after + 1).unwrap_or(after + 1);
            return Some(Match::new(end, Kind::Plain));
        }
        self.decade(after)
    }

    /// "'90s" of one of the decades that people name so, and any two digits before white space.
    fn decade(&self, at: usize) -> Option<Match> {
        let end = at + 2;
        if self.text.ascii_run(at, |byte| byte.is_ascii_digit()) < end {
            return None;
        }
        let is_decade = matches!(self.text.byte(at), b'2'..=b'9') && self.text.byte(at + 1) == b'0';
        if is_decade && self.text.byte(end).eq_ignore_ascii_case(&b's') {
            return Some(Match::new(end + 1, Kind::Plain));
        }
        matches!(self.text.class(end), Class::Space | Class::Break)
            .then(|| Match::new(end, Kind::Plain).seen(self.text.after(end)))
    }
}
