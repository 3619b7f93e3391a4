//! Pictures: decoding, Pillow-identical resizing, normalising.
