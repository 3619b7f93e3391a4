//! What can be wrong with a weight file or a model folder. Every message names the file and the tensor or field.

use std::fmt;
use std::path::PathBuf;

use super::tensor::NotFinite;

/// Why a weight file or a model folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// "open", "read", "write", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The first bytes fit no known format.
    #[error(
        "{file} is no weight file that mplug knows: expected PyTorch (zip or legacy pickle) or safetensors; \
         a web page or a Git LFS pointer saved under this name looks like this too"
    )]
    UnknownFormat {
        /// The file.
        file: String,
    },
    /// The file's structure contradicts itself or it was cut short.
    #[error("{file} is damaged or not what it claims to be: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A pickle names Python code that could do harm, or has an object in the place of weights. It was not executed.
    #[error(
        "{file} names the Python object `{global}`, which weights have no need of; nothing was executed. \
         If you trust the file's author, save its state dict alone with torch.save and try again"
    )]
    ForbiddenGlobal {
        /// The file.
        file: String,
        /// `module.name` as the pickle writes it.
        global: String,
    },
    /// A needed tensor is not in the file.
    #[error("{file} has no tensor `{name}`")]
    MissingTensor {
        /// The file.
        file: String,
        /// The plain name of the tensor.
        name: String,
    },
    /// A tensor has another shape than the model needs.
    #[error("tensor `{name}` of {file} has shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// The file.
        file: String,
        /// The plain name of the tensor.
        name: String,
        /// What the model's configuration requires.
        expected: Vec<usize>,
        /// What the file holds.
        found: Vec<usize>,
    },
    /// A tensor that is used holds NaN or infinity, or a value that f32 does not reach.
    #[error(
        "tensor `{name}` of {file} has values that are no finite f32 numbers: {values}; \
         no model works with them, use another checkpoint"
    )]
    NotFinite {
        /// The file.
        file: String,
        /// The plain name of the tensor.
        name: String,
        /// How many, and where the first is.
        values: NotFinite,
    },
    /// Weights and configuration do not fit together; everything wrong at once.
    #[error("the weights of {file} do not fit the model: {mismatch}")]
    Mismatch {
        /// The file.
        file: String,
        /// All differences.
        mismatch: Mismatch,
    },
    /// Two of a folder's files (or a file and the weights) contradict each other.
    #[error("{first} contradicts {second}: correct whichever is wrong")]
    Contradiction {
        /// What one says, with where it says so.
        first: String,
        /// What the other says, with where it says so.
        second: String,
    },
    /// A small file of the model folder cannot be understood.
    #[error("{file}: {reason}")]
    Config {
        /// The file.
        file: String,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// An adapter cannot be used, or not with this model.
    #[error("adapter {path}: {reason}", path = path.display())]
    Adapter {
        /// Its folder.
        path: PathBuf,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// The folder lacks something.
    #[error("{path} is no model folder: {reason}", path = path.display())]
    NotAModelFolder {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The destination is already there.
    #[error("{path} already exists: choose another name, or allow overwriting", path = path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// What was requested cannot be written.
    #[error("cannot write {what}: {reason}")]
    CannotWrite {
        /// The file or tensor.
        what: String,
        /// Why.
        reason: String,
    },
}

/// All differences between the tensors that a model needs and those of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Needed, but not in the file.
    pub missing: Vec<String>,
    /// In the file with another shape: name, expected, found.
    pub wrong_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// In the file, but neither needed nor known to be superfluous.
    pub unexpected: Vec<String>,
}

impl Mismatch {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.wrong_shape.is_empty() && self.unexpected.is_empty()
    }
}

/// Names shown per kind of difference; the rest is counted.
const SHOWN: usize = 20;
/// Characters shown of a name: a file may hold longer ones than anybody reads.
const SHOWN_OF_NAME: usize = 200;
/// Unexpected names among which a misspelling is looked for: every pair is compared.
const COMPARED: usize = 200;

/// A name as messages show it.
fn shown(name: &str) -> &str {
    name.char_indices().nth(SHOWN_OF_NAME).map_or(name, |(end, _)| &name[..end])
}

impl Mismatch {
    /// A missing tensor, with the unexpected one whose name is nearest where that looks like a misspelling.
    fn missing_as_shown(&self, name: &str) -> String {
        let name = shown(name);
        let others = if self.unexpected.len() > COMPARED { &[][..] } else { &self.unexpected };
        let distance = |other: &&String| strsim::osa_distance(name, shown(other));
        let most = (name.len() / 8).max(1);
        match others.iter().min_by_key(distance).filter(|nearest| distance(nearest) <= most) {
            Some(nearest) => format!("{name} (is it `{}`?)", shown(nearest)),
            None => name.to_owned(),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = |names: &[String]| names[..names.len().min(SHOWN)].to_vec();
        let missing: Vec<String> =
            first(&self.missing).iter().map(|name| self.missing_as_shown(name)).collect();
        let shapes: Vec<String> = self
            .wrong_shape
            .iter()
            .take(SHOWN)
            .map(|(name, expected, found)| format!("{name} has shape {found:?}, expected {expected:?}"))
            .collect();
        let unexpected: Vec<String> =
            first(&self.unexpected).iter().map(|name| shown(name).to_owned()).collect();
        let mut lead = "";
        for (what, names, count) in [
            ("missing", missing, self.missing.len()),
            ("wrong shape", shapes, self.wrong_shape.len()),
            ("unexpected", unexpected, self.unexpected.len()),
        ] {
            if names.is_empty() {
                continue;
            }
            write!(f, "{lead}{count} {what}: {}", names.join(", "))?;
            if count > SHOWN {
                write!(f, " and {} more", count - SHOWN)?;
            }
            lead = "; ";
        }
        Ok(())
    }
}
