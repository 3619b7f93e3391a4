//! Sets `cfg(demo_model)` where the repository has a demo model to build in. The demo model is trained with this very program,
//! so the program must build without it too.

use std::path::Path;

/// The demo model's folder, from this crate's.
const DEMO: &str = "../../assets/demo";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(demo_model)");
    println!("cargo::rerun-if-changed={DEMO}");
    let files = ["config.yaml", "config_bert.json", "configuration.json", "vocab.txt", "model.safetensors"];
    let checks = ["self_check.png", "self_check.txt"];
    if files.iter().chain(&checks).all(|file| Path::new(DEMO).join(file).is_file()) {
        println!("cargo::rustc-cfg=demo_model");
    }
}
