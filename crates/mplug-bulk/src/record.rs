//! What is reported of one picture: its captions or the reason why there are none. From this one definition come the line of
//! text, the JSON object, the row of a table and the row of a Parquet file.

use std::io::{self, Write};
use std::path::Path;

use mplug::tasks::Caption;
use mplug_data::message::one_line;
use serde::Serialize;

use crate::inputs::JsonPath;
use crate::keywords::{Keyword, keywords};
use crate::pipeline::Answer;
use crate::records::Record;

/// What of a picture's captions is reported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// The original's spaced text.
    pub is_raw: bool,
    /// Whether text lines begin with the path.
    pub has_path: bool,
    /// How many captions are listed for each picture; the best alone is reported if absent.
    pub captions: Option<usize>,
    /// How many keywords are reported; none if absent.
    pub keywords: Option<usize>,
}

impl Style {
    /// The text of a caption.
    pub(crate) fn text<'a>(&self, caption: &'a Caption) -> &'a str {
        if self.is_raw { &caption.raw_text } else { &caption.text }
    }

    /// The captions that are reported.
    pub(crate) fn reported<'a>(&self, captions: &'a [Caption]) -> &'a [Caption] {
        &captions[..self.captions.unwrap_or(1).min(captions.len())]
    }

    /// The keywords that are reported, if any are.
    fn keywords_of(&self, captions: &[Caption]) -> Option<Vec<Keyword>> {
        self.keywords.map(|most| keywords(captions, most))
    }

    /// What a picture's text file says: its captions, one a line, and its keywords in a last one.
    pub(crate) fn lines(&self, captions: &[Caption]) -> String {
        let reported = self.reported(captions).iter();
        let mut lines: Vec<String> = reported.map(|caption| self.text(caption).to_owned()).collect();
        lines.extend(self.keywords_of(captions).map(|keywords| listed(&keywords, ", ")));
        lines.join("\n")
    }
}

/// One picture's answer.
#[derive(Serialize)]
pub struct CaptionRecord {
    #[serde(flatten)]
    pub(crate) path: JsonPath,
    #[serde(skip)]
    text_path: Option<String>,
    #[serde(flatten)]
    pub(crate) best: Option<CaptionEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) captions: Option<Vec<CaptionEntry>>,
    #[serde(rename = "tags", skip_serializing_if = "Option::is_none")]
    pub(crate) keywords: Option<Vec<Keyword>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// One caption.
#[derive(Clone, Serialize)]
pub(crate) struct CaptionEntry {
    pub(crate) caption: String,
    pub(crate) score: f32,
    pub(crate) token_ids: Vec<u32>,
}

impl CaptionRecord {
    /// The record of the picture at `path`.
    pub(crate) fn new(path: &Path, answer: &Answer, style: Style) -> Self {
        let text_path = style.has_path.then(|| one_line(&path.to_string_lossy()));
        let mut record =
            Self { path: path.into(), text_path, best: None, captions: None, keywords: None, error: None };
        match answer {
            Ok(captions) => {
                let reported = style.reported(captions).iter();
                let entries: Vec<_> = reported.map(|caption| CaptionEntry::new(caption, style)).collect();
                record.keywords = style.keywords_of(captions);
                record.best = entries.first().cloned();
                record.captions = style.captions.is_some().then_some(entries);
            }
            Err(failure) => record.error = Some(one_line(&failure.reason)),
        }
        record
    }

    /// The names of a table's columns.
    pub(crate) fn columns(style: Style) -> Vec<String> {
        let numbered = |number: usize| [format!("caption_{number}"), format!("score_{number}")];
        let captions = match style.captions {
            None => vec!["caption".to_owned(), "score".to_owned()],
            Some(count) => (1..=count).flat_map(numbered).collect(),
        };
        let keywords = style.keywords.map(|_| "tags".to_owned()).into_iter().collect();
        [vec!["path".to_owned()], captions, keywords, vec!["error".to_owned()]].concat()
    }

    /// The record as a row of that table.
    pub(crate) fn row(&self, style: Style) -> Vec<String> {
        let cells = |entry: &CaptionEntry| [entry.caption.clone(), entry.score.to_string()];
        let mut captions: Vec<String> = match &self.captions {
            None => self.best.iter().flat_map(cells).collect(),
            Some(entries) => entries.iter().flat_map(cells).collect(),
        };
        captions.resize(2 * style.captions.unwrap_or(1), String::new());
        let error = self.error.clone().unwrap_or_default();
        let keywords = style.keywords.map(|_| self.listed_keywords()).into_iter().collect();
        [vec![self.path.text().to_owned()], captions, keywords, vec![error]].concat()
    }

    fn listed_keywords(&self) -> String {
        listed(self.keywords.as_deref().unwrap_or_default(), ",")
    }
}

fn listed(keywords: &[Keyword], separator: &str) -> String {
    keywords.iter().map(|keyword| keyword.word.as_str()).collect::<Vec<_>>().join(separator)
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
        let keywords =
            self.keywords.as_ref().map_or_else(String::new, |_| format!("\t{}", self.listed_keywords()));
        match (&self.captions, &self.best) {
            (Some(entries), _) => entries
                .iter()
                .try_for_each(|entry| writeln!(to, "{path}{:.4}\t{}{keywords}", entry.score, entry.caption)),
            (None, Some(entry)) => writeln!(to, "{path}{}{keywords}", entry.caption),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mplug_data::picture::Failure;

    use super::*;

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

    const ALONE: Style = Style { is_raw: false, has_path: false, captions: None, keywords: None };

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

    #[cfg(feature = "keywords")]
    #[test]
    fn keywords_are_of_all_captions_however_many_are_reported() {
        let (path, captions) = (Path::new("a.jpg"), Ok(captions()));
        let style = Style { keywords: Some(3), ..ALONE };
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
