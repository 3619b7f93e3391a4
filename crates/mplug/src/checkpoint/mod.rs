//! Model folders and weight files.
