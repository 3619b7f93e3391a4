//! Text: BERT tokenising and decoding.
