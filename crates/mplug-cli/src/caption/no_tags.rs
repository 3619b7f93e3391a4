//! What stands for `tags` in a build without jieba: it says how to get one.

use anyhow::bail;
use mplug::tasks::Caption;

use super::record::Tag;

/// Whether this build finds keywords.
///
/// # Errors
/// It does not.
pub(super) fn check() -> anyhow::Result<()> {
    bail!(
        "`--tags`: this build has no jieba; build one that has: `cargo build --release -p mplug-cli --features jieba`"
    )
}

/// None, as nobody gets here.
pub(super) fn tags(_captions: &[Caption], _most: usize) -> Vec<Tag> {
    Vec::new()
}
