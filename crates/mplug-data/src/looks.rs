//! Whether a file looks like a picture: by the ending of its name, or else by its first bytes. Nothing is decoded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use mplug::io_error_is_passing;

use crate::names::has_picture_extension;

/// Endings of pictures that no decoder here reads, in lower case. They are inputs like any other, and fail with the reason.
const UNREAD_EXTENSIONS: [&str; 13] =
    ["avif", "avifs", "heic", "heics", "heif", "heifs", "hif", "jxl", "jp2", "j2k", "jpf", "jpx", "jxr"];

/// Endings of what holds a picture and is none to look at as it is, in lower case: camera raws, drawings, files of editors, cursors, textures.
const OTHER_EXTENSIONS: [&str; 29] = [
    "ai", "arw", "cr2", "cr3", "cur", "dds", "dng", "eps", "exr", "hdr", "icns", "nef", "nrw", "orf", "pam",
    "pcx", "pef", "psb", "psd", "qoi", "raf", "rw2", "sr2", "srw", "svg", "svgz", "wmf", "x3f", "xcf",
];

/// The bytes of a file's beginning that say whether it is a picture.
pub const HEAD_BYTES: usize = 32;

/// What a name says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Picture,
    /// A kind of picture that is left out of folders and archives.
    OtherKind,
    /// Nothing.
    Unknown,
}

impl Named {
    fn of(name: &Path) -> Self {
        let extension = extension_of(name);
        if has_picture_extension(name) || UNREAD_EXTENSIONS.contains(&extension.as_str()) {
            Self::Picture
        } else if OTHER_EXTENSIONS.contains(&extension.as_str()) {
            Self::OtherKind
        } else {
            Self::Unknown
        }
    }
}

/// Whether a name is that of a picture, of whatever kind.
pub fn is_named_as_picture(name: &Path) -> bool {
    Named::of(name) != Named::Unknown
}

