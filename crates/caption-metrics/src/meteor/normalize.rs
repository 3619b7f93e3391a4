//! METEOR's `-norm`: a Moses-like normaliser for English that keeps punctuation, then lower case.
//!
//! Written from the behaviour of `meteor-1.5.jar` (each class below was probed with all 65,536 code units). Its effect
//! on Chinese: every character becomes a token of its own, whatever the segmentation. It knows nothing of words' meanings.
//! Not copied: the jar's internal marker, the upper-case word `DOTMULTI`, which it would turn into a dot.

use rustc_hash::FxHashSet;

/// Words whose trailing dot is no sentence end.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    always: FxHashSet<Box<str>>,
    before_digits: FxHashSet<Box<str>>,
}

impl Prefixes {
    /// Reads `nonbreaking/english.prefixes`: one prefix a line, comments after `#`, one of which is a mark.
    pub(crate) fn parse(text: &str) -> Self {
        let mut prefixes = Self::default();
        for line in text.lines() {
            let word = line.split('#').next().unwrap_or_default().trim();
            if word.is_empty() {
                continue;
            }
            let set = if line.contains("#NUMERIC_ONLY#") {
                &mut prefixes.before_digits
            } else {
                &mut prefixes.always
            };
            set.insert(word.into());
        }
        prefixes
    }

    /// Whether `word`, followed by a dot and then by `next`, keeps its dot.
    fn keeps_dot(&self, word: &str, next: Option<&str>) -> bool {
        let first = next.and_then(|next| next.bytes().next());
        self.always.contains(word)
            || first.is_some_and(|byte| byte.is_ascii_lowercase())
            || (first.is_some_and(|byte| byte.is_ascii_digit()) && self.before_digits.contains(word))
    }
}

/// The normalised, lower-cased text: tokens with single spaces between.
pub(crate) fn normalize(text: &str, prefixes: &Prefixes) -> String {
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return text.to_owned(); // no rule applies; whoever splits it skips superfluous spaces
    }
    let mut line = Line::new(text);
    line.separate_dot_runs();
    line.separate_commas();
    line.unify_quotes();
    line.unify_dashes();
    line.split_hyphens();
    line.split_apostrophes();
    let line: String = line.chars.iter().collect();
    split_trailing_dots(&line, prefixes).to_lowercase()
}

/// A line while the rules rewrite it; `spare` is the next version.
struct Line {
    chars: Vec<char>,
    spare: Vec<char>,
}

impl Line {
    /// The text with a space at both ends, white space as spaces and spaces around everything outside of words.
    fn new(text: &str) -> Self {
        let mut chars = vec![' '];
        for c in text.chars() {
            if is_white_space(c) {
                chars.push(' ');
            } else if stays_in_word(c) {
                chars.push(c);
            } else {
                chars.extend([' ', c, ' ']);
            }
        }
        chars.push(' ');
        Self { chars, spare: Vec::new() }
    }

    /// Two or more dots become a token of their own.
    fn separate_dot_runs(&mut self) {
        self.rewrite('.', |rest, out| {
            let dots = rest.iter().take_while(|c| **c == '.').count();
            if dots < 2 {
                return 0;
            }
            out.push(' ');
            out.extend(&rest[..dots]);
            out.push(' ');
            dots
        });
    }

    /// Commas become tokens except between digits. Three passes, because each consumes what stands around its comma.
    fn separate_commas(&mut self) {
        let not_digit = |c: char| !c.is_ascii_digit();
        let digit = |c: char| c.is_ascii_digit();
        self.rewrite_between(',', not_digit, not_digit, " , ");
        self.rewrite_between(',', digit, not_digit, " , ");
        self.rewrite_between(',', not_digit, digit, " , ");
    }

    /// All quotes to `'` and `"`; two single ones are a double one.
    fn unify_quotes(&mut self) {
        for c in &mut self.chars {
            match *c {
                '`' | '‘' | '’' => *c = '\'',
                '“' | '”' => *c = '"',
                _ => {}
            }
        }
        self.rewrite('\'', |rest, out| {
            let is_double = rest.starts_with(&['\'', '\'']);
            if is_double {
                out.extend([' ', '"', ' ']);
            }
            if is_double { 2 } else { 0 }
        });
    }

    /// En dashes and double hyphens are hyphens.
    fn unify_dashes(&mut self) {
        for c in &mut self.chars {
            if *c == '–' {
                *c = '-';
            }
        }
        self.rewrite('-', |rest, out| {
            let is_double = rest.starts_with(&['-', '-']);
            if is_double {
                out.push('-');
            }
            if is_double { 2 } else { 0 }
        });
    }

    /// A hyphen inside a word separates. The left side may end with a dot, the right side not: so does the jar.
    fn split_hyphens(&mut self) {
        self.rewrite_between('-', |c| is_alphanumeric(c) || c == '.', is_alphanumeric, " ");
    }

    /// English apostrophes: `don't` to `don 't`, `dogs'` to `dogs '`. In order, each pass on the last one's result.
    fn split_apostrophes(&mut self) {
        let not_letter = |c: char| !is_letter(c);
        let not_alphanumeric = |c: char| !is_alphanumeric(c);
        self.rewrite_between('\'', not_letter, not_letter, " ' ");
        self.rewrite_between('\'', not_alphanumeric, is_letter, " ' ");
        self.rewrite_between('\'', is_letter, not_letter, " ' ");
        self.rewrite_between('\'', is_letter, is_letter, " '");
        self.rewrite_between('\'', |c| c.is_ascii_digit(), |c| c == 's', " '");
    }

