//! Writes a golden model as the folder that the original would find, for tests in other languages.
//!
//! ```sh
//! cargo run --release -p mplug-testing --example golden_folder -- tiny /tmp/tiny
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;

use mplug::checkpoint::{Dtype, write_pytorch};
use mplug_testing::golden::write_folder;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder] = &args[..] else {
        return Err("expected two arguments: the name of a golden model, a folder".into());
    };
    fs::create_dir_all(folder)?;
    let mut written = Ok(());
    write_folder(model, Path::new(folder), |folder, recipe| {
        written = write_pytorch(&folder.join("pytorch_model.bin"), recipe, Dtype::F32);
    });
    Ok(written?)
}
