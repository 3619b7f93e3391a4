//! One token at a time: of all rules that match at a position the longest wins, and of equally long ones the first.
//!
//! The rules were found by watching CoreNLP 3.4.1's PTBTokenizer from outside. A rule may look ahead, and what it
//! looked at counts in its length, as lexer generators have it; that explains much of the reference's odd behaviour.
//! This file knows which rules can start with which character, the rules themselves are in the files beside it:
//! [`super::words`], [`super::apostrophes`], [`super::numbers`], [`super::net`], [`super::symbols`].

use super::chars::{Class, class_of};
use super::text::Text;
use super::vocabulary;

/// How a token is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is written: white space and unknown characters.
    Nothing,
    LineBreak,
    /// As it stands.
    Plain,
    /// As it stands but for soft hyphens, which are deleted.
    Word,
    /// As it stands and a full stop, though the full stop after it is yet to be read: an abbreviation that ends a
    /// sentence shares its dot.
    Abbreviation,
    /// In lower case even where case is kept: names of files.
    LowerCase,
    /// With its spaces joined and its brackets named: telephone numbers, fractions, tags, smileys.
    Joined,
    /// With its apostrophe made straight.
    Contraction,
    /// With its entities resolved: "AT&amp;T".
    Ampersand,
    /// Each quotation mark spelled out.
    Quotes,
    /// Something else altogether.
    Fixed(&'static str),
}

/// What a rule found at a position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    /// Where the token ends and the next one starts.
    pub(super) end: usize,
    /// Where what the rule looked at ends; the longest rule wins.
    pub(super) seen: usize,
    pub(super) kind: Kind,
}

impl Match {
    pub(super) fn new(end: usize, kind: Kind) -> Self {
        Self { end, seen: end, kind }
    }

    pub(super) fn seen(self, seen: usize) -> Self {
        Self { seen, ..self }
    }

    /// The longer of two matches, the first if they are equally long.
    pub(super) fn or_longer(self, other: Option<Match>) -> Self {
        match other {
            Some(other) if other.seen > self.seen => other,
            _ => self,
        }
    }
}

