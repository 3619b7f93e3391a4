//! CPU hot loops over slices.
