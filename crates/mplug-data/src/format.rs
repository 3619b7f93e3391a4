//! The annotation formats, by name, and how a file's format is detected by its beginning.
//!
//! Our own rules: the first bytes of archives and Parquet files, the keys of the first objects of JSON, the form of the first line of
//! other text, and the extension for CSV. Refuses to read more than the first 64 KiB, and to guess: what fits no rule is an error
//! that lists the formats.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::DataError;
use crate::names::has_picture_extension;
use crate::readers::dictionary::is_dictionary;
use crate::readers::{flickr_tokens, table};
use crate::source::is_archive;
use crate::text::open_file;

/// How an annotation file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// COCO captions: one object of `images` and `annotations`; NoCaps, `coco_karpathy_*_gt.json`, and the references
    /// of AI Challenger's evaluator.
    Coco,
    /// Karpathy's splits of COCO, Flickr8k and Flickr30k: one object of `images`, or the array of them alone.
    Karpathy,
    /// BLIP's training files: an array of `{"image", "caption", "image_id"}`.
    Blip,
    /// Flickr30k's `results_20130124.token` and COCO-CN: `name#number`, a tab, a caption.
    FlickrTokens,
    /// AI Challenger's annotations: an array of `{"image_id": "NAME.jpg", "caption": […]}`.
    AiChallenger,
    /// MUGE's ECommerce-IC: `{"image_id", "text": […]}` a line, the pictures in a table beside it.
    Muge,
    /// One JSON object a line: a picture and its captions.
    JsonLines,
    /// A JSON list of such objects, what `mplug caption --format json` writes.
    Json,
    /// One JSON object with a list of captions for each picture: what pycocoevalcap's scorers take.
    Dictionary,
    /// A table of ModelScope's hub with columns such as `image:FILE` and `answer:Value`.
    ModelScopeCsv,
    /// Another table of commas, tabs or bars, whose first line names the columns: our own, `metadata.csv` of image folders, Kaggle's
    /// Flickr8k and Flickr30k, open_clip's.
    Table,
    /// A path, a tab and a caption a line: the text of `mplug caption`.
    Text,
    /// A Parquet file with a column of captions; its pictures are in it, or files by their paths.
    Parquet,
    /// A folder of pictures with a text file beside each.
    Sidecars,
    /// A tar or zip archive of pictures with a text or a record beside each.
    WebDataset,
    /// The research code's questions: an array of `{"image", "question", "question_id", "answer"}`.
    Vqa,
    /// VQA v2's official pair: an object of `questions`, and beside it one of `annotations` with answers.
    VqaV2,
}

/// How many bytes of a file are read to detect its format.
const HEAD_BYTES: u64 = 64 << 10;
/// How deep keys are looked at: `images[].sentences`.
const MAX_DEPTH: usize = 4;

impl Format {
    /// All formats.
    pub const ALL: [Self; 17] = [
        Self::Coco,
        Self::Karpathy,
        Self::Blip,
        Self::FlickrTokens,
        Self::AiChallenger,
        Self::Muge,
        Self::JsonLines,
        Self::Json,
        Self::Dictionary,
        Self::ModelScopeCsv,
        Self::Table,
        Self::Text,
        Self::Parquet,
        Self::Sidecars,
        Self::WebDataset,
        Self::Vqa,
        Self::VqaV2,
    ];

    /// The format's name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coco => "coco",
            Self::Karpathy => "karpathy",
            Self::Blip => "blip",
            Self::FlickrTokens => "flickr-tokens",
            Self::AiChallenger => "ai-challenger",
            Self::Muge => "muge",
            Self::JsonLines => "jsonl",
            Self::Json => "json",
            Self::Dictionary => "dictionary",
            Self::Table => "table",
            Self::Text => "text",
            Self::Parquet => "parquet",
            Self::Sidecars => "sidecars",
            Self::WebDataset => "webdataset",
            Self::ModelScopeCsv => "modelscope-csv",
            Self::Vqa => "vqa",
            Self::VqaV2 => "vqa-v2",
        }
    }

    /// The format of a file, by its name and its beginning.
    ///
    /// # Errors
    /// [`DataError::UnknownFormat`] if no reader knows it; [`DataError::Io`] if it cannot be read.
    pub fn detect(path: &Path) -> Result<Self, DataError> {
        let head = head(path)?;
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let found = match of_bytes(path, &head) {
            Some(format) => Ok(format),
            None if head.starts_with(b"\x1F\x8B") => Err("it is compressed (gzip): unpack it first".into()),
            None => of_text(valid_text(&head)),
        };
        // Its reader says which columns it lacks.
        let found = if is_csv && found != Ok(Self::Table) && found != Ok(Self::Parquet) {
            Ok(Self::ModelScopeCsv)
        } else {
            found
        };
        found.map_err(|what| DataError::UnknownFormat {
            path: path.to_path_buf(),
            what,
            known: Self::names(),
        })
    }

    /// Whether it is read in rows, one after the other.
    pub(crate) fn is_of_rows(self) -> bool {
        let of_rows =
            [Self::Table, Self::Text, Self::Parquet, Self::Sidecars, Self::WebDataset, Self::ModelScopeCsv];
        of_rows.contains(&self)
    }

    /// The names of all formats, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| format!("no format {name:?}; known formats: {}", Self::names()))
    }
}

