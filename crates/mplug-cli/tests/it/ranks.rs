//! Training by several processes of MPI: the same weights as by one. Needs `mpirun` (OpenMPI).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::Desk;

/// Pre-training with every objective, dropout, momentum models and a queue that goes round.
const RECIPE: &str = r#"
output = "run"
seed = 3

[objective]
kind = "pretraining"
queue_size = 24

[model]
image_size = 48
patch_size = 12
vision_width = 64
vision_layers = 2
text_width = 64
text_heads = 2
text_intermediate = 128
text_encoder_layers = 1
fusion_layers = 3
connected_stride = 2
shared_size = 16
decoder_layers = 1
max_position_embeddings = 40
dropout = 0.1

[data]
kind = "synth"
language = "both"
seed = 1
held_out_seed = 2

[run]
steps = 20
batch_size = 16
micro_batch_size = 4
threads = 1
data_threads = 1
log_every = 5
checkpoint_every = 20

[optimizer]
learning_rate = 1e-3
weight_decay = 0.02
clip_norm = 1.0

[schedule]
warmup_steps = 5

[evaluation]
every = 10
pictures = 16
"#;

/// The weights of a run's last checkpoint, by name.
fn weights(run: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(run.join("last/model.safetensors")).unwrap();
    let state = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    state.iter().map(|(name, view)| (name.to_owned(), floats(view.data()))).collect()
}

#[test]
fn two_processes_make_the_weights_of_one_with_two_threads() {
    let desk = Desk::new();
    desk.write("recipe.toml", RECIPE.as_bytes());
    let one = desk.run(&["train", "recipe.toml", "--set", "output=\"one\"", "--set", "run.threads=2"]);
    assert_eq!(one.code, 0, "{}", one.stderr);
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-n", "2"]);
    mpirun.arg(assert_cmd::cargo::cargo_bin!("mplug"));
    mpirun.args(["train", "recipe.toml", "--set", "output=\"two\""]).current_dir(desk.path());
    let two = mpirun.output().expect("this test needs mpirun");
    let stderr = String::from_utf8_lossy(&two.stderr);
    assert!(two.status.success(), "{stderr}");
    assert_eq!(stderr.matches("step 20/20: state saved").count(), 1, "one process reports: {stderr}");
    let (one, two) = (weights(&desk.join("one")), weights(&desk.join("two")));
    assert!(one.len() > 50 && one.keys().eq(two.keys()));
    // Micro-batches are dealt out to processes as to threads, and summed in the same order.
    for (name, values) in &one {
        assert!(*values == two[name], "{name} differs");
    }
}
