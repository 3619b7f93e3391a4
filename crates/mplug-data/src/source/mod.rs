//! Where pictures are: in memory, files, members of zip and tar archives, fields of a table of base64, web addresses, with the feature `parquet`
//! rows of Parquet files.
//!
//! Our own design. An [`ImageRoot`] is opened once and finds pictures by name; a [`PictureSource`] is one picture,
//! readable from any thread, never more of it in memory than [`ImageLimits::max_file_bytes`]. Archives are read where they
//! are: nothing is unpacked to a disk, so no member's name can lead anywhere. They are listed once, and opened again when a picture is
//! read: any number of them needs few open files.
//!
//! Refuses to know annotations, compressed tar files (a member could not be read without all before it, so they are refused by name) and the network: a web
//! address comes with somebody who fetches it.

mod base64_table;
mod held;
#[cfg(feature = "parquet")]
mod parquet;
mod remote;
mod shared_file;
mod tar_archive;
mod zip_archive;

use std::fmt;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use base64_table::Base64Field;
pub use held::HeldPicture;
use image::RgbImage;
use mplug::preprocess::image::{ImageError, ImageFault, ImageLimits, decode_image, load_image};
#[cfg(feature = "parquet")]
pub(crate) use parquet::TextTable;
#[cfg(feature = "parquet")]
pub use parquet::{ParquetRow, rows_of_parquet};
pub use remote::{FetchPicture, HostNotAllowed, NotFetched, RemotePicture};
pub use tar_archive::TarMember;
pub use zip_archive::ZipMember;

use crate::error::DataError;
use crate::looks::{PassedOver, Why, is_hidden_member, judge};
pub use crate::member_names::MemberName;
use crate::names::{Match, NameIndex, stem};
pub use crate::names::{PICTURE_COLUMNS, PICTURE_EXTENSIONS, has_picture_extension};
use crate::text::open_file;

/// One picture, wherever it is.
#[derive(Debug, Clone)]
pub enum PictureSource {
    /// A file.
    File(PathBuf),
    /// The bytes of a file, at hand.
    InMemory(Arc<[u8]>),
    /// A member of a zip archive.
    ZipMember(ZipMember),
    /// A member of a tar archive.
    TarMember(TarMember),
    /// A field of a table of base64.
    Base64Field(Base64Field),
    /// A web address, and who fetches it.
    Remote(RemotePicture),
    /// Bytes that are here already.
    Held(HeldPicture),
    /// A row of a Parquet file.
    #[cfg(feature = "parquet")]
    ParquetRow(ParquetRow),
}

impl PictureSource {
    /// The picture's encoded bytes.
    ///
    /// # Errors
    /// An [`ImageError`] that names the picture: it cannot be read, or has more bytes than the limit, or is in a file that is not
    /// what it was when its pictures were listed. [`ImageError::is_passing`] says whether to ask again later.
    pub fn read(&self, limits: &ImageLimits) -> Result<Vec<u8>, ImageError> {
        let limit = limits.max_file_bytes;
        let bytes = match self {
            Self::File(path) => read_file(path, limit),
            Self::InMemory(bytes) => check_len(bytes.len() as u64, limit).map(|()| bytes.to_vec()),
            Self::ZipMember(member) => member.file().read_unchanged(|| member.read(limit)),
            Self::TarMember(member) => member.file().read_unchanged(|| member.read(limit)),
            Self::Base64Field(field) => field.file().read_unchanged(|| field.read(limit)),
            Self::Remote(picture) => picture.read(limit),
            Self::Held(picture) => picture.read(limit),
            #[cfg(feature = "parquet")]
            Self::ParquetRow(row) => row.file().read_unchanged(|| row.read(limit)),
        };
        bytes.map_err(|fault| ImageError { origin: self.to_string(), fault })
    }

    /// The picture, decoded as [`load_image`] does.
    ///
    /// # Errors
    /// As [`Self::read`], and what the decoder finds wrong.
    pub fn decode(&self, limits: &ImageLimits) -> Result<RgbImage, ImageError> {
        match self {
            Self::File(path) => load_image(path, limits),
            _ => decode_image(&self.read(limits)?, limits).map_err(|error| error.named(self)),
        }
    }
}

