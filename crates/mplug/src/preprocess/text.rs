//! Text: BERT's WordPiece tokenising, and decoding back to text.
//!
//! Source: Hugging Face's Python `BertTokenizer` of transformers 4.57; not its Rust counterpart and not transformers 5, which
//! give other ids for control and unassigned characters. Own code, because only that is exact.
//!
//! Refuses to know lengths, prompts and tasks: the caller says how long a text may be.

mod basic;
mod detokenize;
mod fit;
mod unicode14;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use self::basic::BasicTokenizer;
pub use self::basic::{is_chinese, lowercase};
pub use self::detokenize::{has_word, join_chinese};
pub use self::fit::TextFit;
use crate::config::vocabulary_tokens;

/// A word of more characters than this becomes `[UNK]` whole.
const MAX_WORD_CHARS: usize = 100;
const PAD: &str = "[PAD]";
const UNK: &str = "[UNK]";
const CLS: &str = "[CLS]";
const SEP: &str = "[SEP]";
const MASK: &str = "[MASK]";

/// Why a tokenizer could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The vocabulary, or the settings beside it, cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A special token is not in the vocabulary.
    #[error(
        "{origin}: the vocabulary of {found} tokens lacks {token}; expected a BERT vocab.txt, one token a line"
    )]
    MissingToken {
        /// The file, or "vocabulary".
        origin: String,
        /// The missing token.
        token: &'static str,
        /// Tokens found.
        found: usize,
    },
    /// `tokenizer_config.json` is not JSON, or requests what BERT's tokenizer here does not do.
    #[error("{}: {problem}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// A text needs a token that the vocabulary has and the model has not.
    #[error(
        "`{text}` needs the token `{token}`, which is number {id} in {origin}; the model has word embeddings for 0 to {last} \
         only: leave that word out, or put the vocabulary beside the model that belongs to it"
    )]
    NoEmbedding {
        /// The text.
        text: String,
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The vocabulary's file, or "vocabulary".
        origin: String,
        /// The last id with an embedding.
        last: usize,
    },
    /// The token that begins or ends every text has no embedding.
    #[error(
        "{origin}: {token} is number {id}, and the model has word embeddings for 0 to {last} only: this is not the \
         vocabulary of the model"
    )]
    NoSpecialEmbedding {
        /// The vocabulary's file, or "vocabulary".
        origin: String,
        /// The token.
        token: &'static str,
        /// Its id.
        id: u32,
        /// The last id with an embedding.
        last: usize,
    },
}

/// How text is prepared before it is cut into word pieces; the fields of `tokenizer_config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizerSettings {
    /// Whether text is lower-cased.
    pub do_lower_case: bool,
    /// Whether accents are stripped; without a value, where text is lower-cased.
    pub strip_accents: Option<bool>,
    /// Whether each Chinese character is a word.
    pub tokenize_chinese_chars: bool,
}

impl Default for TokenizerSettings {
    /// What `BertTokenizer` does where nothing is said: lower-cased, without accents, Chinese characters apart.
    fn default() -> Self {
        Self { do_lower_case: true, strip_accents: None, tokenize_chinese_chars: true }
    }
}

/// A padded text: both of length `max_len`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids (`max_len`), `[PAD]` at the end.
    pub input_ids: Vec<u32>,
    /// 1 for a token, 0 for padding (`max_len`).
    pub attention_mask: Vec<u32>,
}

/// The special tokens' ids, from the vocabulary.
#[derive(Clone, Copy, Debug)]
struct SpecialIds {
    pad: u32,
    unk: u32,
    cls: u32,
    sep: u32,
    mask: u32,
}

