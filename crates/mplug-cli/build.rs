//! Sets `cfg(demo_model)` where the repository has the demo models to build in. They are trained with this very program, so the
//! program must build without them too.

use std::path::Path;

/// The demo models' folder, from this crate's.
const DEMO: &str = "../../assets/demo";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(demo_model)");
    println!("cargo::rerun-if-changed={DEMO}");
    let files = ["config.yaml", "config_bert.json", "configuration.json", "vocab.txt", "model.safetensors"];
    let of_models = ["caption", "ask", "match"]
        .iter()
        .flat_map(|model| files.map(|file| Path::new(DEMO).join(model).join(file)));
    let checks = ["self_check.png", "self_check.json"].map(|file| Path::new(DEMO).join(file));
    if of_models.chain(checks).all(|file| file.is_file()) {
        println!("cargo::rustc-cfg=demo_model");
    }
}
