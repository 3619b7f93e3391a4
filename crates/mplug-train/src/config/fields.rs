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

/// Removes fields of the table `outer`, if it is there.
pub(super) fn remove(table: &mut toml::Table, outer: &str, inner: &[&str]) {
    if let Some(section) = table.get_mut(outer).and_then(toml::Value::as_table_mut) {
        section.retain(|name, _| !inner.contains(&name));
    }
}

/// An error of reading a recipe, with the nearest of the names that would do where a name is unknown.
pub(super) fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| message.starts_with("unknown ")) else {
        return message.to_owned();
    };
    match mplug_data::error::nearest(unknown, quoted) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
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
