//! mplug-data.
