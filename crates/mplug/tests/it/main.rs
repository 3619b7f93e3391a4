//! Integration tests of the engine crate, one module per concern.

mod checkpoint;
