//! What can go wrong while a network is built. Knows no files: the source of the numbers says where they came from.

use thiserror::Error;

/// Errors of building a network.
#[derive(Debug, Error)]
pub enum NnError {
    /// The source of the weights could not give a tensor.
    #[error("parameter {name}: {source}")]
    Source {
        /// The parameter's name in the checkpoint.
        name: String,
        /// What the source says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The source gave a number of values that is not the product of the shape.
    #[error("parameter {name}: expected {expected} values for the shape {shape:?}, found {found}")]
    Length {
        /// The parameter's name in the checkpoint.
        name: String,
        /// The shape that the network needs.
        shape: Vec<usize>,
        /// The product of the shape.
        expected: usize,
        /// The values given.
        found: usize,
    },
}

impl NnError {
    /// What `source` says about the parameter `name`.
    pub(crate) fn source(name: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Source { name: name.to_owned(), source: Box::new(source) }
    }
}
