<<<<<<< HEAD
//! The crate's integration tests: public API against the original's own numbers.

mod preprocess;
=======
//! Integration tests of the engine crate, one module per concern.

mod checkpoint;
>>>>>>> checkpoint