impl fmt::Display for PictureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::InMemory(_) => f.write_str("picture"),
            Self::ZipMember(member) => write!(f, "{member}"),
            Self::TarMember(member) => write!(f, "{member}"),
            Self::Base64Field(field) => write!(f, "{field}"),
            Self::Remote(picture) => write!(f, "{picture}"),
            Self::Held(picture) => write!(f, "{picture}"),
            #[cfg(feature = "parquet")]
            Self::ParquetRow(row) => write!(f, "{row}"),
        }
    }
}

/// Refuses a picture of more bytes than the limit.
fn check_len(found: u64, limit: u64) -> Result<(), ImageFault> {
    if found > limit { Err(ImageFault::TooManyBytes { found, limit }) } else { Ok(()) }
}

/// All of a reader, unless it has more bytes than the limit.
fn read_bounded(reader: impl Read, expected: u64, limit: u64) -> Result<Vec<u8>, ImageFault> {
    check_len(expected, limit)?;
    // What an archive claims is taken at its word for a megabyte.
    let mut bytes = Vec::with_capacity(expected.min(1 << 20) as usize);
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(ImageFault::Read)?;
    check_len(bytes.len() as u64, limit)?;
    Ok(bytes)
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, ImageFault> {
    let metadata = std::fs::metadata(path).map_err(ImageFault::Read)?;
    if !metadata.is_file() {
        return Err(ImageFault::NotAFile);
    }
    read_bounded(std::fs::File::open(path).map_err(ImageFault::Read)?, metadata.len(), limit)
}

/// Where the pictures of a dataset are.
#[derive(Debug)]
pub struct ImageRoot {
    path: PathBuf,
    place: RootPlace,
    /// Whether an absolute path is a file's, wherever that is.
    takes_absolute: bool,
}

#[derive(Debug)]
enum RootPlace {
    Folder,
    /// The pictures in one file: their names, and each where its name's number says.
    Archive(NameIndex, Vec<PictureSource>),
}

/// Most members of an archive, so that a hostile one cannot fill the memory.
pub(crate) const MAX_MEMBERS: usize = 16_000_000;
/// Most bytes of their names together: 1 GiB.
const MAX_NAMES_BYTES: usize = 1 << 30;

impl ImageRoot {
    /// Opens a folder, a zip or tar archive, or a table of `id`, tab, base64 (MUGE). What a file is, its bytes say.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be read or is damaged, [`DataError::UnknownFormat`] if it is something else.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let place = if path.is_dir() { RootPlace::Folder } else { open_archive(path)? };
        Ok(Self { path: path.to_path_buf(), place, takes_absolute: false })
    }

    /// The members of several archives in one folder, each under its archive's name.
    pub(crate) fn of_shards(folder: &Path) -> Result<Self, DataError> {
        let (names, sources) = names_and_sources(members_of_shards(folder)?);
        let place = RootPlace::Archive(NameIndex::new(names), sources);
        Ok(Self { path: folder.to_path_buf(), place, takes_absolute: false })
    }

    /// The pictures in the rows of a Parquet file, called by the rows' numbers from 0. `column` is theirs; one with a usual name if
    /// `None`.
    ///
    /// # Errors
    /// As [`rows_of_parquet`].
    #[cfg(feature = "parquet")]
    pub(crate) fn of_parquet(path: &Path, column: Option<&str>) -> Result<Self, DataError> {
        let sources = rows_of_parquet(path, column)?;
        let names = (0..sources.len()).map(|row| row.to_string()).collect();
        let place = RootPlace::Archive(NameIndex::new(names), sources);
        Ok(Self { path: path.to_path_buf(), place, takes_absolute: false })
    }

    /// Takes absolute paths for files, wherever they are, where this is a folder.
    #[must_use]
    pub fn with_absolute_paths(self) -> Self {
        Self { takes_absolute: matches!(self.place, RootPlace::Folder), ..self }
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The picture of a name: the one whose path is the name, or else ends with the name, or that the name ends with.
    /// Extensions may be missing.
    ///
    /// # Errors
    /// [`DataError::NoPicture`] if there is none (or the name leads out of the folder), [`DataError::Ambiguous`] if there
    /// are two.
    pub fn find(&self, name: &str) -> Result<PictureSource, DataError> {
        let (root, name) = (self.path.clone(), name.to_string());
        let path = Path::new(&name);
        if self.takes_absolute && path.is_absolute() {
            let hint = "it has an absolute path; if the pictures were moved, name their folder now";
            let found = path.is_file().then(|| PictureSource::File(path.to_path_buf()));
            return found.ok_or(DataError::NoPicture { root, name, hint });
        }
        let RootPlace::Archive(names, sources) = &self.place else {
            let hint = "name the folder or the archive that holds the pictures";
            let found = find_in_folder(&self.path, &name);
            return found.map(PictureSource::File).ok_or(DataError::NoPicture { root, name, hint });
        };
        match names.find(&name) {
            Match::One(number) => Ok(sources[number].clone()),
            Match::None => {
                Err(DataError::NoPicture { root, name, hint: "members are found by the end of their path" })
            }
            Match::Several(first, second) => {
                let [first, second] = [first, second].map(|number| names.name(number).to_string());
                Err(DataError::Ambiguous { root, name, first, second })
            }
        }
    }
}

/// Where a name that an annotation file gives leads, from the image root; `None` if out of it.
pub(crate) fn inside(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

/// The file of a name in a folder: with all of its folders, or fewer; with an extension if it has none.
fn find_in_folder(folder: &Path, name: &str) -> Option<PathBuf> {
    let inside = inside(name)?;
    let parts: Vec<_> = inside.iter().collect();
    let has_extension = parts.last().and_then(|last| last.to_str()).is_some_and(|last| stem(last) != last);
    for first in 0..parts.len() {
        let path = folder.join(parts[first..].iter().collect::<PathBuf>());
        if path.is_file() {
            return Some(path);
        }
        // The one that cameras write in capitals.
        let mut longer = PICTURE_EXTENSIONS.iter().chain(&["JPG"]).map(|extension| {
            let mut path = path.clone().into_os_string();
            path.push(".");
            path.push(extension);
            PathBuf::from(path)
        });
        if let Some(path) = longer.find(|path| !has_extension && path.is_file()) {
            return Some(path);
        }
    }
    None
}

/// A member of an archive, or a field of a table.
#[derive(Debug, Clone)]
pub struct Member {
    /// What it is called in there.
    pub name: MemberName,
    /// Its bytes.
    pub source: PictureSource,
}

/// What an archive holds.
#[derive(Debug, Default)]
pub struct Members {
    /// The members that are wanted.
    pub list: Vec<Member>,
    /// The others.
    pub passed_over: PassedOver,
}

/// The pictures of a zip or tar archive, detected by the endings of their names or their first bytes: those of a tar in its order, those
/// of a zip by name.
///
/// # Errors
/// As [`ImageRoot::open`].
pub fn pictures_of_archive(path: &Path) -> Result<Members, DataError> {
    let Members { mut list, mut passed_over } = members_of(path)?;
    let mut passing = None;
    list.retain(|Member { name, source }| {
        let name = Path::new(&name.text);
        let judged = if is_hidden_member(&name.to_string_lossy()) {
            Err(Why::Hidden)
        } else {
            judge(name, || source.head())
        };
        if judged == Err(Why::Unreadable { is_passing: true }) {
            passing.get_or_insert_with(|| name.to_owned());
        }
        judged.map_err(|why| passed_over.add(name, why)).is_ok()
    });
    if let Some(name) = passing {
        // Without it this would be another list.
        let what = format!("the first bytes of {} cannot be read now", name.display());
        return Err(DataError::io(path, io::Error::new(io::ErrorKind::Interrupted, what)));
    }
    if list.iter().any(|member| matches!(member.source, PictureSource::ZipMember(_))) {
        list.sort_by(|one, other| one.name.text.cmp(&other.name.text));
    }
    Ok(Members { list, passed_over })
}

/// What members are called, and where they are.
pub(crate) fn names_and_sources(members: Vec<Member>) -> (Vec<String>, Vec<PictureSource>) {
    members.into_iter().map(|Member { name, source }| (name.text, source)).unzip()
}

fn open_archive(path: &Path) -> Result<RootPlace, DataError> {
    let (names, sources) = names_and_sources(members_of(path)?.list);
    Ok(RootPlace::Archive(NameIndex::new(names), sources))
}

/// Beginnings of compressed files, what they are called, and what unpacks them.
const COMPRESSED: [(&[u8], &str, &str); 4] = [
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
];

/// Whether a file is a zip or tar archive, by its beginning of 512 bytes or more, or by its name.
pub(crate) fn is_archive(path: &Path, head: &[u8]) -> bool {
    head.starts_with(b"PK") || is_tar(path, head)
}

fn is_tar(path: &Path, head: &[u8]) -> bool {
    let is_compressed = COMPRESSED.iter().any(|(beginning, ..)| head.starts_with(beginning));
    let is_named_tar = path.extension().is_some_and(|extension| extension == "tar");
    head.get(257..262) == Some(b"ustar") || (is_named_tar && !is_compressed)
}

/// The members of an archive, or the fields of a table.
pub(crate) fn members_of(path: &Path) -> Result<Members, DataError> {
    let (file, _) = open_file(path)?;
    let mut head = Vec::new();
    file.take(512).read_to_end(&mut head).map_err(|e| DataError::io(path, e))?;
    let members = if head.starts_with(b"PK") {
        zip_archive::members(path)
    } else if is_tar(path, &head) {
        tar_archive::members(path)
    } else if head.contains(&b'\t') && std::str::from_utf8(&head).is_ok() {
        base64_table::fields(path)
    } else {
        let compressed = COMPRESSED.iter().find(|(beginning, ..)| head.starts_with(beginning));
        let what = match compressed {
            Some((_, kind, unpack)) => format!("is compressed ({kind}): unpack it first, with `{unpack}`"),
            None => "it is no place for pictures that mplug knows".into(),
        };
        let known = "a folder, a zip archive, an uncompressed tar archive, a table of base64".into();
        return Err(DataError::UnknownFormat { path: path.to_path_buf(), what, known });
    };
    members.map_err(|e| DataError::io(path, e))
}

/// The tar archives of a folder, by name: the shards of a dataset.
pub(crate) fn shards_of(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
        let path = entry.map_err(|e| DataError::io(folder, e))?.path();
        if path.extension().is_some_and(|extension| extension == "tar") && path.is_file() {
            shards.push(path);
        }
    }
    shards.sort();
    Ok(shards)
}

/// The members of a folder's archives: `00000.tar/000.jpg`.
pub(crate) fn members_of_shards(folder: &Path) -> Result<Vec<Member>, DataError> {
    let (mut all, mut counted) = (Vec::new(), Counted::default());
    for shard in shards_of(folder)? {
        let shard_name = shard.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for mut member in members_of(&shard)?.list {
            member.name.text = format!("{shard_name}/{}", member.name.text);
            counted.add(member.name.text.as_bytes()).map_err(|e| DataError::io(&shard, e))?;
            all.push(member);
        }
    }
    Ok(all)
}

impl PictureSource {
    /// The first bytes of a member of an archive; of anything else none.
    fn head(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::ZipMember(member) => member.head(),
            Self::TarMember(member) => member.head(),
            _ => Ok(Vec::new()),
        }
    }
}

/// How many members an archive has, and how long their names are, while it is searched.
#[derive(Default)]
struct Counted {
    members: usize,
    names_bytes: usize,
}

impl Counted {
    fn add(&mut self, name: &[u8]) -> io::Result<()> {
        self.members += 1;
        self.names_bytes += name.len();
        if self.members > MAX_MEMBERS || self.names_bytes > MAX_NAMES_BYTES {
            let what =
                format!("has more than {MAX_MEMBERS} members, or {MAX_NAMES_BYTES} bytes of their names");
            return Err(invalid(what));
        }
        Ok(())
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests;
