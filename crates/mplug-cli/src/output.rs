//! Results as text, JSON or JSON lines, to standard output or to a file that appears whole or not at all.
//! Knows records, not what is in them.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tempfile::NamedTempFile;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people and pipes
    Text,
    /// One JSON array
    Json,
    /// One JSON object a line, in input order
    Jsonl,
}

/// Where results go and how they look.
#[derive(Args, Debug)]
pub(crate) struct OutputArgs {
    /// How results are written
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Write the results to FILE, which appears whole at the end or not at all [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What a command answers for one input.
pub(crate) trait Record: Serialize {
    /// The lines of the text form, each ended; nothing for an input that failed (its message is on standard error).
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()>;
}

/// Writes records one after the other.
pub(crate) struct RecordWriter {
    destination: Destination,
    format: Format,
    count: usize,
}

impl RecordWriter {
    /// Opens the destination at once, so that an output that cannot be written is found before the work, not after.
    pub(crate) fn create(args: &OutputArgs) -> anyhow::Result<Self> {
        Ok(Self::to(Destination::create(args.output.as_deref())?, args.format))
    }

    /// Writes to a destination that is open already.
    pub(crate) fn to(destination: Destination, format: Format) -> Self {
        Self { destination, format, count: 0 }
    }

    /// An error where the output is one of the inputs: `--output photo.jpg` would replace the picture.
    pub(crate) fn refuse_inputs<'a>(&self, inputs: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
        self.destination.refuse_inputs(inputs)
    }

    /// Where the records go.
    pub(crate) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Writes one record.
    pub(crate) fn write(&mut self, record: &impl Record) -> anyhow::Result<()> {
        let (format, count) = (self.format, self.count);
        self.count += 1;
        self.destination.write_with(|to| match format {
            Format::Text => record.write_text(to),
            Format::Json => {
                to.write_all(if count == 0 { b"[\n  " } else { b",\n  " })?;
                write_json(to, record)
            }
            Format::Jsonl => {
                write_json(to, record)?;
                to.write_all(b"\n")
            }
        })
    }

    /// Whether people see the results on the same terminal as the progress bar.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.destination, Destination::Stdout(_)) && io::stdout().is_terminal()
    }

    /// Hands what was written so far to the reader of a pipe or terminal.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.destination.write_with(|to| to.flush())
    }

    /// Ends the document; a file gets its name now.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        if self.format == Format::Json {
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

/// Where bytes go: see [`OutputArgs::output`].
pub(crate) enum Destination {
    Stdout(BufWriter<io::StdoutLock<'static>>),
    /// A device or named pipe: there is nothing to replace.
    Stream {
        path: PathBuf,
        writer: BufWriter<File>,
    },
    /// A temporary file beside `path`, which takes its name at the end.
    File {
        path: PathBuf,
        writer: BufWriter<NamedTempFile>,
    },
}

impl Destination {
    /// Opens it: standard output, a device, or a temporary file beside `path`.
    pub(crate) fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Stdout(BufWriter::new(io::stdout().lock())));
        };
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                bail!("{}: is a folder; `--output` wants a file name", path.display())
            }
            Ok(found) if !found.is_file() => {
                let stream =
                    File::options().write(true).open(path).with_context(|| path.display().to_string())?;
                Ok(Self::Stream { path: path.to_owned(), writer: BufWriter::new(stream) })
            }
            Err(_) if path.is_symlink() => {
                bail!("{}: is a link that leads nowhere: remove it, or give another name", path.display())
            }
            _ => Self::create_file(path),
        }
    }

    fn create_file(path: &Path) -> anyhow::Result<Self> {
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
        let file =
            builder.tempfile_in(folder).with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(Self::File { writer: BufWriter::new(file), path })
    }

    /// Whether it is a file, which appears at the end.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// An error where it is one of the inputs.
    pub(crate) fn refuse_inputs<'a>(&self, inputs: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
        let Self::File { path: output, .. } = self else {
            return Ok(());
        };
        // Names first: to resolve every input would cost a call of the system each.
        let mut same_name = inputs.filter(|input| input.file_name() == output.file_name());
        if same_name.any(|input| fs::canonicalize(input).is_ok_and(|input| input == *output)) {
            bail!("{}: is an input; `--output` would replace it", output.display());
        }
        Ok(())
    }

    /// The stream behind it.
    pub(crate) fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(writer) => writer,
            Self::Stream { writer, .. } => writer,
            Self::File { writer, .. } => writer,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Stdout(_) => "standard output".to_owned(),
            Self::Stream { path, .. } | Self::File { path, .. } => path.display().to_string(),
        }
    }

    /// Writes to it; an error names it.
    pub(crate) fn write_with(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        write(self.writer()).with_context(|| self.name())
    }

    /// Ends it; a file gets its name now.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.write_with(|to| to.flush())?;
        if let Self::File { path, writer } = self {
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.persist(&path).map_err(|error| error.error).with_context(|| path.display().to_string())?;
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

/// Writes `bytes` to `path` whole or not at all, or to standard output.
pub(crate) fn write_whole(bytes: &[u8], path: Option<&Path>) -> anyhow::Result<()> {
    let mut destination = Destination::create(path)?;
    destination.write_with(|to| to.write_all(bytes))?;
    destination.finish()
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

    fn written(format: Format, words: &[Word]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut writer = RecordWriter::create(&OutputArgs { format, output: Some(path.clone()) }).unwrap();
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
        assert_eq!(written(Format::Text, &words), "猫\na\"b\n");
        assert_eq!(written(Format::Jsonl, &words), "\"猫\"\n\"a\\\"b\"\n");
        assert_eq!(written(Format::Json, &words), "[\n  \"猫\",\n  \"a\\\"b\"\n]\n");
        assert_eq!(written(Format::Json, &[]), "[]\n");
    }

    #[test]
    fn an_abandoned_output_leaves_nothing_and_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let args = OutputArgs { format: Format::Text, output: Some(path.clone()) };
        let mut writer = RecordWriter::create(&args).unwrap();
        writer.write(&Word("new")).unwrap();
        drop(writer);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_no_output() {
        let folder = tempfile::tempdir().unwrap();
        let args = OutputArgs { format: Format::Text, output: Some(folder.path().to_owned()) };
        assert!(RecordWriter::create(&args).err().unwrap().to_string().contains("is a folder"));
    }
}
