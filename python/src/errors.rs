//! One table from what the libraries report to the exceptions of `mplug_rs.errors`, with the words of the command line.

use std::io::ErrorKind;
use std::path::Path;

use mplug::checkpoint::CheckpointError;
use mplug::preprocess::image::{ImageError, ImageFault};
use mplug::tasks::RequestError;
use mplug_bulk::BulkError;
use mplug_data::message::about;
use mplug_hub::fetch::{FetchError, FetchFault};
use mplug_hub::{HubError, OpenError};
use mplug_train::TrainError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What went wrong, by the exception that says it.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// `ModelError`.
    Model(String),
    /// `ModelNotFound`.
    ModelNotFound(String),
    /// `PictureError`, with its source and one of the reasons that it knows.
    Picture { source: String, reason: &'static str, message: String },
    /// `FetchError`.
    Fetch(String),
    /// `OptionError`.
    Option(String),
    /// `InternalError`.
    Internal(String),
}

impl Fault {
    /// The exception as an object.
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let module = py.import("mplug_rs.errors")?;
        let (class, message) = match self {
            Self::Model(message) => ("ModelError", message),
            Self::ModelNotFound(message) => ("ModelNotFound", message),
            Self::Fetch(message) => ("FetchError", message),
            Self::Option(message) => ("OptionError", message),
            Self::Internal(message) => ("InternalError", message),
            Self::Picture { source, reason, message } => {
                let extra = PyDict::new(py);
                extra.set_item("source", source)?;
                extra.set_item("reason", reason)?;
                return module.getattr("PictureError")?.call((message,), Some(&extra));
            }
        };
        module.getattr(class)?.call1((message,))
    }

    /// The exception to raise.
    pub(crate) fn into_error(self, py: Python<'_>) -> PyErr {
        self.into_object(py).map_or_else(|error| error, PyErr::from_value)
    }
}

/// A picture's fault: `<source>: <what is wrong>`.
pub(crate) fn of_picture(source: String, error: &ImageError) -> Fault {
    let hint = match &error.fault {
        ImageFault::OtherFormat { format } if format == "HEIC" => ", or open it with Pillow and pillow-heif",
        _ => "",
    };
    let message = format!("{source}: {}{hint}", error.fault);
    if let ImageFault::Fetch { .. } = error.fault {
        return Fault::Fetch(message);
    }
    Fault::Picture { source, reason: reason(&error.fault), message }
}

/// What kind of fault it is, in one of the words that `PictureError.reason` may be.
fn reason(fault: &ImageFault) -> &'static str {
    match fault {
        ImageFault::Read(error) if error.kind() == ErrorKind::NotFound => "missing",
        ImageFault::TooManyBytes { .. }
        | ImageFault::TooManyPixels { .. }
        | ImageFault::TooManyDecodedBytes { .. }
        | ImageFault::TooMuchMemory { .. }
        | ImageFault::TooManyScans { .. }
        | ImageFault::TooLongScans { .. } => "too_large",
        ImageFault::Truncated { .. } | ImageFault::Empty => "truncated",
        ImageFault::NotAPicture(_)
        | ImageFault::OtherFormat { .. }
        | ImageFault::Unsupported { .. }
        | ImageFault::NoPixels { .. } => "unsupported",
        _ => "unreadable",
    }
}

/// A fault of a model folder; `<path>: <what is wrong>`.
pub(crate) fn of_model(path: &Path, error: &mplug::Error) -> Fault {
    Fault::Model(with_causes(&about(path, &error.to_string()), error))
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Hub(error) => error.into(),
            OpenError::Model { path, source } if !path.exists() => {
                Self::ModelNotFound(with_causes(&about(&path, &source.to_string()), source.as_ref()))
            }
            OpenError::Model { path, source } => of_model(&path, &source),
            error => Self::Model(error.to_string()),
        }
    }
}

impl From<HubError> for Fault {
    fn from(error: HubError) -> Self {
        let message = with_causes(&error.to_string(), &error);
        match &error {
            HubError::NotHere { named } => Self::ModelNotFound(format!(
                "{message}; `mplug_rs.pull({:?})` downloads it",
                named.display().to_string()
            )),
            HubError::NoSuchModel { .. }
            | HubError::NoSuchDataset { .. }
            | HubError::NoSuchRevision { .. } => Self::ModelNotFound(message),
            HubError::Unreachable { .. } | HubError::Offline { .. } | HubError::Download { .. } => {
                Self::Fetch(message)
            }
            HubError::Name { .. } | HubError::Revision { .. } | HubError::Endpoint { .. } => {
                Self::Option(message)
            }
            _ => Self::Model(message),
        }
    }
}

impl From<RequestError> for Fault {
    fn from(RequestError { field, expected, found, .. }: RequestError) -> Self {
        // The names of the arguments.
        let name = match field {
            "min_difference" => "diverse",
            "forbidden_words" => "forbid",
            "required_words" => "include",
            "keywords" => "tags",
            "sampling" => "sample",
            field => field,
        };
        Self::Option(format!("{name}: expected {expected}, found {found}"))
    }
}

/// An error of a call to a model that was loaded: an option that cannot be, a picture without numbers.
impl From<mplug::Error> for Fault {
    fn from(error: mplug::Error) -> Self {
        let message = with_causes(&error.to_string(), &error);
        match error {
            mplug::Error::Generation(_) | mplug::Error::Prefix { .. } | mplug::Error::Word { .. } => {
                Self::Option(message)
            }
            _ => Self::Model(message),
        }
    }
}

impl From<CheckpointError> for Fault {
    fn from(error: CheckpointError) -> Self {
        Self::Model(with_causes(&error.to_string(), &error))
    }
}

/// An error of many pictures: none is a picture's own.
impl From<BulkError> for Fault {
    fn from(error: BulkError) -> Self {
        match error {
            BulkError::Model(error) => error.into(),
            error => Self::Option(with_causes(&error.to_string(), &error)),
        }
    }
}

impl From<caption_metrics::Error> for Fault {
    fn from(error: caption_metrics::Error) -> Self {
        Self::Option(with_causes(&error.to_string(), &error))
    }
}

impl From<TrainError> for Fault {
    fn from(error: TrainError) -> Self {
        Self::Option(with_causes(&error.to_string(), &error))
    }
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        let hint = match error.fault {
            FetchFault::NotPublic { .. } => "; `allowed_hosts=[...]` allows one of yours",
            _ => "",
        };
        Self::Fetch(format!("{error}{hint}"))
    }
}

/// A message with the causes that it does not say itself.
fn with_causes(message: &str, error: &dyn std::error::Error) -> String {
    let mut message = message.to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        next = cause.source();
    }
    message
}
