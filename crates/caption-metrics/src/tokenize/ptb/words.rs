//! Words, things of several parts, abbreviations and acronyms.
//!
//! Follows PTBTokenizer 3.4.1 as watched from outside. Knows nothing of apostrophes but where one may join the parts
//! of a thing.

use super::chars::{Class, is_uppercase};
use super::lexer::{Kind, Lexer, Match};
use super::vocabulary::{self, Abbreviation};

fn is_alphanumeric(class: Class) -> bool {
    matches!(class, Class::Letter | Class::Digit)
}

impl Lexer<'_> {
    /// Letters, then letters and digits, such groups joined by single ".", "!" or "?".
    pub(super) fn word(&self, at: usize) -> Option<Match> {
        let mut end = self.word_group(at)?;
        while matches!(self.text.byte(end), b'.' | b'!' | b'?') {
            match self.word_group(end + 1) {
                Some(further) => end = further,
                None => break,
            }
        }
        Some(Match::new(end, Kind::Word))
    }

    fn word_group(&self, at: usize) -> Option<usize> {
        let mut end = self.letter_of_word(at)?;
        loop {
            if self.text.class(end) == Class::Digit {
                end = self.text.after(end);
            } else if let Some(further) = self.letter_of_word(end) {
                end = further;
            } else {
                return Some(end);
            }
        }
    }

    pub(super) fn letters_of_word(&self, at: usize) -> usize {
        let mut end = at;
        while let Some(further) = self.letter_of_word(end) {
            end = further;
        }
        end
    }

    fn letter_of_word(&self, at: usize) -> Option<usize> {
        match self.text.class(at) {
            Class::Letter | Class::Mark | Class::Soft => Some(self.text.after(at)),
            Class::Symbol if self.text.byte(at) == b'&' => self.letter_entity(at),
            _ => None,
        }
    }

    /// Letters and digits joined by "-", "_" and the hyphens beyond ASCII: "t-shirt", "snake_case", "Smith-O'Neill".
    pub(super) fn thing(&self, at: usize) -> Option<Match> {
        let mut end = self.thing_group(at)?;
        loop {
            let further = match self.text.byte(end) {
                b'-' | b'_' => self.thing_group(end + 1),
                _ if self.text.class(end) == Class::Hyphen => self.thing_group(self.text.after(end)),
                _ => None,
            };
            match further {
                Some(further) => end = further,
                None => return Some(Match::new(end, Kind::Word)),
            }
        }
    }

    fn thing_group(&self, at: usize) -> Option<usize> {
        let end = self.alphanumerics(at);
        if matches!(self.text.byte(at), b'd' | b'D' | b'o' | b'O' | b'l' | b'L')
            && let Some(after) = self.text.any_apostrophe(at + 1)
        {
            let name = self.alphanumerics(after);
            if name > after && name > self.text.after(after) {
                return Some(name);
            }
        }
        (end > at).then_some(end)
    }

    fn alphanumerics(&self, at: usize) -> usize {
        self.text.run(at, |character| is_alphanumeric(super::chars::class_of(character)))
    }

    /// ASCII letters and digits with dots, commas and soft hyphens, then parts after hyphens: "U.S.-based", "1.5-inch".
    pub(super) fn dotted_thing(&self, at: usize) -> Option<Match> {
        let head = self.dotted_head(at)?;
        let end = self.parts(head);
        (end > head).then(|| Match::new(end, Kind::Word))
    }

    fn dotted_head(&self, at: usize) -> Option<usize> {
        if !self.text.byte(at).is_ascii_alphanumeric() {
            return None;
        }
        Some(self.text.run(at, |character| {
            character.is_ascii_alphanumeric() || matches!(character, '.' | ',' | '\u{ad}')
        }))
    }

    /// The end of hyphens with ASCII letters and digits after each.
    fn parts(&self, head: usize) -> usize {
        let mut end = head;
        while let Some(further) = self.part(end) {
            end = further;
        }
        end
    }

    fn part(&self, at: usize) -> Option<usize> {
        if self.text.byte(at) != b'-' {
            return None;
        }
        let end =
            self.text.run(at + 1, |character| character.is_ascii_alphanumeric() || character == '\u{ad}');
        (end > at + 1).then_some(end)
    }

    /// "and/or", "km/h", "black/blue-green": ASCII only.
    pub(super) fn slashed(&self, at: usize) -> Option<Match> {
        let mut end = self.slashed_group(at)?;
        let head = end;
        // Three parts at most: "a/b/c/d" is "a/b/c", "/" and "d".
        for _ in 0..2 {
            if let Some(slash) = self.slash(end)
                && let Some(further) = self.slashed_group(slash)
            {
                end = further;
            }
        }
        (end > head).then(|| Match::new(end, Kind::Plain))
    }

    /// The position after a slash, which the Penn Treebank writes with a backslash before it.
    pub(super) fn slash(&self, at: usize) -> Option<usize> {
        self.text.word(at, "/").or_else(|| self.text.word(at, "\\/"))
    }

    fn slashed_group(&self, at: usize) -> Option<usize> {
        let mut end = self.text.ascii_run(at, |byte| byte.is_ascii_alphanumeric());
        if end == at {
            return None;
        }
        // Two hyphens at most.
        for _ in 0..2 {
            let further = self.text.ascii_run(end + 1, |byte| byte.is_ascii_alphabetic());
            if self.text.byte(end) == b'-' && further > end + 1 {
                end = further;
            }
        }
        Some(end)
    }

    /// "5a.jpg": letters, digits and single dots up to a known ending, and white space or punctuation after it.
    pub(super) fn file_name(&self, at: usize) -> Option<Match> {
        let mut end = self.alphanumerics(at);
        let mut start = at;
        let mut best = None;
        while end > start && self.text.byte(end) == b'.' {
            start = end + 1;
            end = self.alphanumerics(start);
            let follows = matches!(self.text.byte(end), b'!' | b',' | b'.' | b'?') || self.is_white(end);
            if follows && vocabulary::is_file_ending(&self.text.text[start..end]) {
                let kind = if end - start > 1 { Kind::LowerCase } else { Kind::Plain };
                best = Some(Match::new(end, kind).seen(self.text.after(end)));
            }
        }
        best
    }

    /// "cannot" and its like are two tokens.
    pub(super) fn split_word(&self, at: usize) -> Option<Match> {
        if !matches!(self.text.byte(at).to_ascii_lowercase(), b'c' | b'g' | b'l' | b'w') {
            return None;
        }
        vocabulary::SPLIT_WORDS.iter().find_map(|&(word, first)| {
            self.text.word(at, word).map(|end| Match::new(at + first, Kind::Plain).seen(end))
        })
    }

    /// The dot after any word belongs to it before a comma, a colon or a semicolon.
    pub(super) fn dot_before_punctuation(&self, word: Match) -> Option<Match> {
        let next = self.text.char(word.end + 1)?;
        let is_dot = word.end == word.seen && self.text.byte(word.end) == b'.';
        (is_dot && matches!(next, ',' | ':' | ';' | '\u{3001}'))
            .then(|| Match::new(word.end + 1, word.kind).seen(word.end + 1 + next.len_utf8()))
    }

    /// Abbreviations with their dot, after what the vocabulary says of them.
    pub(super) fn abbreviation(&self, at: usize) -> Option<Match> {
        let mut end = self.text.ascii_run(at, |byte| byte.is_ascii_alphabetic());
        if self.text.word(at, "ph.d.").is_some() {
            end = at + 4;
        } else if self.text.word(at, "cont'd.").is_some() {
            end = at + 6;
        }
        if end == at || self.text.byte(end) != b'.' {
            return None;
        }
        let after = end + 1;
        let word = &self.text.text[at..end];
        let numbered = vocabulary::is_numbered(word).then(|| self.numbered(after)).flatten();
        match vocabulary::abbreviation(word) {
            Some(Abbreviation::Title) => Some(Match::new(after, Kind::Plain)),
            Some(Abbreviation::SentenceEnd) => Some(self.sentence_end(end).or_longer(numbered)),
            None => numbered,
        }
    }

    /// "fig." keeps its dot before a number only.
    fn numbered(&self, after: usize) -> Option<Match> {
        let number = if self.is_white(after) { self.text.after(after) } else { after };
        (self.text.class(number) == Class::Digit)
            .then(|| Match::new(after, Kind::Plain).seen(self.text.after(number)))
    }

    /// An abbreviation that may end a sentence, whose dot is at `dot`. Where it does, the dot is read again.
    fn sentence_end(&self, dot: usize) -> Match {
        let after = dot + 1;
        if let Some(seen) = self.sentence_start(after) {
            return Match::new(dot, Kind::Abbreviation).seen(seen);
        }
        match self.text.char(after) {
            Some(next @ (',' | ':' | ';' | '\u{3001}')) => {
                Match::new(after, Kind::Plain).seen(after + next.len_utf8())
            }
            _ => match self.text.after_utf16(after, 2) {
                Some(seen) => Match::new(after, Kind::Plain).seen(seen),
                None => Match::new(dot, Kind::Abbreviation).seen(after),
            },
        }
    }

    /// White space and then more of it, an upper-case letter or a tag.
    fn sentence_start(&self, at: usize) -> Option<usize> {
        if !self.is_white(at) {
            return None;
        }
        let next = self.text.after(at);
        if self.is_white(next) || self.text.char(next).is_some_and(is_uppercase) {
            return Some(self.text.after(next));
        }
        self.tag_end(next)
    }

    fn is_white(&self, at: usize) -> bool {
        matches!(self.text.class(at), Class::Space | Class::Break) || self.text.char(at) == Some('\u{85}')
    }

    /// Single letters with dots: "U.S.", "p.m.", "J.".
    pub(super) fn acronym(&self, at: usize) -> Option<Match> {
        self.dotted_letters(at).map(|end| self.acronym_match(at, end))
    }

    /// The longest thing that ends in an acronym of two letters or more ("non-U.S."), or in parts after one.
    pub(super) fn acronym_of_thing(&self, at: usize) -> Option<Match> {
        let mut hyphen = self.dotted_head(at)?;
        // This one is known without its last dot, too, before white space.
        let known = self.text.word(at, "non-u.s").filter(|&end| self.is_white(end));
        let mut best = Match::new(known.unwrap_or(at), Kind::Plain);
        while self.text.byte(hyphen) == b'-' {
            if let Some(end) = self.dotted_letters(hyphen + 1)
                && end > hyphen + 3
            {
                let parts = Match::new(self.parts(end), Kind::Word);
                let is_known = self.text.word(at, "non-u.s.") == Some(end);
                let acronym =
                    if is_known { self.acronym_match(at, end) } else { Match::new(end, Kind::Plain) };
                best = best.or_longer(Some(acronym)).or_longer(Some(parts));
            }
            match self.part(hyphen) {
                Some(further) => hyphen = further,
                None => break,
            }
        }
        (best.end > at).then_some(best)
    }

    fn dotted_letters(&self, at: usize) -> Option<usize> {
        let mut end = at;
        while self.text.byte(end).is_ascii_alphabetic() && self.text.byte(end + 1) == b'.' {
            end += 2;
        }
        (end > at).then_some(end)
    }

    /// Before one of a few words that start sentences the dot is read again; a single letter even loses its own.
    fn acronym_match(&self, at: usize, end: usize) -> Match {
        let Some(seen) = self.starter(end) else { return Match::new(end, Kind::Plain) };
        let kind = if end - at > 2 { Kind::Abbreviation } else { Kind::Plain };
        Match::new(end - 1, kind).seen(seen)
    }

    /// White space, a word that often starts a sentence or a tag, white space.
    fn starter(&self, at: usize) -> Option<usize> {
        let start = self
            .text
            .run(at, |character| matches!(super::chars::class_of(character), Class::Space | Class::Break));
        if start == at {
            return None;
        }
        if let Some(end) = self.tag_end(start) {
            return self.is_white(end).then(|| self.text.after(end));
        }
        if !self.text.byte(start).is_ascii_uppercase() {
            return None;
        }
        let end = self.text.ascii_run(start, |byte| byte.is_ascii_alphabetic());
        let is_starter = vocabulary::SENTENCE_STARTERS
            .iter()
            .any(|word| word.eq_ignore_ascii_case(&self.text.text[start..end]));
        let is_title = ["mr.", "ms."].iter().any(|title| self.text.word(start, title) == Some(end + 1));
        let end = if is_title { end + 1 } else { end };
        ((is_starter || is_title) && self.is_white(end)).then(|| self.text.after(end))
    }
}
