//! Results as text, JSON or JSON lines, to a stream or to a file that appears whole or not at all. Knows records, not what is in
//! them.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::BulkError;

/// How records are written one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// Lines for people and pipes.
    Text,
    /// One JSON array.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// The answer to one input.
pub trait Record: Serialize {
    /// The lines of the text form, each ended; nothing for an input that failed.
    ///
    /// # Errors
    /// What the stream fails with.
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()>;
}

/// Writes records one after the other.
pub struct RecordWriter {
    destination: Destination,
    format: RecordFormat,
    count: usize,
}

impl RecordWriter {
    /// Writes records to `destination`.
    pub fn new(destination: Destination, format: RecordFormat) -> Self {
        Self { destination, format, count: 0 }
    }

    /// Refuses an output that is one of the inputs: it would replace the picture.
    ///
    /// # Errors
    /// [`BulkError::OutputIsInput`].
    pub fn refuse_inputs<'a>(&self, inputs: impl Iterator<Item = &'a Path>) -> Result<(), BulkError> {
        self.destination.refuse_inputs(inputs)
    }

    /// Where the records go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Writes one record.
    pub fn write(&mut self, record: &impl Record) -> Result<(), BulkError> {
        let (format, count) = (self.format, self.count);
        self.count += 1;
        self.destination.write_with(|to| match format {
            RecordFormat::Text => record.write_text(to),
            RecordFormat::Json => {
                to.write_all(if count == 0 { b"[\n  " } else { b",\n  " })?;
                write_json(to, record)
            }
            RecordFormat::Jsonl => {
                write_json(to, record)?;
                to.write_all(b"\n")
            }
        })
    }

    /// Writes a JSON object as a line, whatever the format.
    pub(crate) fn write_line(&mut self, record: &impl Serialize) -> Result<(), BulkError> {
        self.count += 1;
        self.destination.write_with(|to| {
            write_json(to, record)?;
            to.write_all(b"\n")
        })
    }

    /// Hands what was written so far to the reader of a pipe or terminal.
    pub fn flush(&mut self) -> Result<(), BulkError> {
        self.destination.write_with(|to| to.flush())
    }

    /// Ends the document; a file gets its name now.
    pub fn finish(mut self) -> Result<(), BulkError> {
        if self.format == RecordFormat::Json {
            let end: &[u8] = if self.count == 0 { b"[]\n" } else { b"\n]\n" };
            self.destination.write_with(|to| to.write_all(end))?;
        }
        self.destination.finish()
    }
}

fn write_json(to: &mut dyn Write, record: &impl Serialize) -> io::Result<()> {
    // An error of the stream keeps its kind (a closed pipe must stay one).
    serde_json::to_writer(to, record).map_err(io::Error::from)
}

/// Where bytes go: a stream, or a file that appears whole at the end.
pub struct Destination(Kind);

enum Kind {
    /// A stream that the caller has open, and what messages call it.
    Stream { name: String, writer: Box<dyn Write> },
    /// A temporary file beside `path`, which takes its name at the end.
    File { path: PathBuf, writer: BufWriter<NamedTempFile> },
}

impl Destination {
    /// Writes to a stream, which messages call `name` (`standard output`).
    pub fn stream(name: impl Into<String>, writer: Box<dyn Write>) -> Self {
        Self(Kind::Stream { name: name.into(), writer })
    }