/// The beginning of a file.
pub(crate) fn head(path: &Path) -> Result<Vec<u8>, DataError> {
    let (file, _) = open_file(path)?;
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head).map_err(|e| DataError::io(path, e))?;
    Ok(head)
}

/// The format of a file that is no text, by its first bytes.
pub(crate) fn of_bytes(path: &Path, head: &[u8]) -> Option<Format> {
    if head.starts_with(b"PAR1") {
        Some(Format::Parquet)
    } else if is_archive(path, head) {
        Some(Format::WebDataset)
    } else {
        None
    }
}

/// The text up to the first byte that is not UTF-8, without byte order mark: the head may end within a character.
pub(crate) fn valid_text(head: &[u8]) -> &str {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let valid_len = std::str::from_utf8(head).map_or_else(|error| error.valid_up_to(), str::len);
    std::str::from_utf8(&head[..valid_len]).unwrap_or_default()
}

pub(crate) fn of_text(text: &str) -> Result<Format, String> {
    let text = text.trim_start();
    match text.chars().next() {
        Some('{') => of_object(text, &keys(text)),
        Some('[') => of_array(&keys(text)),
        Some(_) => of_line(text.lines().next().unwrap_or_default()),
        None => Err("no text was found in it".into()),
    }
}

type Keys = BTreeSet<String>;

fn of_object(text: &str, keys: &Keys) -> Result<Format, String> {
    let has = |key: &str| keys.contains(key);
    if has("images[].sentences") {
        return Ok(Format::Karpathy);
    }
    if has("data_subtype") || has("questions[].question") || has("annotations[].answers") {
        return Ok(Format::VqaV2);
    }
    if ["images", "annotations", "info", "licenses"].into_iter().any(has) {
        return Ok(Format::Coco);
    }
    if is_dictionary(text) {
        return Ok(Format::Dictionary);
    }
    if has("image_id") && keys.iter().all(|key| ["image_id", "text", "text[]"].contains(&key.as_str())) {
        return Ok(Format::Muge);
    }
    if ["path", "image", "file_name", "image_id", "id"].into_iter().any(has) {
        return Ok(Format::JsonLines);
    }
    Err(format!("it is JSON with the keys {}", shown(keys)))
}

/// Keys of a list of pictures as JSON Lines have them.
const PICTURE_KEYS: [&str; 3] = ["[].path", "[].image", "[].file_name"];
/// What such a list says of a picture.
const TEXT_KEYS: [&str; 8] = [
    "[].caption",
    "[].captions",
    "[].references",
    "[].text",
    "[].captions_zh",
    "[].captions_en",
    "[].answer",
    "[].error",
];

fn of_array(keys: &Keys) -> Result<Format, String> {
    let has = |key: &str| keys.contains(key);
    if has("[].sentences") {
        Ok(Format::Karpathy)
    } else if has("[].question") {
        Ok(Format::Vqa)
    } else if has("[].image") && has("[].caption") {
        Ok(Format::Blip)
    } else if has("[].image_id") && has("[].caption") && (has("[].caption[]") || has("[].url")) {
        Ok(Format::AiChallenger)
    } else if PICTURE_KEYS.into_iter().any(has) && TEXT_KEYS.into_iter().any(has) {
        Ok(Format::Json)
    } else if has("[].image_id") && has("[].caption") {
        Err("it is a list of results (candidates), not of annotations".into())
    } else {
        Err(format!("it is a JSON list with the keys {}", shown(keys)))
    }
}

fn of_line(line: &str) -> Result<Format, String> {
    let (name, rest) = line.split_once('\t').unwrap_or((line, ""));
    if flickr_tokens::split(line).is_some_and(|(.., caption)| !caption.is_empty()) {
        Ok(Format::FlickrTokens)
    } else if line.split(',').any(|column| column.trim_matches('"').ends_with(":FILE")) {
        Ok(Format::ModelScopeCsv)
    } else if table::layout(line).is_some() {
        Ok(Format::Table)
    } else if has_picture_extension(Path::new(name.trim())) && !rest.is_empty() && !is_base64(rest) {
        Ok(Format::Text)
    } else if !rest.is_empty() {
        Err("it is a table; if it holds pictures, open the .jsonl beside it, with this as its images; if it holds captions, \
             its first line must name its columns (such as filepath and title)"
            .into())
    } else {
        Err(format!("it starts with {:?}", line.chars().take(40).collect::<String>()))
    }
}

/// Whether a field is a picture and no caption.
fn is_base64(field: &str) -> bool {
    const SHORTEST_PICTURE: usize = 64;
    field.len() >= SHORTEST_PICTURE
        && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte))
}