fn extension_of(name: &Path) -> String {
    name.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Whether a file's first bytes are those of a picture: of a kind that is read, or of AVIF, HEIC, JPEG 2000 and JPEG XL, which are not.
pub fn is_picture_head(head: &[u8]) -> bool {
    let at = |begin: usize, bytes: &[u8]| head.get(begin..begin + bytes.len()) == Some(bytes);
    let is_bitmap = || {
        // Two letters are no sign; the size of the header behind them is.
        let header_len = head.get(14..18).map(|len| u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
        at(0, b"BM") && header_len.is_some_and(|len| [12, 16, 40, 52, 56, 64, 108, 124].contains(&len))
    };
    let is_heif = || {
        let brands: [&[u8]; 9] =
            [b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"];
        at(4, b"ftyp") && brands.iter().any(|brand| at(8, brand))
    };
    at(0, b"\xff\xd8\xff")
        || at(0, b"\x89PNG\r\n\x1a\n")
        || at(0, b"GIF87a")
        || at(0, b"GIF89a")
        || (at(0, b"RIFF") && at(8, b"WEBP"))
        || at(0, b"II*\0")
        || at(0, b"MM\0*")
        || is_bitmap()
        || is_heif()
        || at(0, b"\0\0\0\x0cjP  \r\n")
        || at(0, b"\0\0\0\x0cJXL \r\n")
}

/// Why a file of a folder or an archive is no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its name is hidden: it begins with a full stop, or is below `__MACOSX`.
    Hidden,
    /// It is a kind of picture that is not looked at: a camera raw, a drawing.
    OtherKind,
    /// Neither its name nor its first bytes are a picture's.
    NotAPicture,
    /// Its name says nothing and its first bytes cannot be read: for a reason that passes, or for good.
    Unreadable {
        /// Whether trying again may help.
        is_passing: bool,
    },
    /// A link without its file, or a member of an archive that is no file.
    NoFile,
    /// A folder below one that is looked into.
    Subfolder,
    /// A link to a folder.
    FolderLink,
}

/// Files that were no inputs when a folder or an archive was listed, counted by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver {
    counts: BTreeMap<String, usize>,
    /// How many may be pictures that somebody misses.
    doubtful: usize,
}

/// Endings of names that are counted one by one.
const MOST_KINDS: usize = 50;

impl PassedOver {
    /// Counts a file.
    pub fn add(&mut self, name: &Path, why: Why) {
        let is_named = is_named_as_picture(name);
        let (what, is_doubtful) = match why {
            Why::Hidden => ("hidden".to_owned(), is_named),
            Why::Unreadable { .. } => ("unreadable".to_owned(), true),
            Why::NoFile => ("links without their file".to_owned(), is_named),
            Why::Subfolder => ("subfolders".to_owned(), false),
            Why::FolderLink => ("links to folders".to_owned(), false),
            Why::OtherKind | Why::NotAPicture => match extension_of(name) {
                extension if extension.is_empty() => ("without an ending".to_owned(), false),
                extension => (format!(".{extension}"), why == Why::OtherKind),
            },
        };
        let is_new = !self.counts.contains_key(&what);
        let what = if is_new && self.counts.len() == MOST_KINDS { "others".to_owned() } else { what };
        *self.counts.entry(what).or_default() += 1;
        self.doubtful += usize::from(is_doubtful);
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.doubtful += other.doubtful;
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.counts.values().sum()
    }

    /// How many of them may be pictures that somebody misses: hidden ones, links, kinds that are not looked at.
    pub fn doubtful(&self) -> usize {
        self.doubtful
    }

    /// What they are, each kind with its number, the most frequent first: `.txt`, `hidden`.
    pub fn kinds(&self) -> Vec<(&str, usize)> {
        let mut kinds: Vec<(&str, usize)> =
            self.counts.iter().map(|(what, count)| (what.as_str(), *count)).collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        kinds
    }
}

/// Whether the file of that name is a picture, by its name or else by its head, which is read only then.
///
/// # Errors
/// Why it is none.
pub(crate) fn judge(name: &Path, head: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<(), Why> {
    match Named::of(name) {
        Named::Picture => Ok(()),
        Named::OtherKind => Err(Why::OtherKind),
        Named::Unknown => match head() {
            Ok(head) if is_picture_head(&head) => Ok(()),
            Ok(_) => Err(Why::NotAPicture),
            Err(error) => Err(Why::Unreadable { is_passing: io_error_is_passing(&error) }),
        },
    }
}

/// Whether a file of a folder is a picture, by its name or else by its first bytes. A link is judged by what it leads to; a broken one
/// with a picture's name is a picture, whose message says more than silence.
///
/// # Errors
/// Why it is none.
pub fn judge_file(path: &Path) -> Result<(), Why> {
    judge(path, || {
        if !fs::metadata(path)?.is_file() {
            return Ok(Vec::new()); // a pipe would be waited for
        }
        head_of(File::open(path)?)
    })
}

/// The first bytes of a reader.
pub(crate) fn head_of(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether a member of an archive is hidden: macOS keeps what its files have beside their bytes in such.
pub(crate) fn is_hidden_member(name: &str) -> bool {
    let mut parts = name.rsplit(['/', '\\']);
    parts.next().is_some_and(|last| last.starts_with("._") || last == ".DS_Store")
        || parts.any(|part| part == "__MACOSX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_name_or_their_first_bytes() {
        let none = || Ok(b"some text".to_vec());
        for name in ["a.JFIF", "a.pjpeg", "a.jpe", "a.HEIC", "a.avif", "x/a.tif"] {
            assert_eq!(judge(Path::new(name), || panic!("not read")), Ok(()), "{name}");
        }
        assert_eq!(judge(Path::new("a.cr2"), || panic!("not read")), Err(Why::OtherKind));
        assert_eq!(judge(Path::new("a.dat"), none), Err(Why::NotAPicture));
        let unread = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(judge(Path::new("a"), unread), Err(Why::Unreadable { is_passing: false }));
        let heads: [&[u8]; 8] = [
            b"\xff\xd8\xff\xe0",
            b"\x89PNG\r\n\x1a\n...",
            b"GIF89a",
            b"RIFF....WEBPVP8 ",
            b"II*\0",
            b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0",
            b"\0\0\0\x1cftypavif",
            b"\0\0\0\x18ftypheic",
        ];
        for head in heads {
            assert_eq!(judge(Path::new("a.dat"), || Ok(head.to_vec())), Ok(()), "{head:?}");
        }
        for head in
            [&b""[..], b"BMW and others, in a text", b"\0\0\0\x18ftypisom", b"RIFF....WAVE", b"\xff\xd8"]
        {
            assert!(!is_picture_head(head), "{head:?}");
        }
    }

    #[test]
    fn what_was_passed_over_is_counted_by_kind() {
        let mut passed_over = PassedOver::default();
        for (name, why) in [
            ("a.txt", Why::NotAPicture),
            ("b.TXT", Why::NotAPicture),
            ("c.svg", Why::OtherKind),
            (".d.jpg", Why::Hidden),
            (".DS_Store", Why::Hidden),
            ("notes", Why::NotAPicture),
        ] {
            passed_over.add(Path::new(name), why);
        }
        let kinds = [(".txt", 2), ("hidden", 2), (".svg", 1), ("without an ending", 1)];
        assert_eq!((passed_over.kinds(), passed_over.doubtful()), (kinds.into(), 2));
        assert!(is_hidden_member("__MACOSX/a/b.png") && is_hidden_member("a/._b.png"));
        assert!(!is_hidden_member("a/.b.png") && !is_hidden_member("MACOSX/a.png"));
    }
}
