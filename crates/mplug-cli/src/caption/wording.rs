//! What is made of captions before they are written, as it is typed.

use clap::Args;
use mplug_bulk::{KeywordsPlace, Replacement, Separator, Wording};

/// What is made of captions before they are written.
#[derive(Args, Debug)]
#[command(next_help_heading = "Wording")]
pub(super) struct WordingArgs {
    /// Put TEXT before every finished caption, as it stands; the model does not see it (--prefix is what it continues)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prepend: Option<String>,
    /// Put TEXT behind every finished caption, as it stands
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Option<String>,
    /// Replace OLD by NEW in captions and tags; may be repeated, in order
    #[arg(long, value_name = "OLD=NEW", allow_hyphen_values = true)]
    replace: Vec<Replacement>,
    /// Put the tags behind the caption, on its line: `caption, tag, tag`
    #[arg(long, requires = "tags", conflicts_with = "tags_only")]
    one_line: bool,
    /// Put the tags in the caption's place: `tag, tag`; 10 without --tags
    #[arg(long, conflicts_with = "captions")]
    pub(super) tags_only: bool,
    /// What stands between caption and tags, and between old and new texts of --on-existing; with `zh=` or `en=` before it, in
    /// that language alone; may be repeated [default: comma and space]
    #[arg(long, value_name = "[CODE=]TEXT", allow_hyphen_values = true)]
    separator: Vec<Separator>,
}

impl WordingArgs {
    /// What was typed. `is_joined` says whether there is anything between which a separator could stand.
    ///
    /// # Errors
    /// When there is a separator and nothing that it separates.
    pub(super) fn wording(&self, is_joined: bool) -> anyhow::Result<Wording> {
        anyhow::ensure!(
            is_joined || self.separator.is_empty(),
            "`--separator`: expected `--tags` or `--on-existing append`, whose parts it separates, found neither"
        );
        let mut wording = Wording {
            replace: self.replace.iter().cloned().map(|Replacement { old, new }| (old, new)).collect(),
            prepend: self.prepend.clone().unwrap_or_default(),
            append: self.append.clone().unwrap_or_default(),
            keywords: match (self.one_line, self.tags_only) {
                (true, _) => KeywordsPlace::Behind,
                (_, true) => KeywordsPlace::Alone,
                _ => KeywordsPlace::Apart,
            },
            ..Wording::default()
        };
        for Separator { language, text } in &self.separator {
            wording.separators.set(*language, text);
        }
        Ok(wording)
    }
}
