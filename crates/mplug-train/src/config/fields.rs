//! Recipes as tables of fields: set from the command line, listed for comparison. Knows no field's meaning.

use std::collections::BTreeMap;

use crate::error::TrainError;

/// The fields of a value by their full names.
pub(super) fn flatten(prefix: &str, value: &toml::Value, fields: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, fields);
            }
        }
        other => {
            fields.insert(prefix.to_owned(), other.to_string());
        }
    }
}

/// A TOML value, or text where `text` is none.
pub(super) fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// Sets the field `key` (tables separated by dots) of `table`.
pub(super) fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), TrainError> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((outer, inner)) => {
            let entry = table.entry(outer).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let entry = entry
                .as_table_mut()
                .ok_or_else(|| TrainError::Recipe(format!("{key}: `{outer}` is a value, not a table")))?;
            set(entry, inner, value)
        }
    }
}

/// What is wrong with a recipe that cannot be read, with the full name of the field. `read` gives the message of reading a
/// table, if it cannot be read either. Libraries of formats do not say where in tables with a `kind` something stands, so it is
/// found by reading the beginnings of tables.
pub(super) fn problem(table: &toml::Table, read: &dyn Fn(toml::Table) -> Option<String>) -> Option<String> {
    let message = read(table.clone())?;
    let (path, value) = place(table, &message, read);
    Some(in_words(&path, value, &message))
}

/// The tag of a table whose other fields depend on it.
const TAG: &str = "kind";

/// The field whose reading gives `message`, with its value; nothing and the table for one that is missing.
fn place<'t>(
    table: &'t toml::Table,
    message: &str,
    read: &dyn Fn(toml::Table) -> Option<String>,
) -> (Vec<&'t str>, Option<&'t toml::Value>) {
    let mut beginning: toml::Table = table
        .iter()
        .filter(|(name, _)| *name == TAG)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if read(beginning.clone()).is_some_and(|found| found == message) {
        let tag = table.get_key_value(TAG).map(|(name, value)| (name.as_str(), value));
        let is_of_tag = tag.is_some()
            && !message.starts_with("missing field")
            && read(toml::Table::new()).is_none_or(|found| found != message);
        return match tag.filter(|_| is_of_tag) {
            Some((name, value)) => (vec![name], Some(value)),
            None => (Vec::new(), None),
        };
    }
    for (name, value) in table.iter().filter(|(name, _)| *name != TAG) {
        let before = beginning.clone();
        beginning.insert(name.clone(), value.clone());
        if read(beginning.clone()).is_none_or(|found| found != message) {
            continue;
        }
        let Some(inner) = value.as_table() else { return (vec![name], Some(value)) };
        let (mut path, found) = place(inner, message, &|inner| {
            let mut whole = before.clone();
            whole.insert(name.clone(), toml::Value::Table(inner));
            read(whole)
        });
        path.insert(0, name);
        return (path, found.or(Some(value)));
    }
    (Vec::new(), None)
}

/// `run.steps: expected an integer, found "ten"`, from a path and the message of the library.
fn in_words(path: &[&str], value: Option<&toml::Value>, message: &str) -> String {
    let message = with_suggestion(message);
    let is_of_table = message.starts_with("unknown field");
    let path = if is_of_table { &path[..path.len().saturating_sub(1)] } else { path };
    let place = if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) };
    let is_of_value =
        ["invalid type", "invalid value", "invalid length"].iter().any(|of| message.starts_with(of));
    match (message.split_once(", expected "), value) {
        (Some((_, expected)), Some(value)) if is_of_value => {
            format!(
                "{place}expected {}, found {}",
                of_toml(expected, message.starts_with("invalid value")),
                shown(value)
            )
        }
        (None, Some(value)) if message.starts_with("expected ") => {
            format!("{place}{message}, found {}", shown(value))
        }
        _ => format!("{place}{message}"),
    }
}

/// What a type of Rust is called in a TOML file.
fn of_toml(expected: &str, is_out_of_range: bool) -> &str {
    match expected {
        "u64" | "usize" | "u32" if is_out_of_range => "an integer of at least 0",
        "u8" if is_out_of_range => "an integer from 0 to 255",
        "u64" | "usize" | "u32" | "u8" => "an integer",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" | "string or table" => "a string",
        "a map" => "a table",
        table if table.starts_with("struct ") || table.starts_with("internally tagged enum") => "a table",
        list if list.starts_with("an array") || list == "a sequence" => "a list",
        other => other,
    }
}

/// Characters that a message shows of a value.
const SHOWN: usize = 60;

fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(_) => "a table".to_owned(),
        other => {
            let text = other.to_string();
            let more = if text.chars().count() > SHOWN { "…" } else { "" };
            text.chars().take(SHOWN).collect::<String>() + more
        }
    }
}

/// A message with the nearest of the names that would do where a name is unknown.
fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| message.starts_with("unknown ")) else {
        return message.to_owned();
    };
    match mplug_data::error::nearest(unknown, quoted) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

/// Removes the field `key` (tables separated by dots) from `table`, if it is there.
pub(super) fn remove(table: &mut toml::Table, key: &str) {
    match key.split_once('.') {
        None => {
            table.remove(key);
        }
        Some((outer, inner)) => {
            if let Some(outer) = table.get_mut(outer).and_then(toml::Value::as_table_mut) {
                remove(outer, inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_nothing_far() {
        let message = "unknown field `leaning_rate`, expected one of `learning_rate`, `betas`";
        assert!(with_suggestion(message).ends_with("did you mean `learning_rate`?"));
        assert!(!with_suggestion("unknown field `x`, expected one of `steps`, `betas`").contains("did you"));
        assert_eq!(with_suggestion("missing field `steps`"), "missing field `steps`");
    }
}
