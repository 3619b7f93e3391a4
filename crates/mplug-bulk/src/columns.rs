//! The columns of a table of records: their names and what they hold. Parquet files and tables of other formats (Arrow's) are made from
//! this one list.

use serde::Serialize;

/// A column, or a field of what a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name; those of JSON's fields are the same.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether there may be nothing in it.
    pub is_nullable: bool,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text in UTF-8.
    Text,
    /// Any bytes; in JSON hexadecimal digits.
    Bytes,
    /// A number of 32 bits.
    Float,
    /// A whole number of 32 bits, not negative.
    Whole,
    /// Any number of one kind, none of them null.
    List(&'static Kind),
    /// Several fields.
    Struct(&'static [Column]),
}

const CAPTION: Column = Column { name: "caption", kind: Kind::Text, is_nullable: true };
const SCORE: Column = Column { name: "score", kind: Kind::Float, is_nullable: true };
const TOKEN_IDS: Column = Column { name: "token_ids", kind: Kind::List(&Kind::Whole), is_nullable: true };
const LANGUAGE: Column = Column { name: "language", kind: Kind::Text, is_nullable: true };

/// One caption of a list.
const ENTRY: Kind = Kind::Struct(&[
    Column { is_nullable: false, ..CAPTION },
    Column { is_nullable: false, ..SCORE },
    Column { is_nullable: false, ..TOKEN_IDS },
]);

/// One keyword.
const KEYWORD: Kind = Kind::Struct(&[
    Column { name: "tag", kind: Kind::Text, is_nullable: false },
    Column { name: "weight", kind: Kind::Float, is_nullable: false },
]);

/// Those before the language's place.
const FIRST: [Column; 2] = [
    Column { name: "path", kind: Kind::Text, is_nullable: false },
    Column { name: "path_bytes", kind: Kind::Bytes, is_nullable: true },
];

/// Those after it.
const LAST: [Column; 6] = [
    CAPTION,
    SCORE,
    TOKEN_IDS,
    Column { name: "captions", kind: Kind::List(&ENTRY), is_nullable: true },
    Column { name: "tags", kind: Kind::List(&KEYWORD), is_nullable: true },
    Column { name: "error", kind: Kind::Text, is_nullable: true },
];

/// The columns of a table of records, one more where there are several languages.
pub fn record_columns(has_language: bool) -> Vec<Column> {
    let language = has_language.then_some(LANGUAGE);
    FIRST.into_iter().chain(language).chain(LAST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_records() {
        let names: Vec<_> = record_columns(true).iter().map(|column| column.name).collect();
        let of_one: Vec<_> = record_columns(false).iter().map(|column| column.name).collect();
        assert_eq!(names[..3], ["path", "path_bytes", "language"]);
        assert_eq!(names.iter().filter(|name| **name != "language").copied().collect::<Vec<_>>(), of_one);
        let json = serde_json::to_string(&record_columns(false)[4..6]).unwrap();
        let expected = r#"[{"name":"token_ids","kind":{"list":"whole"},"is_nullable":true},{"name":"captions","kind":{"list":{"struct":[{"name":"caption","kind":"text","is_nullable":false},{"name":"score","kind":"float","is_nullable":false},{"name":"token_ids","kind":{"list":"whole"},"is_nullable":false}]}},"is_nullable":true}]"#;
        assert_eq!(json, expected);
    }
}