    /// Replaces `middle` by `replacement` where its neighbours satisfy `left` and `right`. Like a regular expression
    /// without look-around, a match consumes its neighbours: they cannot be the neighbours of the next match.
    fn rewrite_between(
        &mut self,
        middle: char,
        left: impl Fn(char) -> bool,
        right: impl Fn(char) -> bool,
        replacement: &str,
    ) {
        if !self.chars.contains(&middle) {
            return;
        }
        self.spare.clear();
        let mut rest = &self.chars[..];
        while let Some((&first, tail)) = rest.split_first() {
            self.spare.push(first);
            rest = tail;
            if let [second, third, after @ ..] = tail
                && *second == middle
                && left(first)
                && right(*third)
            {
                self.spare.extend(replacement.chars());
                self.spare.push(*third);
                rest = after;
            }
        }
        std::mem::swap(&mut self.chars, &mut self.spare);
    }

    /// Offers the text from each `trigger` on to `rule`, which writes a replacement and says how much it consumed.
    fn rewrite(&mut self, trigger: char, rule: impl Fn(&[char], &mut Vec<char>) -> usize) {
        if !self.chars.contains(&trigger) {
            return;
        }
        self.spare.clear();
        let mut at = 0;
        while at < self.chars.len() {
            let consumed =
                if self.chars[at] == trigger { rule(&self.chars[at..], &mut self.spare) } else { 0 };
            if consumed == 0 {
                self.spare.push(self.chars[at]);
            }
            at += consumed.max(1);
        }
        std::mem::swap(&mut self.chars, &mut self.spare);
    }
}

/// Separates the dot that ends a word unless it belongs to the word, and joins the words with single spaces.
fn split_trailing_dots(line: &str, prefixes: &Prefixes) -> String {
    let mut out = String::with_capacity(line.len());
    let mut words = line.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        if word.starts_with(is_unicode_space) {
            continue; // no token, but until here it was one, and so no lower-case follower of a dot
        }
        if !out.is_empty() {
            out.push(' ');
        }
        match word.strip_suffix('.') {
            Some(stem) if !stem.is_empty() && !stem.ends_with('.') => {
                push_dotted(stem, words.peek().copied(), prefixes, &mut out);
            }
            _ => out.push_str(word),
        }
    }
    out.trim_matches(|c| c <= ' ').to_owned()
}

/// Writes `stem` and the dot after it: abbreviations with inner dots (`u.s.`) lose all their dots.
fn push_dotted(stem: &str, next: Option<&str>, prefixes: &Prefixes, out: &mut String) {
    if stem.contains('.') && stem.chars().any(is_letter) {
        out.extend(stem.chars().filter(|c| *c != '.'));
    } else {
        out.push_str(stem);
        out.push_str(if prefixes.keeps_dot(stem, next) { "." } else { " ." });
    }
}

fn is_white_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{c}' | '\r')
}

/// Spaces to the jar beyond ASCII, no-break ones included.
fn is_unicode_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// The jar's letters: Latin with Latin-1 and Extended-A (without `ſ`), Cyrillic, phonetic extensions; no other script.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ž' | '\u{400}'..='\u{527}' | '\u{1d00}'..='\u{1d7f}'
            | '\u{a640}'..='\u{a66e}' | '\u{a67e}'..='\u{a697}')
}

fn is_alphanumeric(c: char) -> bool {
    is_letter(c) || c.is_ascii_digit()
}

/// What is not a token by itself; the vertical tab is no separator to the jar.
fn stays_in_word(c: char) -> bool {
    is_alphanumeric(c) || matches!(c, '.' | '\'' | '`' | ',' | '-' | '‘' | '’' | '\u{b}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes() -> Prefixes {
        Prefixes::parse("# a comment\n\nMr\nv\nNo #NUMERIC_ONLY# \n")
    }

    #[test]
    fn agrees_with_the_jar() {
        let cases = [
            ("a,b", "a , b"),
            ("a,,b", "a , ,b"),
            ("1,,2", "1 , , 2"),
            ("1,2,3", "1,2,3"),
            ("a--b a---b", "a b a--b"),
            ("a-b-c-d", "a b-c d"),
            (".-a -a a- a-.b a.-b", ". a -a a- a-.b a. b"),
            ("a–b a – b", "a - b a - b"),
            ("don't 1990's rock'n'roll dogs' 1'a", "don 't 1990 's rock 'n'roll dogs ' 1'a"),
            ("``a'' ''' “x”", "\" a \" \" ' \" x \""),
            ("Mr. X foo. bar foo. Bar v. X", "mr. x foo. bar foo . bar v. x"),
            ("No. 5 No. X", "no. 5 no . x"),
            ("U.S. a.1. é.3. 3.5.", "us a1 é3 3.5 ."),
            ("a.. a...b ....", "a .. a ... b ...."),
            ("一个 人T恤。", "一 个 人 t 恤 。"),
            ("x\u{a0}1/2 \u{1} ", "x 1 / 2"),
            ("a. b a.\u{a0}b a.  b", "a. b a . b a. b"),
            ("a😀b", "a 😀 b"),
            ("", ""),
            (" . ", "."),
        ];
        for (text, expected) in cases {
            assert_eq!(normalize(text, &prefixes()), expected, "{text:?}");
        }
    }

    #[test]
    fn without_prefixes_only_a_lower_case_follower_keeps_the_dot() {
        let none = Prefixes::default();
        assert_eq!(normalize("Mr. X", &none), "mr . x");
        assert_eq!(normalize("mr. x", &none), "mr. x");
    }
}
