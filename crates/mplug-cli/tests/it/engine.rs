//! Engine-backed.
