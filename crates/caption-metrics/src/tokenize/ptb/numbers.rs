//! Numbers, fractions, telephone numbers and amounts of money.
//!
//! Follows PTBTokenizer 3.4.1 as watched from outside. Knows nothing of what a number counts.

use super::chars::{Class, class_of};
use super::lexer::{Kind, Lexer, Match};

impl Lexer<'_> {
    fn digits(&self, at: usize) -> usize {
        self.text.run(at, |character| class_of(character) == Class::Digit)
    }

    /// Up to `most` digits.
    fn few_digits(&self, at: usize, most: usize) -> usize {
        let mut end = at;
        for _ in 0..most {
            if self.text.class(end) != Class::Digit {
                break;
            }
            end = self.text.after(end);
        }
        end
    }

    /// A sign or none, digits or none, and groups of digits after separators: "3.14", ".5", "-5", "10:30", "1,000".
    pub(super) fn number(&self, at: usize) -> Option<Match> {
        let start = if matches!(self.text.byte(at), b'+' | b'-') { at + 1 } else { at };
        let mut end = self.digits(start);
        loop {
            let is_separator = matches!(self.text.byte(end), b'.' | b':' | b',')
                || matches!(self.text.class(end), Class::Soft | Class::NumberSeparator);
            let group = if is_separator { self.text.after(end) } else { end };
            let further = self.digits(group);
            if further == group {
                break;
            }
            end = further;
        }
        (end > start).then(|| Match::new(end, Kind::Word))
    }

    /// "5/6/14", "05-06-2014".
    pub(super) fn date(&self, at: usize) -> Option<Match> {
        let mut end = at;
        for most in [2, 2, 4] {
            let start = if end == at {
                at
            } else if matches!(self.text.byte(end), b'-' | b'/') {
                end + 1
            } else {
                return None;
            };
            end = self.few_digits(start, most);
            if end == start || most == 4 && end == self.text.after(start) {
                return None;
            }
        }
        Some(Match::new(end, Kind::Plain))
    }

    /// "1/2", "1 1/2", "1-1/2": at most four digits each.
    pub(super) fn fraction(&self, at: usize) -> Option<Match> {
        let first = self.few_digits(at, 4);
        if first == at {
            return None;
        }
        let whole = matches!(self.text.char(first), Some('-' | ' ' | '\u{a0}'))
            .then(|| self.ratio(self.text.after(first)))
            .flatten();
        whole.or_else(|| self.ratio(at)).map(|end| Match::new(end, Kind::Joined))
    }

    fn ratio(&self, at: usize) -> Option<usize> {
        let above = self.few_digits(at, 4);
        let is_fraction_slash = self.text.char(above) == Some('\u{2044}');
        let below = if is_fraction_slash { Some(self.text.after(above)) } else { self.slash(above) };
        let below = below.filter(|_| above > at)?;
        let end = self.few_digits(below, 4);
        (end > below).then_some(end)
    }

    /// A telephone number: "(555) 123-4567", "555 123 4567", "+44 20 7123 4567".
    pub(super) fn telephone(&self, at: usize) -> Option<Match> {
        let end = if self.text.byte(at) == b'(' {
            let close = self.few_digits(at + 1, 4);
            let count = self.text.text[at + 1..close].chars().count();
            if self.text.byte(close) != b')' || !(2..=3).contains(&count) {
                return None;
            }
            let gap = matches!(self.text.char(close + 1), Some(' ' | '\u{a0}'));
            self.subscriber(if gap { self.text.after(close + 1) } else { close + 1 })?
        } else {
            let plus = self.text.ascii_run(at, |byte| byte == b'+');
            if plus > at + 2 {
                return None;
            }
            self.area_and_subscriber(plus, 2)?
        };
        Some(Match::new(end, Kind::Joined))
    }

    /// One or two area codes of two to four digits, each with a separator after it, and the subscriber's number.
    fn area_and_subscriber(&self, at: usize, codes: usize) -> Option<usize> {
        let code = self.few_digits(at, 5);
        let count = self.text.text[at..code].chars().count();
        if !(2..=4).contains(&count) || !matches!(self.text.char(code), Some(' ' | '-' | '\u{a0}')) {
            return None;
        }
        let next = self.text.after(code);
        let further = if codes > 1 { self.area_and_subscriber(next, codes - 1) } else { None };
        further.max(self.subscriber(next))
    }

    /// Three or four digits, a separator or none, three to five digits: the longest such.
    fn subscriber(&self, at: usize) -> Option<usize> {
        let tail = |middle: usize| {
            let gap = matches!(self.text.char(middle), Some(' ' | '-' | '/' | '\u{a0}'));
            let start = if gap { self.text.after(middle) } else { middle };
            let end = self.few_digits(start, 5);
            (self.text.text[start..end].chars().count() >= 3).then_some(end)
        };
        let three = self.few_digits(at, 3);
        let four = self.few_digits(at, 4);
        if self.text.text[at..three].chars().count() < 3 {
            return None;
        }
        tail(three).max(tail(four))
    }

    /// Capitals before a dollar sign: "US$".
    pub(super) fn currency(&self, at: usize) -> Option<Match> {
        let end = self.text.ascii_run(at, |byte| byte.is_ascii_uppercase());
        (end > at && self.text.byte(end) == b'$').then(|| Match::new(end + 1, Kind::Plain))
    }
}
