//! Texts that are typed about one picture.

use std::path::Path;

use anyhow::bail;
use mplug_data::message::one_line;
use mplug_data::source::has_picture_extension;

/// Refuses the names of picture files among texts: a pattern of a shell's, or a second picture, would be answered as a question.
pub(crate) fn check(texts: &[String], expected: &str) -> anyhow::Result<()> {
    let is_picture = |text: &&String| has_picture_extension(Path::new(text)) && Path::new(text).is_file();
    match texts.iter().find(is_picture) {
        Some(text) => {
            bail!(
                "{}: expected {expected}, found the name of a picture file; one picture is taken, the first",
                one_line(text)
            )
        }
        None => Ok(()),
    }
}