/// The reader of one document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a> {
    pub(super) text: Text<'a>,
    /// Whether there is an "@" anywhere: looking for addresses at every word is dear.
    pub(super) has_at: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: Text { text }, has_at: text.contains('@') }
    }

    /// A token that needs no rules, and most of a caption's do not; [`Self::token`] would say the same.
    pub(super) fn plain_token(&self, at: usize) -> Option<Match> {
        match self.text.byte(at) {
            b' ' if self.text.byte(at + 1) < 0x80 => Some(Match::new(at + 1, Kind::Nothing)),
            b'\n' => Some(Match::new(at + 1, Kind::LineBreak)),
            b'.' | b',' if self.ends_clause(at + 1) => Some(Match::new(at + 1, Kind::Plain)),
            b'a'..=b'z' | b'A'..=b'Z' => self.plain_word(at),
            _ => None,
        }
    }

    /// Whether a dot or a comma before this position is punctuation: no number, no ellipsis, no address.
    fn ends_clause(&self, at: usize) -> bool {
        match self.text.byte(at) {
            b'\n' => true,
            b' ' => self.text.byte(at + 1).is_ascii_alphanumeric(),
            _ => at == self.text.len(),
        }
    }

    /// A word of ASCII letters before white space, the end, or a dot or comma that is clearly punctuation.
    fn plain_word(&self, at: usize) -> Option<Match> {
        let bytes = &self.text.text.as_bytes()[at..];
        let length = bytes.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(bytes.len());
        let end = at + length;
        if bytes.get(length) == Some(&b'-') {
            return self.plain_hyphenated(at);
        }
        let is_plain = match bytes.get(length) {
            None | Some(b' ' | b'\n') => true,
            Some(b',') => !self.has_at && self.ends_clause(end + 1),
            Some(b'.') => {
                !self.has_at
                    && length > 1
                    && self.ends_clause(end + 1)
                    && !vocabulary::keeps_dot(&self.text.text[at..end])
            }
            Some(_) => false,
        };
        let may_split = matches!(length, 5 | 6) && self.split_word(at).is_some();
        (is_plain && !may_split).then(|| Match::new(end, Kind::Plain))
    }

    /// "black-and-white" before white space or the end.
    fn plain_hyphenated(&self, at: usize) -> Option<Match> {
        let end = self.text.ascii_run(at, |byte| byte.is_ascii_alphabetic() || byte == b'-');
        let word = &self.text.text[at..end];
        let is_plain = !word.ends_with('-') && !word.contains("--");
        let is_last = matches!(self.text.byte(end), b' ' | b'\n') || end == self.text.len();
        (is_plain && is_last).then(|| Match::new(end, Kind::Plain))
    }

    /// The token at `at`, which must not be past the end.
    pub(super) fn token(&self, at: usize) -> Match {
        match self.text.class(at) {
            Class::Letter | Class::Mark | Class::Soft | Class::Digit => self.word_like(at),
            Class::Break => self.line_break(at),
            Class::Symbol | Class::Quote | Class::Raised => self.symbol_like(at),
            Class::Space => {
                self.nothing(at, self.text.run(at, |character| class_of(character) == Class::Space))
            }
            Class::Unknown | Class::Hyphen | Class::NumberSeparator | Class::End => {
                self.nothing(at, self.text.after(at))
            }
        }
    }

    /// Nothing up to `end`, but for characters beyond ASCII that start a number, and those and control characters that start a host.
    fn nothing(&self, at: usize, end: usize) -> Match {
        let nothing = Match::new(end, Kind::Nothing);
        match self.text.byte(at) {
            b' ' | b'\t' => nothing,
            0..0x80 => nothing.or_longer(self.url(at)),
            _ => nothing.or_longer(self.number(at)).or_longer(self.url(at)),
        }
    }

    /// A carriage return and the line feed after it are one line break; one that ends no address may start a host.
    fn line_break(&self, at: usize) -> Match {
        let line_break = |end| Match::new(end, Kind::LineBreak);
        match self.text.byte(at) {
            b'\r' if self.text.byte(at + 1) == b'\n' => line_break(at + 2),
            b'\n' | b'\r' | 0x0c => line_break(at + 1),
            _ => line_break(self.text.after(at)).or_longer(self.url(at)),
        }
    }

    fn word_like(&self, at: usize) -> Match {
        let word = Match::new(at, Kind::Word)
            .or_longer(self.split_word(at))
            .or_longer(self.before_clitic(at))
            .or_longer(self.word(at))
            .or_longer(self.thing(at));
        let dotted = Match::new(at, Kind::Word)
            .or_longer(self.dotted_thing(at))
            .or_longer(self.acronym_of_thing(at))
            .or_longer(self.ampersand_word(at));
        let best = word
            .or_longer(self.number(at))
            .or_longer(self.slashed(at))
            .or_longer(self.dot_before_punctuation(word))
            .or_longer(self.dot_before_punctuation(dotted))
            .or_longer(self.before_contraction(at))
            .or_longer(self.abbreviation(at))
            .or_longer(Some(dotted))
            .or_longer(self.acronym(at))
            .or_longer(self.file_name(at))
            .or_longer(self.date(at))
            .or_longer(self.apostrophe_word(at))
            .or_longer(self.programming_language(at))
            .or_longer(self.currency(at))
            .or_longer(self.url(at))
            .or_longer(self.telephone(at))
            .or_longer(self.fraction(at))
            .or_longer(self.emoticon(at));
        if self.has_at { best.or_longer(self.email(at)) } else { best }
    }

    fn symbol_like(&self, at: usize) -> Match {
        let mut best = self
            .symbol(at)
            .or_longer(self.number(at))
            .or_longer(self.shortened(at))
            .or_longer(self.clitic(at))
            .or_longer(self.tag(at))
            .or_longer(self.entity(at))
            .or_longer(self.telephone(at))
            .or_longer(self.hash_or_name(at))
            .or_longer(self.smiley(at))
            .or_longer(self.emoticon(at))
            .or_longer(self.named_bracket(at));
        if matches!(self.text.byte(at), b'#' | b'%' | b'&' | b'*' | b'+' | b'~' | 0x80..) {
            best = best.or_longer(self.url(at));
        }
        if self.has_at && matches!(self.text.byte(at), b'<' | b'&') {
            best = best.or_longer(self.email(at));
        }
        best
    }
}
