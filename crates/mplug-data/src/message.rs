//! Names and reasons in messages: on one line, and each name once.

use std::path::Path;

/// `text` on one line: line breaks and other control characters as the escapes of Rust and JSON (`\n`, `\t`, `\u{1b}`).
/// A file name cannot forge a second message, or control a terminal.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// `<path>: <reason>`. A reason that names the path itself (`<path> is damaged`, `cannot open <path>: …`) does not name it
/// twice.
pub fn about(path: &Path, reason: &str) -> String {
    let name = path.display().to_string();
    match reason.strip_prefix(&name) {
        Some(rest) if rest.starts_with(':') => reason.to_owned(),
        Some(rest) if rest.starts_with(' ') => format!("{name}:{rest}"),
        _ => match reason.split_once(&format!(" {name}:")) {
            Some((before, after)) if before.starts_with("cannot ") => format!("{name}: {before}:{after}"),
            _ => format!("{name}: {reason}"),
        },
    }
}

/// A command as a POSIX shell reads it: words with characters that mean something to it are in quotes.
pub fn shell_command(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    let quoted = |word: &String| match word {
        word if !word.is_empty() && word.chars().all(is_plain) => word.clone(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(
            one_line("两只猫\n.jpg: no\u{1b}[31m such\tfile\n"),
            "两只猫\\n.jpg: no\\u{1b}[31m such\\tfile"
        );
    }

    #[test]
    fn a_command_is_what_a_shell_reads() {
        let words = ["mplug", "a b.toml", "output=\"run\"", "it's", "run.steps=2", ""].map(str::to_owned);
        assert_eq!(shell_command(&words), r#"mplug 'a b.toml' 'output="run"' 'it'\''s' run.steps=2 ''"#);
    }

    #[test]
    fn the_path_is_named_once() {
        let path = Path::new("a b.jpg");
        assert_eq!(about(path, "empty file"), "a b.jpg: empty file");
        assert_eq!(about(path, "a b.jpg: empty file"), "a b.jpg: empty file");
        assert_eq!(about(path, "a b.jpg is empty"), "a b.jpg: is empty");
        assert_eq!(about(path, "cannot open a b.jpg: no such file"), "a b.jpg: cannot open: no such file");
        assert_eq!(about(path, "a b.jpgs are odd"), "a b.jpg: a b.jpgs are odd");
        let word = Path::new("model");
        assert_eq!(
            about(word, "does not fit the model: 1 missing"),
            "model: does not fit the model: 1 missing"
        );
    }
}