impl SpecialIds {
    fn named(&self) -> [(&'static str, u32); 5] {
        [(PAD, self.pad), (UNK, self.unk), (CLS, self.cls), (SEP, self.sep), (MASK, self.mask)]
    }
}

/// BERT's tokenizer over one vocabulary.
#[derive(Debug)]
pub struct Tokenizer {
    basic: BasicTokenizer,
    /// Pieces that start a word.
    starts: HashMap<String, u32>,
    /// Pieces that continue a word, without their `##`.
    continuations: HashMap<String, u32>,
    /// Token of each id, as written in the vocabulary; none where decoding skips the id.
    visible: Vec<Option<String>>,
    special: SpecialIds,
    /// What texts that are written begin and end with.
    written: [u32; 2],
    /// Word embeddings of the model, if it is known.
    rows: usize,
    /// The vocabulary's file, or "vocabulary".
    origin: String,
}

/// What the original begins and ends the texts with that it writes, whatever the vocabulary says.
const WRITTEN: [u32; 2] = [101, 102];

impl Tokenizer {
    /// Reads `vocab.txt`, and `tokenizer_config.json` where one lies beside it.
    pub fn from_file(vocab: &Path) -> Result<Self, TokenizerError> {
        let text = read_text(vocab)?;
        let path = vocab.with_file_name("tokenizer_config.json");
        let settings = if path.exists() {
            TokenizerSettings::from_json(&read_text(&path)?, &path)?
        } else {
            TokenizerSettings::default()
        };
        Self::build(&text, settings, &vocab.display().to_string())
    }

    /// Takes a vocabulary's text, one token a line; the line's number, from 0, is the id.
    pub fn from_vocab(text: &str) -> Result<Self, TokenizerError> {
        Self::build(text, TokenizerSettings::default(), "vocabulary")
    }

    /// As [`Tokenizer::from_vocab`], with other settings.
    pub fn with_settings(text: &str, settings: TokenizerSettings) -> Result<Self, TokenizerError> {
        Self::build(text, settings, "vocabulary")
    }

    /// As [`Tokenizer::with_settings`] for the vocabulary `origin` of a model with `rows` word embeddings.
    ///
    /// Where vocabulary and model belong together, texts begin with the vocabulary's `[CLS]` and end with its `[SEP]`. Where
    /// their sizes differ, 101 and 102 count as in the original, which knows no others.
    ///
    /// # Errors
    /// When these have no embeddings.
    pub(crate) fn for_model(
        text: &str,
        settings: TokenizerSettings,
        origin: &Path,
        rows: usize,
    ) -> Result<Self, TokenizerError> {
        let mut tokenizer = Self::build(text, settings, &origin.display().to_string())?;
        tokenizer = tokenizer.with_rows(rows);
        if tokenizer.vocab_size() != rows && WRITTEN.iter().all(|id| (*id as usize) < rows) {
            tokenizer.written = WRITTEN;
        }
        for (token, id) in [CLS, SEP].into_iter().zip(tokenizer.written) {
            if id as usize >= rows {
                let (origin, last) = (tokenizer.origin, rows.saturating_sub(1));
                return Err(TokenizerError::NoSpecialEmbedding { origin, token, id, last });
            }
        }
        Ok(tokenizer)
    }

    fn build(text: &str, settings: TokenizerSettings, origin: &str) -> Result<Self, TokenizerError> {
        let tokens: Vec<&str> = vocabulary_tokens(text).collect();
        // Where a token stands twice its last line counts, and the earlier ids stand for nothing.
        let ids: HashMap<&str, u32> = tokens.iter().zip(0u32..).map(|(&token, id)| (token, id)).collect();
        let special_id = |token| {
            let missing =
                || TokenizerError::MissingToken { origin: origin.into(), token, found: tokens.len() };
            ids.get(token).copied().ok_or_else(missing)
        };
        // The original works without these two: a special token that the vocabulary lacks gets the next free id.
        let mut free = ids.len() as u32..;
        let mut added_id =
            |token: &str| ids.get(token).copied().unwrap_or_else(|| free.next().unwrap_or_default());
        let special = SpecialIds {
            pad: added_id(PAD),
            unk: special_id(UNK)?,
            cls: special_id(CLS)?,
            sep: special_id(SEP)?,
            mask: added_id(MASK),
        };
        let is_visible =
            |token: &str, id| ids[token] == id && special.named().iter().all(|(_, other)| *other != id);
        let visible =
            tokens.iter().zip(0u32..).map(|(&token, id)| is_visible(token, id).then(|| token.to_owned()));
        let visible = visible.collect();
        let (mut starts, mut continuations) = (HashMap::new(), HashMap::new());
        for (token, id) in ids {
            match token.strip_prefix("##") {
                Some(piece) => continuations.insert(piece.to_owned(), id),
                None => starts.insert(token.to_owned(), id),
            };
        }
        Ok(Self {
            basic: BasicTokenizer::new(settings),
            starts,
            continuations,
            visible,
            special,
            written: [special.cls, special.sep],
            rows: usize::MAX,
            origin: origin.to_owned(),
        })
    }

