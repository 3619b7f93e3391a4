//! What is reported of one picture: its captions or the reason why there are none. From this one definition come the line of
//! text, the JSON object, the row of a table and the row of a Parquet file.

use std::collections::HashSet;
use std::io::{self, Write};

use mplug::config::{Language, Languages};
use mplug::tasks::Caption;
use mplug_data::message::one_line;
use serde::Serialize;

use crate::answer::Found;
use crate::inputs::Input;
use crate::json_path::JsonPath;
use crate::keywords::{Keyword, keywords};
use crate::records::Record;
use crate::wording::{KeywordsPlace, Wording};

/// What of a picture's captions is reported.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// The original's spaced text.
    pub is_raw: bool,
    /// Whether text lines begin with the path.
    pub has_path: bool,
    /// How many captions are listed for each picture; the best alone is reported if absent.
    pub captions: Option<usize>,
    /// How many keywords are reported; none if absent.
    pub keywords: Option<usize>,
    /// The languages of the captions, in the order of their records; where there are several, a record says which it is of.
    pub languages: Languages,
    /// What is made of the texts.
    pub wording: Wording,
    /// Whether a table of [`CaptionFormat::Csv`](crate::CaptionFormat::Csv) begins with a byte order mark, which Excel wants to read it
    /// as UTF-8.
    pub has_byte_order_mark: bool,
}

impl Style {
    /// What is written of a caption.
    fn text(&self, caption: &Caption, keywords: Option<&[Keyword]>) -> String {
        let text = if self.is_raw { &caption.raw_text } else { &caption.text };
        let words = keywords.unwrap_or_default().iter().map(|keyword| keyword.word.as_str());
        self.wording.of(text, words)
    }

    /// Whether keywords stand beside the captions.
    fn are_keywords_apart(&self) -> bool {
        self.wording.keywords == KeywordsPlace::Apart
    }

    /// The captions that are reported.
    pub(crate) fn reported<'a>(&self, captions: &'a [Caption]) -> &'a [Caption] {
        &captions[..self.captions.unwrap_or(1).min(captions.len())]
    }

    /// The keywords that are reported, if any are.
    fn keywords_of(&self, captions: &[Caption]) -> Option<Vec<Keyword>> {
        let mut found = keywords(captions, self.keywords?);
        for keyword in &mut found {
            keyword.word = self.wording.replaced(&keyword.word);
        }
        let mut seen = HashSet::new();
        found.retain(|keyword| !keyword.word.is_empty() && seen.insert(keyword.word.clone()));
        Some(found)
    }

    /// What a picture's text file says: its captions, one a line, and its keywords in a last one, where they do not stand in theirs.
    pub(crate) fn lines(&self, captions: &[Caption]) -> String {
        let keywords = self.keywords_of(captions);
        let reported = self.reported(captions).iter();
        let mut lines: Vec<String> =
            reported.map(|caption| self.text(caption, keywords.as_deref())).collect();
        if let Some(keywords) = keywords.filter(|_| self.are_keywords_apart()) {
            let separator = self.wording.separators.of(lines.first().map_or("", String::as_str));
            lines.push(listed(&keywords, separator));
        }
        lines.join("\n")
    }
}

/// One picture's answer, or what of it is in one language.
#[derive(Serialize)]
pub struct CaptionRecord {
    #[serde(flatten)]
    pub(crate) path: JsonPath,
    #[serde(skip)]
    text_path: Option<String>,
    /// Whether keywords are a column of text.
    #[serde(skip)]
    has_keywords_column: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<Language>,
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
    /// Said of one of several captions, where it never ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_finished: Option<bool>,
}

impl CaptionRecord {
    /// The record of a picture, for one language where there are several.
    pub(crate) fn new(input: &Input, found: &Found, style: &Style) -> Self {
        let mut record = Self {
            path: input.into(),
            text_path: style.has_path.then(|| one_line(&input.path.to_string_lossy())),
            has_keywords_column: style.are_keywords_apart(),
            language: found.language,
            best: None,
            captions: None,
            keywords: None,
            error: None,
        };
        match &found.captions {
            Ok(captions) => {
                record.keywords = style.keywords_of(captions);
                let keywords = record.keywords.as_deref();
                let entry = |caption| CaptionEntry::new(caption, keywords, style);
                let entries: Vec<_> = style.reported(captions).iter().map(entry).collect();
                record.best = entries.first().cloned().map(|best| CaptionEntry { is_finished: None, ..best });
                record.captions = style.captions.is_some().then_some(entries);
            }
            Err(failure) => record.error = Some(one_line(&failure.reason)),
        }
        record
    }

