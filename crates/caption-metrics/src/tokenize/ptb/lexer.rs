//! One token at a time: of all rules that match at a place the longest wins, and of equally long ones the first.
//!
//! The rules were found by watching CoreNLP 3.4.1's PTBTokenizer from outside. A rule may look ahead, and what it
//! looked at counts in its length, as lexer generators have it; that explains much of the reference's odd behaviour.
//! This file knows which rules can start with which character, the rules themselves are in the files beside it:
//! [`super::words`], [`super::apostrophes`], [`super::numbers`], [`super::net`], [`super::symbols`].

use super::chars::Class;
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

/// What a rule found at a place.
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

    /// The end of a word that needs no rules: ASCII letters before white space, the end, or a dot or comma that is
    /// clearly punctuation. Nine tokens of ten in captions; [`Self::token`] would say the same.
    pub(super) fn plain_word(&self, at: usize) -> Option<usize> {
        let bytes = &self.text.text.as_bytes()[at..];
        let length = bytes.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(bytes.len());
        let end = at + length;
        if length == 0 {
            return None;
        }
        let is_plain = match bytes.get(length) {
            None | Some(b' ' | b'\n') => true,
            Some(b',') => matches!(bytes.get(length + 1), None | Some(b' ' | b'\n')) && !self.has_at,
            Some(b'.') => {
                length > 1
                    && matches!(bytes.get(length + 1), None | Some(b' ' | b'\n'))
                    && !self.has_at
                    && !vocabulary::keeps_dot(&self.text.text[at..end])
            }
            Some(_) => false,
        };
        (is_plain && self.split_word(at).is_none()).then_some(end)
    }

    /// The token at `at`, which must not be past the end.
    pub(super) fn token(&self, at: usize) -> Match {
        match self.text.class(at) {
            Class::Letter | Class::Mark | Class::Soft | Class::Digit => self.word_like(at),
            Class::Break => Match::new(self.line_break(at), Kind::LineBreak),
            Class::Symbol | Class::Quote | Class::Raised => self.symbol_like(at),
            Class::Space | Class::Unknown | Class::Hyphen | Class::NumberSeparator | Class::End => {
                let nothing = Match::new(self.text.after(at), Kind::Nothing);
                // Beyond ASCII even these can start a number or a host.
                if self.text.byte(at) < 0x80 {
                    return nothing;
                }
                nothing.or_longer(self.number(at)).or_longer(self.url(at))
            }
        }
    }

    /// A carriage return and the line feed after it are one line break.
    fn line_break(&self, at: usize) -> usize {
        if self.text.text[at..].starts_with("\r\n") { at + 2 } else { self.text.after(at) }
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
            .or_longer(self.named_bracket(at))
            .or_longer(self.url(at));
        if self.has_at && matches!(self.text.byte(at), b'<' | b'&') {
            best = best.or_longer(self.email(at));
        }
        best
    }
}