    /// The tokenizer of a model with `rows` word embeddings, for [`check_ids`](Self::check_ids).
    #[must_use]
    pub fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// Checks that the model has an embedding for each of the `ids` of `text`.
    ///
    /// # Errors
    /// [`TokenizerError::NoEmbedding`] with the first that has none.
    pub fn check_ids(&self, text: &str, ids: &[u32]) -> Result<(), TokenizerError> {
        let Some(&id) = ids.iter().find(|id| **id as usize >= self.rows) else { return Ok(()) };
        let special = || self.special.named().into_iter().find(|(_, special)| *special == id);
        let token = match self.visible.get(id as usize) {
            Some(Some(token)) => token.clone(),
            _ => special().map_or_else(String::new, |(token, _)| token.to_owned()),
        };
        Err(TokenizerError::NoEmbedding {
            text: text.to_owned(),
            token,
            id,
            origin: self.origin.clone(),
            last: self.rows.saturating_sub(1),
        })
    }

    /// `[CLS] text [SEP]`, at most `max_len` ids (at least 2): a long text is cut before its `[SEP]`.
    ///
    /// A special token written out in the text, such as `[SEP]`, becomes its id. See [`Tokenizer::encode_question`].
    pub fn encode(&self, text: &str, max_len: usize) -> Vec<u32> {
        let last = max_len.max(2) - 1;
        let mut ids = vec![self.special.cls];
        let mut rest = text;
        while let Some((before, special, after)) = self.next_special(rest) {
            self.encode_plain(before, last, &mut ids);
            ids.push(special);
            rest = after;
            if ids.len() >= last {
                break;
            }
        }
        self.encode_plain(rest, last, &mut ids);
        ids.truncate(last);
        ids.push(self.special.sep);
        ids
    }

    /// As [`Tokenizer::encode`], filled with `[PAD]` to `max_len`.
    pub fn encode_padded(&self, text: &str, max_len: usize) -> Encoding {
        let mut input_ids = self.encode(text, max_len);
        let mut attention_mask = vec![1; input_ids.len()];
        attention_mask.resize(max_len.max(2), 0);
        input_ids.resize(max_len.max(2), self.special.pad);
        Encoding { input_ids, attention_mask }
    }

    /// A question, which the original lower-cases first: `[SEP]` in it is text, not the special token.
    pub fn encode_question(&self, question: &str, max_len: usize) -> Encoding {
        self.encode_padded(&lowercase(question), max_len)
    }

    /// The text of ids as the original decodes it: special tokens (`[UNK]` too) and unknown ids left out, one space
    /// between tokens, `##` pieces joined, English punctuation moved up. Chinese keeps its spaces: [`join_chinese`].
    pub fn decode(&self, ids: &[u32]) -> String {
        detokenize::detokenize(ids.iter().filter_map(|&id| self.visible.get(id as usize)?.as_deref()))
    }

    /// The token of an id as the vocabulary writes it, such as `##s`; none where [`decode`](Self::decode) leaves the id out.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.visible.get(id as usize)?.as_deref()
    }

    /// See [`join_chinese`].
    pub fn join_chinese(text: &str) -> String {
        join_chinese(text)
    }

    /// Id that begins a text which is written: that of `[CLS]`.
    pub fn bos_token_id(&self) -> u32 {
        self.written[0]
    }

    /// Id that ends a text which is written: that of `[SEP]`.
    pub fn eos_token_id(&self) -> u32 {
        self.written[1]
    }

    /// Id of `[PAD]`, which fills a sequence.
    pub fn pad_token_id(&self) -> u32 {
        self.special.pad
    }

    /// Id of `[UNK]`, which stands for a word without pieces.
    pub fn unk_token_id(&self) -> u32 {
        self.special.unk
    }

    /// Id of `[MASK]`.
    pub fn mask_token_id(&self) -> u32 {
        self.special.mask
    }

    /// Ids in the vocabulary: 0 to `vocab_size() - 1`.
    pub fn vocab_size(&self) -> usize {
        self.visible.len()
    }