    /// The names of a table's columns.
    pub(crate) fn columns(style: &Style) -> Vec<String> {
        let numbered = |number: usize| [format!("caption_{number}"), format!("score_{number}")];
        let captions = match style.captions {
            None => vec!["caption".to_owned(), "score".to_owned()],
            Some(count) => (1..=count).flat_map(numbered).collect(),
        };
        let keywords = style.keywords.map(|_| "tags".to_owned()).into_iter().collect();
        let language = style.languages.are_several().then(|| "language".to_owned()).into_iter().collect();
        [vec!["path".to_owned()], language, captions, keywords, vec!["error".to_owned()]].concat()
    }

    /// The record as a row of that table.
    pub(crate) fn row(&self, style: &Style) -> Vec<String> {
        let cells = |entry: &CaptionEntry| [entry.caption.clone(), entry.score.to_string()];
        let mut captions: Vec<String> = match &self.captions {
            None => self.best.iter().flat_map(cells).collect(),
            Some(entries) => entries.iter().flat_map(cells).collect(),
        };
        captions.resize(2 * style.captions.unwrap_or(1), String::new());
        let error = self.error.clone().unwrap_or_default();
        let keywords = style.keywords.map(|_| self.listed_keywords()).into_iter().collect();
        let code = || self.language.map_or("", Language::code).to_owned();
        let language = style.languages.are_several().then(code).into_iter().collect();
        [vec![self.path.text().to_owned()], language, captions, keywords, vec![error]].concat()
    }

    fn listed_keywords(&self) -> String {
        listed(self.keywords.as_deref().unwrap_or_default(), ",")
    }
}

fn listed(keywords: &[Keyword], separator: &str) -> String {
    keywords.iter().map(|keyword| keyword.word.as_str()).collect::<Vec<_>>().join(separator)
}

impl CaptionEntry {
    fn new(caption: &Caption, keywords: Option<&[Keyword]>, style: &Style) -> Self {
        Self {
            caption: style.text(caption, keywords),
            score: caption.score,
            token_ids: caption.token_ids.clone(),
            is_finished: (style.captions.is_some() && !caption.is_finished).then_some(false),
        }
    }
}

impl Record for CaptionRecord {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        let path = self.text_path.as_ref().map_or_else(String::new, |path| format!("{path}\t"));
        let path = path + &self.language.map_or_else(String::new, |language| format!("{language}\t"));
        let has_keywords = self.keywords.is_some() && self.has_keywords_column;
        let keywords = if has_keywords { format!("\t{}", self.listed_keywords()) } else { String::new() };
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
    use mplug_data::picture::Failure;

    use super::*;

    fn captions() -> Vec<Caption> {
        let captions = ["一 只 猫", "两 只 猫"].into_iter().zip([-0.5, -0.75]).map(|(raw, score)| Caption {
            text: raw.replace(' ', ""),
            raw_text: raw.to_owned(),
            score,
            token_ids: vec![7, 102],
            is_finished: true,
        });
        captions.collect()
    }

    fn given(path: &str) -> Input {
        Input::file(path.into())
    }

    fn found() -> Found {
        Found { language: None, captions: Ok(captions()) }
    }

    fn failed(reason: &str) -> Found {
        Found { language: None, captions: Err(Failure::lasting(reason)) }
    }

