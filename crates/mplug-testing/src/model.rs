//! Tiny models of weights drawn from a seed.

use std::path::Path;

use mplug::checkpoint::seeded::{Recipe, seeded_tensors};
use mplug::checkpoint::{WriteOptions, write_model_folder_of};
use mplug::config::{ModelConfig, Task};

/// Writes a tiny model of `task` into `folder`; `change` may change its tensors.
///
/// # Panics
/// If it cannot be written.
pub fn write_tiny_model(folder: &Path, task: Task, options: &WriteOptions, change: impl FnOnce(&mut Recipe)) {
    let vocabulary = vocabulary();
    let mut config = ModelConfig::tiny(task);
    config.text.vocab_size = vocabulary.lines().count();
    let mut weights = seeded_tensors(&config, 7);
    change(&mut weights);
    write_model_folder_of(folder, &config, &vocabulary, &weights, options)
        .expect("the folder can be written");
}

/// BERT's special tokens, Chinese characters and a few English words.
fn vocabulary() -> String {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let words = ["a", "cat", "dog", "red", "what", "is", "it", "?", "##s"].map(str::to_owned);
    let characters = ('\u{4e00}'..='\u{4e80}').map(String::from);
    special.into_iter().chain(words).chain(characters).map(|token| token + "\n").collect()
}
