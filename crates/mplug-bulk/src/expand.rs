//! What was typed becomes pictures: folders, archives and patterns are looked into. What is no picture in them is counted.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::MatchOptions;
use mplug::io_error_is_passing;
use mplug_data::looks::{PassedOver, Why, judge_file};
use mplug_data::picture::{Failure, Remedy};
use mplug_data::source::{Member, pictures_of_archive};
use walkdir::{DirEntry, WalkDir};

use crate::inputs::Input;
use crate::web;

/// Ends of the names of archives, in lower case. Compressed tars are known to be refused by name.
const ARCHIVES: [&str; 11] =
    [".tar", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst"];

/// Inputs while they are listed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) list: Vec<Input>,
    pub(crate) passed_over: PassedOver,
    pub(crate) is_recursive: bool,
}

impl Listing {
    /// Adds one name: a folder becomes its pictures, anything else stays.
    pub(crate) fn expand(&mut self, path: PathBuf) {
        // What cannot be looked at now may be a folder or an archive: taken for a picture it would make another list.
        if let Err(error) = fs::metadata(&path)
            && io_error_is_passing(&error)
        {
            let failure = Failure::new(format!("cannot be read: {error}"), true);
            self.list.push(Input::failing(path, failure));
        } else if path.is_dir() {
            self.expand_folder(path);
        } else if web::is_address(&path) {
            self.list.push(web::closed(&path));
        } else if is_archive(&path) {
            self.expand_archive(path);
        } else if is_pattern(&path) && !path.exists() {
            self.expand_pattern(path);
        } else {
            self.list.push(Input::file(path));
        }
    }

    /// What fits a pattern that no shell has expanded, by name. One that nothing fits is a failed input.
    fn expand_pattern(&mut self, pattern: PathBuf) {
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let found = match pattern.to_str().map(|text| glob::glob_with(text, options)) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                return self.list.push(Input::failed(pattern, format!("is no pattern: {error}")));
            }
            None => return self.list.push(Input::failed(pattern, "is no pattern: it is not UTF-8")),
        };
        let before = self.list.len();
        for entry in found {
            match entry {
                Ok(path) => self.expand(path),
                Err(error) => {
                    self.list.push(Input::failing(error.path().to_owned(), unreadable(error.error())));
                }
            }
        }
        if self.list.len() == before {
            self.list.push(Input::failed(pattern, "no file fits this pattern"));
        }
    }

    /// The pictures of an archive. One without any, or that cannot be read, is a failed input.
    fn expand_archive(&mut self, archive: PathBuf) {
        let members = match pictures_of_archive(&archive) {
            Ok(members) => members,
            Err(error) => {
                self.list.push(Input::failing(archive, Failure::from(error)));
                return;
            }
        };
        self.passed_over.merge(members.passed_over);
        if members.list.is_empty() {
            self.list.push(Input::failed(archive, "no pictures in this archive"));
            return;
        }
        let given = archive.components().count().saturating_sub(1);
        self.list.extend(members.list.into_iter().map(|member| input_of(&archive, member, given)));
    }

    /// The pictures of a folder by name, those of its subfolders too where that is requested; hidden files are left out, links to
    /// folders are not followed (so no loop is possible). A folder without any is a failed input.
    fn expand_folder(&mut self, folder: PathBuf) {
        let depth = if self.is_recursive { usize::MAX } else { 1 };
        let mut walk = WalkDir::new(&folder).min_depth(1).max_depth(depth).sort_by_file_name().into_iter();
        let (before, given) = (self.list.len(), folder.components().count());
        let mut subfolders = 0;
        while let Some(entry) = walk.next() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    subfolders += 1;
                    if is_hidden(entry.file_name()) {
                        walk.skip_current_dir();
                    } else if !self.is_recursive {
                        self.passed_over.add(entry.path(), Why::Subfolder);
                    }
                }
                Ok(entry) if is_hidden(entry.file_name()) => self.passed_over.add(entry.path(), Why::Hidden),
                Ok(entry) if is_folder_link(&entry) => self.passed_over.add(entry.path(), Why::FolderLink),
                Ok(entry) => match judge_file(entry.path()) {
                    Ok(()) => self.list.push(Input::found(entry.into_path(), given)),
                    // It may be a picture: without it this would be another list.
                    Err(Why::Unreadable { is_passing: true }) => {
                        let failure = Failure::new("cannot be read, to see whether it is a picture", true);
                        self.list.push(Input::failing(entry.into_path(), failure));
                    }
                    Err(why) => self.passed_over.add(entry.path(), why),
                },
                Err(error) => {
                    let path = error.path().unwrap_or(&folder).to_owned();
                    self.list.push(match error.io_error() {
                        Some(error) => Input::failing(path, unreadable(error)),
                        None => Input::failed(path, format!("cannot read this folder: {error}")),
                    });
                }
            }
        }
        if self.list.len() == before {
            let failure = Failure::lasting("no pictures in this folder");
            self.list.push(Input::failing(
                folder,
                match subfolders {
                    1.. if !self.is_recursive => failure.with_remedy(Remedy::Subfolders),
                    _ => failure,
                },
            ));
        }
    }
}

/// A member of an archive as an input, called by the archive's name and its own.
fn input_of(archive: &Path, Member { name, source }: Member, given: usize) -> Input {
    // `join` would let an absolute name take the archive's place.
    let text = name.text.trim_start_matches('/');
    let mut exact = None;
    if let Some(bytes) = name.bytes {
        let slashes = bytes.iter().take_while(|byte| **byte == b'/').count();
        let bytes = [archive.as_os_str().as_encoded_bytes(), b"/", &bytes[slashes..]].concat();
        // A name of which the text has not everything is its bytes, where names may be bytes: two of them stay two.
        if let Some(path) = path_of(&bytes).filter(|_| !name.is_whole) {
            return Input { path, given, source: Ok(source), exact };
        }
        exact = Some(bytes);
    }
    Input { path: archive.join(text), given, source: Ok(source), exact }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere names are no bytes")]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(OsStr::from_bytes(bytes).into())
}

#[cfg(not(unix))]
fn path_of(_: &[u8]) -> Option<PathBuf> {
    None
}

/// Whether a name has the signs of a pattern. A file that is called so is a file.
pub(crate) fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// Whether a file is called as an archive is.
pub(crate) fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    ARCHIVES.iter().any(|end| name.ends_with(end)) && path.is_file()
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(format!("cannot read this folder: {error}"), io_error_is_passing(error))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_folder_link(entry: &DirEntry) -> bool {
    entry.path_is_symlink() && fs::metadata(entry.path()).is_ok_and(|found| found.is_dir())
}
