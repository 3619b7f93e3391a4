//! What comes from the net: addresses, tags, entities, hash tags, user names.
//!
//! Follows PTBTokenizer 3.4.1 as watched from outside. Of all white space only five characters of ASCII end an address there: one with a
//! no-break space, an ideographic space or a line separator behind it goes on. Knows nothing of what an address leads to.

use super::lexer::{Kind, Lexer, Match};

/// Domains that make a host known as one without "http" and "www".
const DOMAINS: [&str; 4] = ["com", "net", "org", "edu"];

/// A character of addresses.
fn is_of_address(character: char) -> bool {
    is_of_path(character) && !matches!(character, '{' | '}')
}

/// A character of the path behind a host without a scheme.
fn is_of_path(character: char) -> bool {
    !matches!(character, '"' | '(' | ')' | '<' | '>' | '|' | ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// A character of mail addresses.
fn is_of_email(character: char) -> bool {
    is_of_address(character) && character != '\u{a0}'
}

/// Whether a part has two characters or more, as Java counts them.
fn has_two(part: &str) -> bool {
    part.encode_utf16().nth(1).is_some()
}

impl Lexer<'_> {
    /// "http://…", "https://…", and hosts of a few kinds without a scheme.
    pub(super) fn url(&self, at: usize) -> Option<Match> {
        let scheme = self.text.word(at, "http://").or_else(|| self.text.word(at, "https://"));
        let end = match scheme {
            Some(host) => self.full_url(host),
            None => self.bare_url(at).max(self.text.word(at, "www.").and_then(|host| self.www_end(host))),
        };
        end.map(|end| Match::new(end, Kind::Plain))
    }

    fn full_url(&self, host: usize) -> Option<usize> {
        let end = self.trimmed(host, self.text.run(host, is_of_address));
        has_two(&self.text.text[host..end]).then_some(end)
    }

    /// The end of an address without the punctuation that cannot end one.
    fn trimmed(&self, start: usize, end: usize) -> usize {
        let address = &self.text.text[start..end];
        start + address.trim_end_matches(['.', '!', '?', ',', '-', '{', '}']).len()
    }

    /// Parts of lower-case letters, a few symbols, control characters or anything beyond ASCII, with dots between, then one of four domains and a
    /// path or none.
    fn bare_url(&self, at: usize) -> Option<usize> {
        let is_of_host = |character: char| {
            let is_printed = character.is_ascii_graphic() || character == ' ';
            let is_other = !is_printed && is_of_address(character);
            matches!(character, 'a'..='z' | '#' | '%' | '&' | '*' | '+' | '~') || is_other
        };
        let mut part = self.text.run(at, is_of_host);
        let mut start = at;
        let mut best = None;
        while part > start && self.text.byte(part) == b'.' {
            start = part + 1;
            if let Some(end) = DOMAINS.iter().find_map(|domain| self.text.word(start, domain)) {
                best = best.max(Some(self.path(end).unwrap_or(end)));
            }
            part = self.text.run(start, is_of_host);
        }
        best
    }

    /// The longest run of parts with dots between, the last of two to four letters, and a path if there is one.
    fn www_end(&self, host: usize) -> Option<usize> {
        let is_of_host = |character| is_of_address(character) && !matches!(character, ',' | '.' | '!' | '?');
        let mut part = self.text.run(host, is_of_host);
        let mut best = None;
        let mut start = host;
        while part > start && self.text.byte(part) == b'.' {
            start = part + 1;
            let letters = self.text.ascii_run(start, |byte| byte.is_ascii_alphabetic()) - start;
            if letters >= 2 {
                let end = start + letters.min(4);
                best = best.max(Some(self.path(end).unwrap_or(end)));
            }
            part = self.text.run(start, is_of_host);
        }
        best
    }

    /// A path of two characters or more after a host.
    fn path(&self, host: usize) -> Option<usize> {
        if self.text.byte(host) != b'/' {
            return None;
        }
        let run = self.text.run(host + 1, is_of_path);
        let end = self.trimmed(host + 1, run);
        has_two(&self.text.text[host + 1..end]).then_some(end)
    }

    /// A mail address, with its angle brackets if there are any.
    pub(super) fn email(&self, at: usize) -> Option<Match> {
        let open = if self.text.byte(at) == b'<' { at + 1 } else { at };
        let start = self.text.word(at, "&lt;").unwrap_or(open);
        if !self.text.byte(start).is_ascii_alphanumeric() {
            return None;
        }
        let run = &self.text.text[start..self.text.run(start, is_of_email)];
        let sign = run
            .match_indices('@')
            .map(|(sign, _)| sign)
            .find(|&sign| run[sign + 1..].starts_with(|next| next != '.'))?;
        let domain = &run[sign + 1..];
        let length = domain.find("..").unwrap_or(domain.len());
        let domain = domain[..length].trim_end_matches('.');
        let end = start + sign + 1 + domain.len();
        let closed = if self.text.byte(end) == b'>' { end + 1 } else { end };
        Some(Match::new(closed, Kind::Plain))
    }

    /// A tag, a comment or a processing instruction.
    pub(super) fn tag(&self, at: usize) -> Option<Match> {
        self.tag_end(at).map(|end| Match::new(end, Kind::Joined))
    }

    pub(super) fn tag_end(&self, at: usize) -> Option<usize> {
        if self.text.byte(at) != b'<' {
            return None;
        }
        match self.text.byte(at + 1) {
            b'!' | b'?' => self.declaration_end(at + 2),
            b'/' => {
                let name = self.tag_name(at + 2)?;
                self.closing(self.spaces(name))
            }
            _ => self.element_end(at + 1),
        }
    }

    /// Anything up to ">" on the same line, from a letter or hyphen on.
    fn declaration_end(&self, at: usize) -> Option<usize> {
        if !matches!(self.text.byte(at), b'a'..=b'z' | b'A'..=b'Z' | b'-') {
            return None;
        }
        let end = self.text.run(at, |character| !matches!(character, '>' | '\r' | '\n'));
        self.closing(end)
    }

    fn element_end(&self, at: usize) -> Option<usize> {
        let mut end = self.tag_name(at)?;
        loop {
            let attribute = self.spaces(end);
            if attribute == end {
                break;
            }
            end = attribute;
            match self.tag_name(attribute) {
                Some(name) => end = self.attribute_value(self.spaces(name)).unwrap_or(name),
                None => break,
            }
        }
        self.closing(if self.text.byte(end) == b'/' { self.spaces(end + 1) } else { end })
    }

    fn attribute_value(&self, at: usize) -> Option<usize> {
        if self.text.byte(at) != b'=' {
            return None;
        }
        let open = self.spaces(at + 1);
        let quote = self.text.byte(open);
        if !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let close = self.text.text[open + 1..].find(quote as char)?;
        Some(open + 1 + close + 1)
    }

    fn tag_name(&self, at: usize) -> Option<usize> {
        if !self.text.byte(at).is_ascii_alphabetic() {
            return None;
        }
        Some(
            self.text.ascii_run(at, |byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
            }),
        )
    }

    fn spaces(&self, at: usize) -> usize {
        self.text.ascii_run(at, |byte| byte == b' ')
    }

    fn closing(&self, at: usize) -> Option<usize> {
        (self.text.byte(at) == b'>').then_some(at + 1)
    }

    /// "&eacute;" and the like, a letter of a word.
    pub(super) fn letter_entity(&self, at: usize) -> Option<usize> {
        if !matches!(self.text.byte(at + 1).to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u') {
            return None;
        }
        ["acute;", "grave;", "uml;"].iter().find_map(|accent| self.text.word(at + 2, accent))
    }

    /// The entities that stand for something else, and numbers of characters, which do not.
    pub(super) fn entity(&self, at: usize) -> Option<Match> {
        const ENTITIES: [(&str, Kind); 7] = [
            ("&amp;", Kind::Fixed("&")),
            ("&lt;", Kind::Fixed("<")),
            ("&gt;", Kind::Fixed(">")),
            ("&nbsp;", Kind::Nothing),
            ("&mdash;", Kind::Fixed("--")),
            ("&ndash;", Kind::Fixed("--")),
            ("&apos;", Kind::Fixed("'")),
        ];
        if self.text.byte(at) != b'&' {
            return None;
        }
        if let Some(letter) = self.letter_entity(at) {
            return self.word(at).or(Some(Match::new(letter, Kind::Plain)));
        }
        if let Some(end) = self.text.word(at, "&quot;") {
            let is_lower = self.text.byte(at + 1) == b'q';
            return Some(if is_lower { self.double_quote(end) } else { Match::new(end, Kind::Plain) });
        }
        let known = ENTITIES
            .iter()
            .find_map(|&(entity, kind)| self.text.word(at, entity).map(|end| Match::new(end, kind)));
        let is_lower = self.text.byte(at + 1).is_ascii_lowercase();
        let known = known.map(|found| match found.kind {
            // Of these two the reference knows other cases, but leaves them as they stand.
            Kind::Fixed("'") if !is_lower => Match::new(found.end, Kind::Plain),
            _ => found,
        });
        known.or_else(|| {
            let digits = self.text.word(at, "&#")?;
            let end = self.text.ascii_run(digits, |byte| byte.is_ascii_digit());
            (end > digits && self.text.byte(end) == b';').then(|| Match::new(end + 1, Kind::Plain))
        })
    }

    /// "#skiing" and "@name_1".
    pub(super) fn hash_or_name(&self, at: usize) -> Option<Match> {
        let end = match self.text.byte(at) {
            b'#' => self.letters_of_word(at + 1),
            b'@' if !self.text.byte(at + 1).is_ascii_digit() => {
                self.text.ascii_run(at + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
            }
            _ => return None,
        };
        (end > at + 1).then(|| Match::new(end, Kind::Plain))
    }
}
