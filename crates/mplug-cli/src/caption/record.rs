//! What is told of one picture: its captions or the reason why there are none, as text, JSON or a row of a table.

use std::{
    io::{self, Write},
    path::Path,
};

use mplug::tasks::Caption;
use serde::Serialize;

use super::{answers::Answer, tags::tags};
use crate::{inputs::JsonPath, output::Record, report};

/// What of a caption is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The original's spaced text.
    pub(super) is_raw: bool,
    /// Whether text lines begin with the path.
    pub(super) has_path: bool,
    /// So many captions are listed for each picture; the best alone is told if absent.
    pub(super) captions: Option<usize>,
    /// So many keywords are told, if any.
    pub(super) tags: Option<usize>,
}

/// A keyword.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tag {
    /// The word.
    pub(super) tag: String,
    /// The share of the captions' probability that has it: 1 if all captions do.
    pub(super) weight: f32,
}

impl Style {
    /// The text of a caption.
    pub(super) fn text<'a>(&self, caption: &'a Caption) -> &'a str {
        if self.is_raw { &caption.raw_text } else { &caption.text }
    }

    /// The captions that are told.
    pub(super) fn told<'a>(&self, captions: &'a [Caption]) -> &'a [Caption] {
        &captions[..self.captions.unwrap_or(1).min(captions.len())]
    }

    /// The keywords that are told, if any are.
    pub(super) fn keywords(&self, captions: &[Caption]) -> Option<Vec<Tag>> {
        self.tags.map(|most| tags(captions, most))
    }

    /// What a picture's text file says: its captions, one a line, and its keywords in a last one.
    pub(super) fn lines(&self, captions: &[Caption]) -> String {
        let mut lines: Vec<String> =
            self.told(captions).iter().map(|caption| self.text(caption).to_owned()).collect();
        lines.extend(self.keywords(captions).map(|tags| listed(&tags, ", ")));
        lines.join("\n")
    }
}

/// One picture's answer.
#[derive(Serialize)]
pub(super) struct CaptionRecord {
    #[serde(flatten)]
    path: JsonPath,
    #[serde(skip)]
    text_path: Option<String>,
    #[serde(flatten)]
    best: Option<CaptionEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    captions: Option<Vec<CaptionEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One caption.
#[derive(Clone, Serialize)]
struct CaptionEntry {
    caption: String,
    score: f32,
    token_ids: Vec<u32>,
}

impl CaptionRecord {
    /// The record of the picture at `path`.
    pub(super) fn new(path: &Path, answer: &Answer, style: Style) -> Self {
        let text_path = style.has_path.then(|| report::one_line(&path.to_string_lossy()));
        let mut record =
            Self { path: path.into(), text_path, best: None, captions: None, tags: None, error: None };
        match answer {
            Ok(captions) => {
                let entries: Vec<_> =
                    style.told(captions).iter().map(|caption| CaptionEntry::new(caption, style)).collect();
                record.tags = style.keywords(captions);
                record.best = entries.first().cloned();
                record.captions = style.captions.is_some().then_some(entries);
            }
            Err(failure) => record.error = Some(report::one_line(&failure.reason)),
        }
        record
    }

    /// The names of a table's columns.
    pub(super) fn columns(style: Style) -> Vec<String> {
        let numbered = |number: usize| [format!("caption_{number}"), format!("score_{number}")];
        let captions = match style.captions {
            None => vec!["caption".to_owned(), "score".to_owned()],
            Some(count) => (1..=count).flat_map(numbered).collect(),
        };
        let tags = style.tags.map(|_| "tags".to_owned()).into_iter().collect();
        [vec!["path".to_owned()], captions, tags, vec!["error".to_owned()]].concat()
    }

    /// The record as a row of that table.
    pub(super) fn row(&self, style: Style) -> Vec<String> {
        let cells = |entry: &CaptionEntry| [entry.caption.clone(), entry.score.to_string()];
        let mut captions: Vec<String> = match &self.captions {
            None => self.best.iter().flat_map(cells).collect(),
            Some(entries) => entries.iter().flat_map(cells).collect(),
        };
        captions.resize(2 * style.captions.unwrap_or(1), String::new());
        let error = self.error.clone().unwrap_or_default();
        let tags = style.tags.map(|_| self.listed_tags()).into_iter().collect();
        [vec![self.path.text().to_owned()], captions, tags, vec![error]].concat()
    }