    /// The first special token written out in `text`: what precedes it, its id, what follows it.
    fn next_special<'t>(&self, text: &'t str) -> Option<(&'t str, u32, &'t str)> {
        let found =
            self.special.named().into_iter().filter_map(|(token, id)| Some((text.find(token)?, token, id)));
        let (at, token, id) = found.min_by_key(|&(at, ..)| at)?;
        Some((&text[..at], id, &text[at + token.len()..]))
    }

    /// Appends the pieces of a text without special tokens; stops once there are `enough` ids.
    fn encode_plain(&self, text: &str, enough: usize, ids: &mut Vec<u32>) {
        for word in self.basic.words(text) {
            if ids.len() >= enough {
                return;
            }
            self.encode_word(&word, ids);
        }
    }

    /// Greedy longest match from the left; a word with any part unmatched is one `[UNK]`.
    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut rest = if word.chars().count() > MAX_WORD_CHARS { None } else { Some(word) };
        while let Some(part) = rest.filter(|part| !part.is_empty()) {
            let pieces = if part.len() == word.len() { &self.starts } else { &self.continuations };
            rest = longest_piece(pieces, part).map(|(id, after)| {
                ids.push(id);
                after
            });
        }
        if rest.is_none() {
            ids.truncate(before);
            ids.push(self.special.unk);
        }
    }
}

/// The longest piece that `part` starts with: its id, and what follows it.
fn longest_piece<'t>(pieces: &HashMap<String, u32>, part: &'t str) -> Option<(u32, &'t str)> {
    let ends = part.char_indices().map(|(at, character)| at + character.len_utf8()).rev();
    ends.into_iter().find_map(|end| Some((*pieces.get(&part[..end])?, &part[end..])))
}

fn read_text(path: &Path) -> Result<String, TokenizerError> {
    std::fs::read_to_string(path).map_err(|source| TokenizerError::Read { path: path.into(), source })
}