    fn text(record: &CaptionRecord) -> String {
        let mut bytes = Vec::new();
        record.write_text(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn alone() -> Style {
        Style::default()
    }

    #[test]
    fn text_lines() {
        let (path, found) = (given("a\nb.jpg"), found());
        assert_eq!(text(&CaptionRecord::new(&path, &found, &alone())), "一只猫\n");
        let raw = Style { is_raw: true, has_path: true, ..alone() };
        assert_eq!(text(&CaptionRecord::new(&path, &found, &raw)), "a\\nb.jpg\t一 只 猫\n");
        let all = Style { captions: Some(2), ..alone() };
        assert_eq!(text(&CaptionRecord::new(&path, &found, &all)), "-0.5000\t一只猫\n-0.7500\t两只猫\n");
        assert_eq!(text(&CaptionRecord::new(&path, &failed("broken"), &alone())), "");
    }

    #[test]
    fn json_objects() {
        let (path, found) = (given("a\nb.jpg"), found());
        let json = |record: &CaptionRecord| serde_json::to_string(record).unwrap();
        let best = r#"{"path":"a\nb.jpg","caption":"一只猫","score":-0.5,"token_ids":[7,102]}"#;
        assert_eq!(json(&CaptionRecord::new(&path, &found, &alone())), best);
        let all = json(&CaptionRecord::new(&path, &found, &Style { captions: Some(2), ..alone() }));
        let list = r#","captions":[{"caption":"一只猫","score":-0.5,"token_ids":[7,102]},{"caption":"两只猫","score":-0.75,"token_ids":[7,102]}]}"#;
        assert_eq!(all, format!("{}{list}", &best[..best.len() - 1]));
        let cut =
            Found { captions: Ok(vec![Caption { is_finished: false, ..captions().remove(0) }]), ..found };
        assert_eq!(json(&CaptionRecord::new(&path, &cut, &alone())), best, "one alone is not marked");
        let cut = json(&CaptionRecord::new(&path, &cut, &Style { captions: Some(2), ..alone() }));
        let list =
            r#","captions":[{"caption":"一只猫","score":-0.5,"token_ids":[7,102],"is_finished":false}]}"#;
        assert_eq!(cut, format!("{}{list}", &best[..best.len() - 1]));
        let failed = json(&CaptionRecord::new(&path, &failed("empty file"), &alone()));
        assert_eq!(failed, r#"{"path":"a\nb.jpg","error":"empty file"}"#);
    }

    #[cfg(feature = "keywords")]
    #[test]
    fn keywords_are_of_all_captions_however_many_are_reported() {
        let (path, found) = (given("a.jpg"), found());
        let style = Style { keywords: Some(3), ..alone() };
        let record = CaptionRecord::new(&path, &found, &style);
        assert_eq!(text(&record), "一只猫\t猫\n");
        assert_eq!(record.row(&style), ["a.jpg", "一只猫", "-0.5", "猫", ""]);
        assert_eq!(CaptionRecord::columns(&style), ["path", "caption", "score", "tags", "error"]);
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["tags"][0]["tag"], "猫");
        assert!((json["tags"][0]["weight"].as_f64().unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(style.lines(&captions()), "一只猫\n猫");
    }

    #[test]
    fn rows_have_the_width_of_their_table() {
        let (path, found) = (given("a.jpg"), found());
        let failed = CaptionRecord::new(&path, &failed("empty file"), &alone());
        assert_eq!(CaptionRecord::columns(&alone()), ["path", "caption", "score", "error"]);
        assert_eq!(
            CaptionRecord::new(&path, &found, &alone()).row(&alone()),
            ["a.jpg", "一只猫", "-0.5", ""]
        );
        assert_eq!(failed.row(&alone()), ["a.jpg", "", "", "empty file"]);
        let three = Style { captions: Some(3), ..alone() };
        let row = CaptionRecord::new(&path, &found, &three).row(&three);
        assert_eq!(row, ["a.jpg", "一只猫", "-0.5", "两只猫", "-0.75", "", "", ""]);
        assert_eq!(CaptionRecord::columns(&three).len(), row.len());
    }

    #[test]
    fn a_record_says_its_language_where_there_are_several() {
        let style = Style { languages: "zh,en".parse().unwrap(), has_path: true, ..alone() };
        let path = given("a.jpg");
        let chinese = Found { language: Some(Language::Chinese), ..found() };
        let record = CaptionRecord::new(&path, &chinese, &style);
        assert_eq!(text(&record), "a.jpg\tzh\t一只猫\n");
        let many = Style { captions: Some(2), has_path: false, ..style.clone() };
        let lines = "zh\t-0.5000\t一只猫\nzh\t-0.7500\t两只猫\n";
        assert_eq!(text(&CaptionRecord::new(&path, &chinese, &many)), lines);
        let json = r#"{"path":"a.jpg","language":"zh","caption":"一只猫","score":-0.5,"token_ids":[7,102]}"#;
        assert_eq!(serde_json::to_string(&record).unwrap(), json);
        assert_eq!(CaptionRecord::columns(&style), ["path", "language", "caption", "score", "error"]);
        assert_eq!(record.row(&style), ["a.jpg", "zh", "一只猫", "-0.5", ""]);
        let failed = CaptionRecord::new(&path, &failed("empty file"), &style);
        assert_eq!(failed.row(&style), ["a.jpg", "", "", "", "empty file"]);
        assert_eq!(serde_json::to_string(&failed).unwrap(), r#"{"path":"a.jpg","error":"empty file"}"#);
    }
}