    /// Opens a temporary file beside `path`, or the device or named pipe that `path` is: there is nothing to replace.
    ///
    /// # Errors
    /// [`BulkError::Unwritable`] for a folder and for a link that leads nowhere, [`BulkError::Io`] where the system refuses.
    pub fn file(path: &Path) -> Result<Self, BulkError> {
        let unwritable = |problem| Err(BulkError::Unwritable { path: path.to_owned(), problem });
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => unwritable("is a folder, expected a file name"),
            Ok(found) if !found.is_file() => {
                let stream = File::options().write(true).open(path).map_err(BulkError::io(path, ""))?;
                Ok(Self::stream(path.display().to_string(), Box::new(BufWriter::new(stream))))
            }
            Err(_) if path.is_symlink() => {
                unwritable("is a link that leads nowhere: remove it, or give another name")
            }
            _ => Self::create_file(path),
        }
    }

    fn create_file(path: &Path) -> Result<Self, BulkError> {
        // Through a link the file that it points to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".mplug-").suffix(".part");
        if let Some(permissions) = readable_by_others() {
            builder.permissions(permissions);
        }
        let file = builder.tempfile_in(folder).map_err(mplug::plain_io_error);
        let file = file.map_err(BulkError::io(&path, "cannot be written"))?;
        Ok(Self(Kind::File { writer: BufWriter::new(file), path }))
    }

    /// Whether it is a file, which appears at the end.
    pub fn is_file(&self) -> bool {
        matches!(self.0, Kind::File { .. })
    }

    /// The file, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Stream { .. } => None,
            Kind::File { path, .. } => Some(path),
        }
    }

    /// Refuses a file that is one of the inputs.
    ///
    /// # Errors
    /// [`BulkError::OutputIsInput`].
    pub fn refuse_inputs<'a>(&self, inputs: impl Iterator<Item = &'a Path>) -> Result<(), BulkError> {
        let Kind::File { path: output, .. } = &self.0 else {
            return Ok(());
        };
        // Names first: to resolve every input would cost a call of the system each.
        let mut same_name = inputs.filter(|input| input.file_name() == output.file_name());
        if same_name.any(|input| fs::canonicalize(input).is_ok_and(|input| input == *output)) {
            return Err(BulkError::OutputIsInput { path: output.clone() });
        }
        Ok(())
    }

    /// The stream behind it.
    pub fn writer(&mut self) -> &mut dyn Write {
        match &mut self.0 {
            Kind::Stream { writer, .. } => writer,
            Kind::File { writer, .. } => writer,
        }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        match &self.0 {
            Kind::Stream { name, .. } => name.clone(),
            Kind::File { path, .. } => path.display().to_string(),
        }
    }

    /// Writes to it; an error names it.
    pub fn write_with(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), BulkError> {
        write(self.writer()).map_err(|source| BulkError::Io { name: self.name(), doing: "", source })
    }

    /// Ends it; a file gets its name now.
    pub fn finish(mut self) -> Result<(), BulkError> {
        self.write_with(|to| to.flush())?;
        if let Kind::File { path, writer } = self.0 {
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error);
            let named = file.and_then(|file| file.persist(&path).map_err(|error| error.error));
            named.map_err(BulkError::io(&path, ""))?;
        }
        Ok(())
    }
}

/// A temporary file is private; a result has the rights of any new file (the umask is applied to these).
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there are no such rights")]
fn readable_by_others() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn readable_by_others() -> Option<Permissions> {
    None
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// As [`Destination::file`], and where the bytes cannot be written.
pub fn write_whole(bytes: &[u8], path: &Path) -> Result<(), BulkError> {
    let mut destination = Destination::file(path)?;
    destination.write_with(|to| to.write_all(bytes))?;
    destination.finish()
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Word(&'static str);
    impl Record for Word {
        fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
            writeln!(to, "{}", self.0)
        }
    }

    fn written(format: RecordFormat, words: &[Word]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut writer = RecordWriter::new(Destination::file(&path).unwrap(), format);
        for word in words {
            writer.write(word).unwrap();
        }
        assert!(!path.exists(), "the file has its name only at the end");
        writer.finish().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn each_format_has_its_shape() {
        let words = [Word("猫"), Word("a\"b")];
        assert_eq!(written(RecordFormat::Text, &words), "猫\na\"b\n");
        assert_eq!(written(RecordFormat::Jsonl, &words), "\"猫\"\n\"a\\\"b\"\n");
        assert_eq!(written(RecordFormat::Json, &words), "[\n  \"猫\",\n  \"a\\\"b\"\n]\n");
        assert_eq!(written(RecordFormat::Json, &[]), "[]\n");
    }

    #[test]
    fn an_abandoned_output_leaves_nothing_and_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut writer = RecordWriter::new(Destination::file(&path).unwrap(), RecordFormat::Text);
        writer.write(&Word("new")).unwrap();
        drop(writer);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_no_output() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Destination::file(folder.path()).err().unwrap().to_string().contains("is a folder"));
    }
}
