//! The command line `mplug`.
fn main() {}
