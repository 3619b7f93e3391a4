//! How facts are shown to people.

use std::io::{self, Write};

/// A fact with its name.
pub(super) fn line(to: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(to, "{name:<15} {value}")
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let parts: Vec<&str> = (!head.is_empty())
        .then_some(head)
        .into_iter()
        .chain(tail.as_bytes().chunks(3).filter_map(|part| std::str::from_utf8(part).ok()))
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let numbers = [0, 7, 999, 1000, 123_456, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "7", "999", "1,000", "123,456", "1,234,567"]);
    }
}