fn shown(keys: &Keys) -> String {
    let keys: Vec<&str> = keys.iter().map(String::as_str).take(8).collect();
    if keys.is_empty() { "(none)".into() } else { keys.join(", ") }
}

/// The paths of all keys of the first JSON value, as far as the text goes.
fn keys(text: &str) -> Keys {
    let found = RefCell::default();
    let probe = Probe { prefix: String::new(), depth: 0, found: &found };
    // Ends early where the text was cut: what was seen until then is what is wanted.
    let _ = probe.deserialize(&mut serde_json::Deserializer::from_str(text));
    found.into_inner()
}

/// Notes keys such as `images[].id` on the way through a value.
struct Probe<'a> {
    prefix: String,
    depth: usize,
    found: &'a RefCell<Keys>,
}

impl<'a> Probe<'a> {
    /// The probe of what stands at `path`, noted as seen.
    fn below(&self, path: String) -> Probe<'a> {
        self.found.borrow_mut().insert(path.clone());
        Probe { prefix: path, depth: self.depth + 1, found: self.found }
    }
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth > MAX_DEPTH {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(drop);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            let element = self.below(format!("{}[]", self.prefix));
            if list.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let dot = if self.prefix.is_empty() { "" } else { "." };
            map.next_value_seed(self.below(format!("{}{dot}{key}", self.prefix)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_content() {
        for (text, expected) in [
            (r#"{"info": {}, "images": [{"id": 1, "file_name": "a"}], "annotations": []}"#, Ok(Format::Coco)),
            (r#"{"annotations": [{"image_id": 1, "caption": "x"}, {"image"#, Ok(Format::Coco)),
            (r#"{"images": [{"sentids": [0], "sentences": [{"tokens": ["a"]"#, Ok(Format::Karpathy)),
            (r#"[{"filename": "a", "sentences": []}]"#, Ok(Format::Karpathy)),
            ("\n [\n {\"caption\": \"x\", \"image\": \"a\", \"image_id\": \"b\"}", Ok(Format::Blip)),
            (r#"[{"url": "u", "image_id": "a.jpg", "caption": ["一", "二"]}]"#, Ok(Format::AiChallenger)),
            (r#"[{"dataset": "vqa", "image": "a", "question": "q", "caption": "x"}]"#, Ok(Format::Vqa)),
            (r#"{"info": {}, "questions": [{"image_id": 1, "question": "q"}]}"#, Ok(Format::VqaV2)),
            (r#"{"annotations": [{"answers": [{"answer": "a"}]}]}"#, Ok(Format::VqaV2)),
            ("{\"image_id\": 5, \"text\": [\"x\"]}\n", Ok(Format::Muge)),
            ("{\"image_id\": 5}\n", Ok(Format::Muge)),
            ("{\"path\": \"a\", \"captions_zh\": [\"x\"]}\n", Ok(Format::JsonLines)),
            ("{\"image_id\": 5, \"caption\": \"x\"}\n{", Ok(Format::JsonLines)),
            ("1000092795.jpg#0\tTwo young guys .\n", Ok(Format::FlickrTokens)),
            ("image:FILE,answer:Value\n", Ok(Format::ModelScopeCsv)),
            (r#"[{"path": "a", "caption": "x", "score": -1.0}]"#, Ok(Format::Json)),
            (r#"[{"path": "a", "error": "x"}]"#, Ok(Format::Json)),
            (r#"[{"file_name": "a", "text": "x"}]"#, Ok(Format::Json)),
            (r#"{"1": ["a cat", "cats"], "2": ["#, Ok(Format::Dictionary)),
            (r#"{"1": [{"caption": "a cat"}]}"#, Ok(Format::Dictionary)),
            ("a.jpg#zhm#0 一只猫\n", Ok(Format::FlickrTokens)),
            ("image,caption\na.jpg,x\n", Ok(Format::Table)),
            ("image_name| comment_number| comment\n", Ok(Format::Table)),
            ("filepath\ttitle\n", Ok(Format::Table)),
            ("file_name,text\n", Ok(Format::Table)),
            ("path,language,caption_1,score_1,error\n", Ok(Format::Table)),
            ("a.jpg,a cat\n", Ok(Format::Table)),
            ("d/a.jpg\ta cat\n", Ok(Format::Text)),
            ("a cat, b.jpg\n", Err("it starts with")),
            ("a.jpg,a cat, a dog\n", Err("it starts with")),
            (r#"[{"image_id": 5, "caption": "x"}]"#, Err("a list of results")),
            ("5\tUklGRg==\n", Err("open the .jsonl beside it")),
            ("[]", Err("the keys []")),
            (r#"{"a": 1}"#, Err("the keys a")),
            ("hello", Err("it starts with \"hello\"")),
            ("", Err("no text")),
        ] {
            match (of_text(text), expected) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{error} lacks {part}"),
                (found, expected) => {
                    assert_eq!(found.as_ref().ok(), expected.ok().as_ref(), "{text}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("xml".parse::<Format>().expect_err("unknown").contains("coco, karpathy"));
    }
}