impl TokenizerSettings {
    /// The settings of the text of a `tokenizer_config.json`; `path` is for messages. What it does not say has the original's
    /// defaults, and `null` is no in the original.
    ///
    /// # Errors
    /// [`TokenizerError::Settings`] when it is not JSON, or requests what is not supported.
    pub fn from_json(text: &str, path: &Path) -> Result<Self, TokenizerError> {
        let wrong = |problem: String| TokenizerError::Settings { path: path.into(), problem };
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        let switch = |name: &str| match json.get(name) {
            None => Ok(None),
            Some(serde_json::Value::Null) => Ok(Some(false)),
            Some(value) => value
                .as_bool()
                .map(Some)
                .ok_or_else(|| wrong(format!("`{name}` is {value}; expected true or false"))),
        };
        if switch("do_basic_tokenize")? == Some(false) {
            return Err(wrong("`do_basic_tokenize` is false; only true is supported".into()));
        }
        let tokens = [
            ("pad_token", PAD),
            ("unk_token", UNK),
            ("cls_token", CLS),
            ("sep_token", SEP),
            ("mask_token", MASK),
        ];
        for (name, expected) in tokens {
            // A token is a string, or an object with the string in `content`.
            let token = json.get(name).map(|value| value.get("content").unwrap_or(value));
            if token.is_some_and(|value| value != expected) {
                return Err(wrong(format!("`{name}` is {}; only {expected} is supported", json[name])));
            }
        }
        let is_unsaid = json.get("strip_accents").is_none_or(serde_json::Value::is_null);
        Ok(Self {
            do_lower_case: switch("do_lower_case")?.unwrap_or(true),
            strip_accents: if is_unsaid { None } else { switch("strip_accents")? },
            tokenize_chinese_chars: switch("tokenize_chinese_chars")?.unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n##s\n中\nA\n.\n";

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_vocab(VOCAB).expect("a vocabulary with the special tokens")
    }

    #[test]
    fn words_are_cut_into_the_longest_pieces() {
        assert_eq!(tokenizer().encode("The  CATS中 dog.", 25), [2, 5, 6, 7, 8, 1, 10, 3]);
    }

    #[test]
    fn a_long_text_keeps_its_sep() {
        let tokenizer = tokenizer();
        assert_eq!(tokenizer.encode("the cats the cats", 5), [2, 5, 6, 7, 3]);
        assert_eq!(tokenizer.encode("cats cats", 3), [2, 6, 3]);
        assert_eq!(tokenizer.encode("cat", 0), [2, 3]);
        assert_eq!(tokenizer.encode("[MASK][MASK][MASK]", 4), [2, 4, 4, 3]);
    }

    #[test]
    fn special_tokens_in_text_count_unless_lower_cased() {
        let tokenizer = tokenizer();
        assert_eq!(tokenizer.encode("cat[SEP]the", 9), [2, 6, 3, 5, 3]);
        let question = tokenizer.encode_question("[SEP]", 6);
        assert_eq!(question.input_ids, [2, 1, 1, 1, 3, 0]);
        assert_eq!(question.attention_mask, [1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn a_word_of_101_characters_is_unknown() {
        let vocab = format!("{VOCAB}a\n##a\n");
        let tokenizer = Tokenizer::from_vocab(&vocab).expect("a vocabulary");
        assert_eq!(tokenizer.encode(&"a".repeat(100), 200).len(), 102);
        assert_eq!(tokenizer.encode(&"a".repeat(101), 200), [2, 1, 3]);
    }

    #[test]
    fn decoding_skips_special_and_unknown_ids() {
        assert_eq!(tokenizer().decode(&[2, 5, 1, 6, 7, 10, 99, 4, 3, 0]), "the cats.");
    }

    #[test]
    fn a_missing_special_token_is_named() {
        let error = Tokenizer::from_vocab("[PAD]\n[UNK]\n[CLS]\nthe").expect_err("no [SEP]");
        assert!(error.to_string().contains("lacks [SEP]"), "{error}");
    }

    #[test]
    fn special_tokens_that_the_original_does_without_get_free_ids() {
        let tokenizer =
            Tokenizer::from_vocab("[UNK]\n[CLS]\n[SEP]\ncat\n\n").expect("enough for the original");
        assert_eq!((tokenizer.pad_token_id(), tokenizer.mask_token_id()), (5, 6));
        assert_eq!(tokenizer.encode("cat [MASK]", 9), [1, 3, 6, 2]);
        assert_eq!(
            tokenizer.decode(&[3, 4, 3, 5, 6]),
            "cat  cat",
            "a token without characters leaves its spaces"
        );
    }

    #[test]
    fn a_model_of_another_size_has_the_originals_first_and_last_token() {
        let settings = TokenizerSettings::default();
        let unused: Vec<String> = (0..120).map(|n| format!("[unused{n}]\n")).collect();
        let vocabulary = unused.concat() + VOCAB;
        let of = |rows| Tokenizer::for_model(&vocabulary, settings, Path::new("m/vocab.txt"), rows);
        let ends = |rows| of(rows).map(|tokenizer| [tokenizer.bos_token_id(), tokenizer.eos_token_id()]);
        assert_eq!(ends(131).expect("a model of this size"), [122, 123]);
        assert_eq!(ends(125).expect("a smaller model"), [101, 102]);
        let tokenizer = of(125).expect("a smaller model");
        assert!(tokenizer.check_ids("", &[0, 124]).is_ok());
        let problem = tokenizer.check_ids("cats", &[124, 126, 127]).expect_err("beyond").to_string();
        for part in ["`cats` needs the token `cat`", "number 126 in m/vocab.txt", "0 to 124 only"] {
            assert!(problem.contains(part), "{problem}");
        }
        let problem = of(102).expect_err("no room for 102").to_string();
        assert!(problem.contains("m/vocab.txt: [CLS] is number 122"), "{problem}");
    }

    #[test]
    fn settings_beside_the_vocabulary_are_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (vocab, settings) =
            (folder.path().join("vocab.txt"), folder.path().join("tokenizer_config.json"));
        std::fs::write(&vocab, VOCAB).expect("written");
        let encode = || Tokenizer::from_file(&vocab).map(|tokenizer| tokenizer.encode("A", 9));
        assert_eq!(encode().expect("defaults"), [2, 1, 3]);
        std::fs::write(&settings, r#"{"do_lower_case": false, "pad_token": {"content": "[PAD]"}}"#)
            .expect("written");
        assert_eq!(encode().expect("cased"), [2, 9, 3]);
        std::fs::write(&settings, r#"{"do_lower_case": null}"#).expect("written");
        assert_eq!(encode().expect("null is no"), [2, 9, 3]);
        for wrong in
            ["{", r#"{"do_lower_case": 1}"#, r#"{"do_basic_tokenize": false}"#, r#"{"sep_token": "</s>"}"#]
        {
            std::fs::write(&settings, wrong).expect("written");
            let error = encode().expect_err(wrong).to_string();
            assert!(error.contains("tokenizer_config.json"), "{error}");
        }
    }
}