    fn listed_tags(&self) -> String {
        listed(self.tags.as_deref().unwrap_or_default(), ",")
    }
}

fn listed(tags: &[Tag], separator: &str) -> String {
    tags.iter().map(|tag| tag.tag.as_str()).collect::<Vec<_>>().join(separator)
}

impl CaptionEntry {
    fn new(caption: &Caption, style: Style) -> Self {
        Self {
            caption: style.text(caption).to_owned(),
            score: caption.score,
            token_ids: caption.token_ids.clone(),
        }
    }
}

impl Record for CaptionRecord {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        let path = self.text_path.as_ref().map_or_else(String::new, |path| format!("{path}\t"));
        let tags = self.tags.as_ref().map_or_else(String::new, |_| format!("\t{}", self.listed_tags()));
        match (&self.captions, &self.best) {
            (Some(entries), _) => entries
                .iter()
                .try_for_each(|entry| writeln!(to, "{path}{:.4}\t{}{tags}", entry.score, entry.caption)),
            (None, Some(entry)) => writeln!(to, "{path}{}{tags}", entry.caption),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pictures::Failure;

    fn captions() -> Arc<Vec<Caption>> {
        let captions = ["一 只 猫", "两 只 猫"].into_iter().zip([-0.5, -0.75]).map(|(raw, score)| Caption {
            text: raw.replace(' ', ""),
            raw_text: raw.to_owned(),
            score,
            token_ids: vec![7, 102],
        });
        Arc::new(captions.collect())
    }

    fn text(record: &CaptionRecord) -> String {
        let mut bytes = Vec::new();
        record.write_text(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    const ALONE: Style = Style { is_raw: false, has_path: false, captions: None, tags: None };

    #[test]
    fn text_lines() {
        let (path, captions) = (Path::new("a\nb.jpg"), Ok(captions()));
        assert_eq!(text(&CaptionRecord::new(path, &captions, ALONE)), "一只猫\n");
        let raw = Style { is_raw: true, has_path: true, ..ALONE };
        assert_eq!(text(&CaptionRecord::new(path, &captions, raw)), "a\\nb.jpg\t一 只 猫\n");
        let all = Style { captions: Some(2), ..ALONE };
        assert_eq!(text(&CaptionRecord::new(path, &captions, all)), "-0.5000\t一只猫\n-0.7500\t两只猫\n");
        assert_eq!(text(&CaptionRecord::new(path, &Err(Failure::lasting("broken")), ALONE)), "");
    }

    #[test]
    fn json_objects() {
        let (path, captions) = (Path::new("a\nb.jpg"), Ok(captions()));
        let json = |record: &CaptionRecord| serde_json::to_string(record).unwrap();
        let best = r#"{"path":"a\nb.jpg","caption":"一只猫","score":-0.5,"token_ids":[7,102]}"#;
        assert_eq!(json(&CaptionRecord::new(path, &captions, ALONE)), best);
        let all = json(&CaptionRecord::new(path, &captions, Style { captions: Some(2), ..ALONE }));
        let list = r#","captions":[{"caption":"一只猫","score":-0.5,"token_ids":[7,102]},{"caption":"两只猫","score":-0.75,"token_ids":[7,102]}]}"#;
        assert_eq!(all, format!("{}{list}", &best[..best.len() - 1]));
        let failed = json(&CaptionRecord::new(path, &Err(Failure::lasting("empty file")), ALONE));
        assert_eq!(failed, r#"{"path":"a\nb.jpg","error":"empty file"}"#);
    }

    #[cfg(feature = "jieba")]
    #[test]
    fn keywords_are_of_all_captions_however_many_are_told() {
        let (path, captions) = (Path::new("a.jpg"), Ok(captions()));
        let style = Style { tags: Some(3), ..ALONE };
        let record = CaptionRecord::new(path, &captions, style);
        assert_eq!(text(&record), "一只猫\t猫\n");
        assert_eq!(record.row(style), ["a.jpg", "一只猫", "-0.5", "猫", ""]);
        assert_eq!(CaptionRecord::columns(style), ["path", "caption", "score", "tags", "error"]);
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["tags"][0]["tag"], "猫");
        assert!((json["tags"][0]["weight"].as_f64().unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(style.lines(captions.as_ref().unwrap()), "一只猫\n猫");
    }

    #[test]
    fn rows_have_the_width_of_their_table() {
        let (path, captions) = (Path::new("a.jpg"), Ok(captions()));
        let failed = CaptionRecord::new(path, &Err(Failure::lasting("empty file")), ALONE);
        assert_eq!(CaptionRecord::columns(ALONE), ["path", "caption", "score", "error"]);
        assert_eq!(CaptionRecord::new(path, &captions, ALONE).row(ALONE), ["a.jpg", "一只猫", "-0.5", ""]);
        assert_eq!(failed.row(ALONE), ["a.jpg", "", "", "empty file"]);
        let three = Style { captions: Some(3), ..ALONE };
        let row = CaptionRecord::new(path, &captions, three).row(three);
        assert_eq!(row, ["a.jpg", "一只猫", "-0.5", "两只猫", "-0.75", "", "", ""]);
        assert_eq!(CaptionRecord::columns(three).len(), row.len());
    }
}
