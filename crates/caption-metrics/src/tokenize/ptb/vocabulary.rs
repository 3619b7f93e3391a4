//! The words that the tokeniser knows by heart.
//!
//! The lists were found by asking CoreNLP 3.4.1's PTBTokenizer about every string of up to five letters and about a
//! hundred thousand longer English words. This file knows nothing of the text around a word.

/// What an abbreviation's dot means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abbreviation {
    /// The dot is the abbreviation's, whatever follows.
    Title,
    /// The dot may end the sentence as well.
    SentenceEnd,
}

/// Words that are two tokens, and where the second starts.
pub(super) const SPLIT_WORDS: [(&str, usize); 6] =
    [("cannot", 3), ("gonna", 3), ("gotta", 3), ("lemme", 3), ("gimme", 3), ("wanna", 3)];

/// Words after an acronym that make its dot end the sentence.
pub(super) const SENTENCE_STARTERS: [&str; 44] = [
    "a",
    "about",
    "according",
    "additionally",
    "after",
    "an",
    "as",
    "at",
    "but",
    "earlier",
    "he",
    "her",
    "here",
    "however",
    "if",
    "in",
    "it",
    "last",
    "many",
    "more",
    "now",
    "once",
    "one",
    "other",
    "our",
    "she",
    "since",
    "so",
    "some",
    "such",
    "that",
    "the",
    "their",
    "then",
    "there",
    "these",
    "they",
    "this",
    "we",
    "what",
    "when",
    "while",
    "yet",
    "you",
];

/// Abbreviations before a name, and others that rarely end a sentence. Sorted, as all lists below.
#[rustfmt::skip] // a list of words reads best filled
const TITLES: &[&str] = &[
    "adj", "adm", "adv", "alex", "assoc", "asst", "atty", "attys", "ave", "brig", "capt", "cf", "cie",
    "cmdr", "col", "comdr", "cont'd", "cpl", "dept", "det", "dr", "drs", "elec", "ens", "ft", "gen", "gov",
    "govs", "hon", "insp", "invt", "jos", "lieut", "lt", "maj", "messrs", "mfg", "mlle", "mme", "mr", "mrs",
    "ms", "msgr", "mt", "mtg", "natl", "pfc", "ph", "pres", "prof", "profs", "pvt", "rep", "reps", "rev",
    "sen", "sens", "sfc", "sgt", "spc", "st", "ste", "supt", "supts", "treas", "vs", "wm",
];

/// Months, days, states, companies and others that may end a sentence.
#[rustfmt::skip] // a list of words reads best filled
const SENTENCE_ENDS: &[&str] = &[
    "al", "ala", "apr", "ariz", "ark", "assn", "aug", "az", "bhd", "bldg", "blvd", "bros", "calif", "co",
    "colo", "conn", "corp", "cos", "ct", "dak", "dec", "del", "esq", "est", "etc", "ext", "feb", "fla",
    "fri", "ga", "ill", "inc", "ind", "intl", "jan", "jr", "jul", "jun", "kan", "kans", "ky", "la", "ltd",
    "mar", "mass", "md", "mich", "minn", "miss", "mo", "mon", "mont", "neb", "nev", "nov", "oct", "okla",
    "ore", "pa", "penn", "ph.d", "plc", "ppte", "pptes", "ppty", "pptys", "pte", "ptes", "pty", "ptys",
    "rd", "rt", "sep", "sept", "seq", "sq", "sr", "sys", "tel", "tenn", "tex", "thu", "thurs", "tue",
    "tues", "univ", "va", "vt", "wash", "wed", "wis", "wisc", "wyo",
];

/// Abbreviations before a number only.
#[rustfmt::skip] // a list of words reads best filled
const NUMBERED: &[&str] = &[
    "art", "bldg", "ca", "fig", "figs", "no", "nos", "op", "pp", "prop",
];

/// Of the abbreviations those that are words too, so that they must start with a capital.
#[rustfmt::skip] // a list of words reads best filled
const CAPITALISED: &[&str] = &[
    "ark", "az", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash",
];

/// Of the abbreviations those that are not known in capitals.
#[rustfmt::skip] // a list of words reads best filled
const NOT_CAPITALS: &[&str] = &[
    "mfg", "mtg", "ppte", "pptes", "ppty", "pptys", "pte", "ptes", "pty", "ptys",
];

/// Endings of file names.
#[rustfmt::skip] // a list of words reads best filled
const FILE_ENDINGS: &[&str] = &[
    "bat", "bmp", "c", "cgi", "cpp", "dll", "doc", "docx", "exe", "gif", "gz", "h", "htm", "html", "jar", "java",
    "jpeg", "jpg", "mov", "mp3", "pdf", "php", "pl", "png", "ppt", "ps", "py", "sql", "tar", "txt", "wav", "x", "xml",
    "zip",
];

fn contains(list: &[&str], word: &str) -> bool {
    list.binary_search_by(|known| known.bytes().cmp(word.bytes().map(|byte| byte.to_ascii_lowercase())))
        .is_ok()
}

/// What the dot after `word`, given without it, means if the word is an abbreviation.
pub(super) fn abbreviation(word: &str) -> Option<Abbreviation> {
    let bytes = word.as_bytes();
    if contains(CAPITALISED, word) && !bytes[0].is_ascii_uppercase() {
        return None;
    }
    if contains(NOT_CAPITALS, word) && bytes[1].is_ascii_uppercase() {
        return None;
    }
    if contains(TITLES, word) {
        Some(Abbreviation::Title)
    } else if contains(SENTENCE_ENDS, word) {
        Some(Abbreviation::SentenceEnd)
    } else {
        None
    }
}

/// Whether `word` keeps its dot before a number.
pub(super) fn is_numbered(word: &str) -> bool {
    contains(NUMBERED, word)
}

/// Whether the dot after `word` might be the word's.
pub(super) fn keeps_dot(word: &str) -> bool {
    const LONGEST: usize = 6;
    word.len() <= LONGEST && (is_numbered(word) || abbreviation(word).is_some())
}

/// Whether `ending`, given without its dot, is that of a file name.
pub(super) fn is_file_ending(ending: &str) -> bool {
    contains(FILE_ENDINGS, ending)
}
