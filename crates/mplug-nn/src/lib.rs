//! mplug-nn.
