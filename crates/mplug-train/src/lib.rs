//! mplug-train.
