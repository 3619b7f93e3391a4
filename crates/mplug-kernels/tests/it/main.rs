//! What needs the crate as it is compiled for release, in one binary.

#[cfg(target_arch = "x86_64")]
mod assembly;
#[cfg(target_arch = "x86_64")]
mod spills;
