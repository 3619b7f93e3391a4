//! Punctuation, quotation marks, symbols and smileys.
//!
//! Follows PTBTokenizer 3.4.1 as watched from outside. Knows nothing of words but a few that contain symbols.

use super::chars::{Class, class_of};
use super::lexer::{Kind, Lexer, Match};

const BRACKETS: [(u8, &str); 6] =
    [(b'(', "-LRB-"), (b')', "-RRB-"), (b'[', "-LSB-"), (b']', "-RSB-"), (b'{', "-LCB-"), (b'}', "-RCB-")];

/// Parts of a face seen from the front: "^_^".
fn is_eye(byte: u8) -> bool {
    matches!(byte, b'^' | b'-' | b'=' | b'~' | b'<' | b'>' | b'x' | b'\'')
}

impl Lexer<'_> {
    /// One character, or a run of them where runs are one token. There always is an answer.
    pub(super) fn symbol(&self, at: usize) -> Match {
        let byte = self.text.byte(at);
        match byte {
            b'.' => self.dots(at),
            b'-' => self.hyphens(at),
            b'!' | b'?' => {
                Match::new(self.text.ascii_run(at, |byte| matches!(byte, b'!' | b'?')), Kind::Plain)
            }
            b'*' | b'_' | b'#' | b'@' => {
                Match::new(self.text.ascii_run(at, |other| other == byte), Kind::Plain)
            }
            b'"' => self.double_quote(at + 1),
            b'\'' if self.text.byte(at + 1) == b'\'' => Match::new(at + 2, Kind::Plain),
            b'<' | b'>' if self.text.byte(at + 1) == byte => Match::new(at + 2, Kind::Plain),
            b'`' => self.quotes(at),
            0..0x80 => match BRACKETS.iter().find(|(bracket, _)| *bracket == byte) {
                Some((_, name)) => Match::new(at + 1, Kind::Fixed(name)),
                None => Match::new(at + 1, Kind::Plain),
            },
            _ => self.symbol_beyond_ascii(at),
        }
    }

    fn symbol_beyond_ascii(&self, at: usize) -> Match {
        let class = self.text.class(at);
        if class == Class::Quote {
            return self.quotes(at);
        }
        if class == Class::Raised {
            return Match::new(self.raised(at), Kind::Plain);
        }
        let kind = self.text.char(at).map_or(Kind::Plain, |character| match character {
            '\u{80}' | '\u{a4}' | '\u{20a0}' | '\u{20ac}' => Kind::Fixed("$"),
            '\u{85}' | '\u{2026}' => Kind::Fixed("..."),
            '\u{96}' | '\u{97}' | '\u{2013}'..='\u{2015}' => Kind::Fixed("--"),
            '\u{a2}' => Kind::Fixed("cents"),
            '\u{a3}' => Kind::Fixed("#"),
            '\u{bc}' => Kind::Fixed("1/4"),
            '\u{bd}' => Kind::Fixed("1/2"),
            '\u{be}' => Kind::Fixed("3/4"),
            '\u{2153}' => Kind::Fixed("1/3"),
            '\u{2154}' => Kind::Fixed("2/3"),
            _ => Kind::Plain,
        });
        Match::new(self.text.after(at), kind)
    }

    /// The end of a run of raised or lowered digits, or of up to two low quotation marks.
    fn raised(&self, at: usize) -> usize {
        let is_low_quote = |character| matches!(character, '\u{201a}' | '\u{201e}' | '\u{201f}');
        if !self.text.char(at).is_some_and(is_low_quote) {
            return self
                .text
                .run(at, |character| class_of(character) == Class::Raised && !is_low_quote(character));
        }
        let end = self.text.after(at);
        if self.text.char(end).is_some_and(is_low_quote) { self.text.after(end) } else { end }
    }

    /// Up to two quotation marks, of any sort but the straight ones.
    fn quotes(&self, at: usize) -> Match {
        let end = self.text.after(at);
        let is_pair = self.text.class(end) == Class::Quote || self.text.byte(end) == b'`';
        Match::new(if is_pair { self.text.after(end) } else { end }, Kind::Quotes)
    }

    /// What a straight double quotation mark ending at `end` is: opening before a letter, a digit or a dollar sign.
    pub(super) fn double_quote(&self, end: usize) -> Match {
        let next = self.text.byte(end);
        if next.is_ascii_alphanumeric() || next == b'$' {
            Match::new(end, Kind::Fixed("``")).seen(end + 1)
        } else {
            Match::new(end, Kind::Fixed("''"))
        }
    }

    /// Three to five dots, also with single spaces between them, are an ellipsis.
    fn dots(&self, at: usize) -> Match {
        let run = self.text.ascii_run(at, |byte| byte == b'.') - at;
        if run >= 3 {
            return Match::new(at + run.min(5), Kind::Fixed("..."));
        }
        let mut end = at + 1;
        let mut count = 1;
        while count < 5
            && matches!(self.text.char(end), Some(' ' | '\u{a0}'))
            && self.text.byte(self.text.after(end)) == b'.'
        {
            end = self.text.after(end) + 1;
            count += 1;
        }
        if count >= 3 { Match::new(end, Kind::Fixed("...")) } else { Match::new(at + 1, Kind::Plain) }
    }

    /// Three or four hyphens are two; one, two, and more than four stay.
    fn hyphens(&self, at: usize) -> Match {
        let end = self.text.ascii_run(at, |byte| byte == b'-');
        let kind = if matches!(end - at, 3 | 4) { Kind::Fixed("--") } else { Kind::Plain };
        Match::new(end, kind)
    }

    /// A bracket that is spelled out already.
    pub(super) fn named_bracket(&self, at: usize) -> Option<Match> {
        if self.text.byte(at) != b'-' {
            return None;
        }
        BRACKETS
            .iter()
            .find_map(|(_, name)| self.text.word(at, &name.to_ascii_lowercase()))
            .map(|end| Match::new(end, Kind::Plain))
    }

    /// ":-)" and its like, if something follows that is no letter or digit.
    pub(super) fn smiley(&self, at: usize) -> Option<Match> {
        let mut end = if matches!(self.text.byte(at), b'<' | b'>') { at + 1 } else { at };
        if !matches!(self.text.byte(end), b':' | b';' | b'=') {
            return None;
        }
        end += 1;
        if matches!(self.text.byte(end), b'\'' | b'*' | b'-' | b'o') {
            end += 1;
        }
        let is_mouth = matches!(
            self.text.byte(end),
            b'(' | b')' | b'D' | b'P' | b'd' | b'p' | b'O' | b'[' | b']' | b'{' | b'@' | b'|' | b'\\'
        );
        let next = self.text.byte(end + 1);
        (is_mouth && end + 1 < self.text.len() && !next.is_ascii_alphanumeric())
            .then(|| Match::new(end + 1, Kind::Joined).seen(self.text.after(end + 1)))
    }

    /// "^_^", "(-.-)".
    pub(super) fn emoticon(&self, at: usize) -> Option<Match> {
        let is_bracketed = self.text.byte(at) == b'(';
        let left = at + usize::from(is_bracketed);
        if !is_eye(self.text.byte(left)) {
            return None;
        }
        let nose = self.text.byte(left + 1);
        let is_nose = nose == b'.' || nose == b'-' && self.text.byte(left) != b'-';
        let has_nose = nose == b'_' || is_bracketed && is_nose && is_eye(self.text.byte(left + 2));
        let right = left + 1 + usize::from(has_nose);
        let is_face = is_eye(self.text.byte(right)) && (has_nose || is_bracketed);
        let end = right + 1;
        if is_bracketed {
            (is_face && self.text.byte(end) == b')').then(|| Match::new(end + 1, Kind::Joined))
        } else {
            is_face.then(|| Match::new(end, Kind::Plain))
        }
    }

    /// "AT&T", "A+B": capitals joined by "&" or "+".
    pub(super) fn ampersand_word(&self, at: usize) -> Option<Match> {
        let capitals = |at: usize| self.text.ascii_run(at, |byte| byte.is_ascii_uppercase());
        let mut end = capitals(at);
        let head = end;
        if end == at {
            return None;
        }
        loop {
            let joint = match self.text.byte(end) {
                b'&' if self.text.text[end..].starts_with("&amp;") => end + "&amp;".len(),
                b'&' | b'+' => end + 1,
                _ => break,
            };
            let further = capitals(joint);
            if further == joint {
                break;
            }
            end = further;
        }
        (end > head).then(|| Match::new(end, Kind::Ampersand))
    }

    /// "C++", "C#", "F#".
    pub(super) fn programming_language(&self, at: usize) -> Option<Match> {
        let end = match self.text.byte(at) {
            b'C' | b'c' => self.text.word(at, "c++").or_else(|| self.text.word(at, "c#")),
            b'F' | b'f' => self.text.word(at, "f#"),
            _ => None,
        };
        end.map(|end| Match::new(end, Kind::Plain))
    }
}
