//! What people's model folders have and ours have not: weights in several files, training checkpoints with classes of their
//! own, a key given twice, a task that is none of three.

use std::fs;
use std::path::Path;

use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, FolderNote, ModelFolder, TensorEntry, TensorReader, Values,
    WriteOptions, write_model_folder, write_pytorch, write_safetensors,
};
use mplug::config::{ConfigOverrides, Task};
use mplug::tasks::OpenOptions;

use super::build::{PickleBytes, SIX, TensorBytes, legacy, six_values, torch_zip};
use super::golden::{fixture, folder, golden_folder};

/// Every `of`-th tensor of a golden model from the `number`-th on.
struct Part<'a> {
    all: &'a mplug::checkpoint::seeded::Recipe,
    number: usize,
    of: usize,
}

impl Part<'_> {
    fn indices(&self) -> impl Iterator<Item = usize> {
        (self.number..self.all.entries().len()).step_by(self.of)
    }
}

impl TensorReader for Part<'_> {
    fn entries(&self) -> Vec<TensorEntry> {
        let all = self.all.entries();
        // A tied tensor's twin may be in another file.
        self.indices().map(|index| TensorEntry { same_as: None, ..all[index].clone() }).collect()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        self.all.read(self.indices().nth(index).unwrap())
    }
}

/// A golden model whose weights are in three files with an index.
fn sharded(is_pytorch: bool) -> tempfile::TempDir {
    folder(|dir, recipe| {
        let mut map = serde_json::Map::new();
        for number in 0..3 {
            let part = Part { all: recipe, number, of: 3 };
            let name = if is_pytorch {
                format!("pytorch_model-0000{}-of-00003.bin", number + 1)
            } else {
                format!("model-0000{}-of-00003.safetensors", number + 1)
            };
            if is_pytorch {
                write_pytorch(&dir.join(&name), &part, Dtype::F32).unwrap();
            } else {
                write_safetensors(&dir.join(&name), &part, Dtype::F32).unwrap();
            }
            for entry in part.entries() {
                map.insert(entry.name, name.clone().into());
            }
        }
        let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
        fs::write(dir.join(index_name(is_pytorch)), index.to_string()).unwrap();
    })
}

fn index_name(is_pytorch: bool) -> &'static str {
    if is_pytorch { "pytorch_model.bin.index.json" } else { "model.safetensors.index.json" }
}

fn open(path: &Path) -> Result<ModelFolder, CheckpointError> {
    ModelFolder::open(path, &ConfigOverrides::default())
}

#[test]
fn weights_in_several_files_are_read_by_their_index() {
    let whole_dir = golden_folder();
    let whole = open(whole_dir.path()).unwrap();
    for is_pytorch in [false, true] {
        let dir = sharded(is_pytorch);
        let index = dir.path().join(index_name(is_pytorch));
        for path in [dir.path(), &index] {
            let model = open(path).unwrap();
            assert_eq!((&model.config, model.checkpoint().num_files()), (&whole.config, 3));
            assert!(model.unexpected().is_empty());
            assert_eq!(model.checkpoint().label(), index.to_str().unwrap());
            for name in whole.checkpoint().names() {
                let [one, other] = [&whole, &model].map(|m| m.checkpoint().read_values(name).unwrap());
                assert_eq!(one, other, "{name}");
            }
        }
        let merged = dir.path().join("merged");
        write_model_folder(&merged, &open(dir.path()).unwrap(), &WriteOptions::default()).unwrap();
        assert_eq!(open(&merged).unwrap().checkpoint().num_files(), 1);
        let shard = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let shard = shard.into_iter().find(|path| path.to_string_lossy().contains("-00002-of-")).unwrap();
        let problem = open(&shard).unwrap_err().to_string();
        assert!(problem.contains("one file of a model's several: name its folder"), "{problem}");
        assert!(Checkpoint::open(&shard).is_ok(), "a file alone can be looked at");
    }
}

#[test]
fn an_index_that_does_not_fit_its_files_is_named_with_what_is_wrong() {
    let with_index = |change: &dyn Fn(&mut serde_json::Value)| {
        let dir = sharded(false);
        let path = dir.path().join(index_name(false));
        let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut index);
        fs::write(&path, index.to_string()).unwrap();
        let problem = open(dir.path()).unwrap_err().to_string();
        assert!(problem.contains("model.safetensors.index.json"), "{problem}");
        problem
    };
    for (name, expected) in [
        (
            "model-00004-of-00003.safetensors",
            "`model-00004-of-00003.safetensors`, which it names, is not there",
        ),
        (
            "../secret.safetensors",
            "names `../secret.safetensors`; expected the name of a file beside the index",
        ),
        ("/etc/passwd", "names `/etc/passwd`; expected"),
        ("a\\b.safetensors", "expected the name of a file beside the index"),
        ("..", "expected the name of a file beside the index"),
        ("vocab.txt", "vocab.txt"),
    ] {
        let dir = sharded(false);
        let path = dir.path().join(index_name(false));
        let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        index["weight_map"]["visn_fc.bias"] = name.into();
        fs::write(&path, index.to_string()).unwrap();
        let problem = open(dir.path()).unwrap_err().to_string();
        assert!(problem.contains(expected), "{name}: {problem}");
    }
    let problem =
        with_index(&|index| index["weight_map"]["none.weight"] = "model-00001-of-00003.safetensors".into());
    assert!(
        problem.contains("`none.weight` is in model-00001-of-00003.safetensors, which does not have it"),
        "{problem}"
    );
    let problem = with_index(&|index| index["weight_map"] = serde_json::json!({}));
    assert!(problem.contains("expected 1 to 256 files in `weight_map`, found 0"), "{problem}");
    let problem = with_index(&|index| index["weight_map"] = 3.into());
    assert!(problem.contains("expected an index of shards with a `weight_map`"), "{problem}");
    #[cfg(unix)]
    {
        let (dir, outside) = (sharded(false), tempfile::tempdir().unwrap());
        let shard = dir.path().join("model-00002-of-00003.safetensors");
        fs::rename(&shard, outside.path().join("x")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("x"), &shard).unwrap();
        let problem = open(dir.path()).unwrap_err().to_string();
        assert!(problem.contains("leads out of the model folder"), "{problem}");
    }
}

#[test]
fn tensors_that_an_index_does_not_name_are_listed() {
    let dir = sharded(false);
    let extra = [("my_head.weight".to_owned(), vec![1], vec![0.5])];
    write_safetensors(&dir.path().join("extra.safetensors"), &extra[..], Dtype::F32).unwrap();
    let path = dir.path().join(index_name(false));
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["weight_map"]["my_head.weight"] = "extra.safetensors".into();
    fs::write(&path, index.to_string()).unwrap();
    assert_eq!(open(dir.path()).unwrap().unexpected(), ["my_head.weight"]);
}

/// A checkpoint as a trainer leaves it: `beside` under a name of its own, the weights under `model`.
fn trained(beside: impl Fn(PickleBytes) -> PickleBytes, is_legacy: bool) -> Vec<u8> {
    let p = beside(PickleBytes::new().raw(b"}(").text("beside"));
    let p = p.text("model").global("collections", "OrderedDict").raw(b")R").text("weight");
    let pickle = p.tensor(&TensorBytes { is_legacy, ..SIX }).raw(b"su").end();
    if is_legacy { legacy(&pickle, &[("0", 6, &six_values())]) } else { torch_zip(&pickle, &six_values()) }
}

#[test]
fn classes_beside_the_weights_of_a_training_checkpoint_do_no_harm() {
    type Beside = fn(PickleBytes) -> PickleBytes;
    let kinds: [(&str, Beside); 5] = [
        // A dict with a class of its own: items, then attributes.
        ("utils.AttrDict", |p| {
            p.global("utils", "AttrDict")
                .raw(b")\x81(")
                .text("lr")
                .int(1)
                .raw(b"u}")
                .text("a")
                .int(2)
                .raw(b"sb")
        }),
        ("ruamel.yaml.comments.CommentedMap", |p| {
            p.global("ruamel.yaml.comments", "CommentedMap")
                .raw(b")R(")
                .text("yaml")
                .global("ruamel.yaml.scalarfloat", "ScalarFloat")
                .raw(b"(K\x01t\x81}")
                .text("_width")
                .int(4)
                .raw(b"sbu")
        }),
        ("deepspeed.runtime.fp16.loss_scaler.LossScaler", |p| {
            p.global("deepspeed.runtime.fp16.loss_scaler", "LossScaler")
                .raw(b")\x81}")
                .text("cur_scale")
                .int(1)
                .raw(b"sb")
        }),
        // A list with a class of its own, and a function by its name.
        ("fairseq.data.Lines", |p| {
            p.global("fairseq.data", "Lines").raw(b")R(").global("torch.nn.functional", "gelu").raw(b"K\x02e")
        }),
        // A whole module: its parameters are the state's of an object.
        ("models.Mplug", |p| {
            p.global("models", "Mplug")
                .raw(b")\x81}")
                .text("_parameters")
                .raw(b"}")
                .text("w")
                .tensor(&SIX)
                .raw(b"ssb")
        }),
    ];
    for (class, beside) in kinds {
        let checkpoint =
            Checkpoint::from_bytes(trained(beside, false)).unwrap_or_else(|e| panic!("{class}: {e}"));
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["weight"], "{class}");
        assert_eq!(checkpoint.read_f32("weight").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        // In the place of the weights, or of one of them, it is refused by its name.
        for root in [
            PickleBytes::new().raw(b"}").text("model"),
            PickleBytes::new().raw(b"}").text("weight"),
            PickleBytes::new(),
        ] {
            let is_root = root.0.len() == 2;
            let pickle = beside(root);
            let pickle = if is_root { pickle } else { pickle.raw(b"s") }.end();
            match Checkpoint::from_bytes(torch_zip(&pickle, &six_values())) {
                Err(CheckpointError::ForbiddenGlobal { global, .. }) => assert_eq!(global, class),
                other => panic!("{class}: {other:?}"),
            }
        }
    }
    // Older files name the class of a module by an external reference, with its source.
    let module = |p: PickleBytes| {
        let p =
            p.raw(b"(").text("module").global("models", "Mplug").text("models.py").text("class Mplug: pass");
        p.raw(b"tQ)\x81}b")
    };
    let checkpoint = Checkpoint::from_bytes(trained(module, true)).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["weight"]);
}

#[test]
fn of_a_key_given_twice_the_last_counts() {
    let dir = golden_folder();
    let path = dir.path().join("config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let expected = open(dir.path()).unwrap().config;
    fs::write(&path, text.clone() + "\nbeam_size: 3\nlr: 1\nlr: 2\nprompts: {en: a, en: b}\n").unwrap();
    let found = open(dir.path()).unwrap().config;
    assert_eq!(found.generation.num_beams, 3);
    assert_eq!(found.generation.prompts["en"], "b");
    let mut same = found.clone();
    same.generation = expected.generation.clone();
    assert_eq!(same, expected);
    fs::write(&path, text.clone() + "\nbeam_size: 3\nbeam_size:\n").unwrap();
    assert_eq!(open(dir.path()).unwrap().config.generation.num_beams, 5, "null is the original's default");
    fs::write(&path, text + "\nbeam_size: many\n").unwrap();
    let problem = open(dir.path()).unwrap_err().to_string();
    assert!(problem.starts_with("config.yaml: ") && problem.contains("line "), "{problem}");
    assert!(!problem.contains("Options") && !problem.contains('\n'), "{problem}");
}

#[test]
fn a_task_that_is_none_of_three_gives_way_to_what_else_says_it() {
    let dir = golden_folder();
    let file = |name: &str| fs::read_to_string(fixture().join(name)).unwrap();
    let (json, yaml) = (file("configuration.json"), file("config.yaml"));
    let backbone = json.replacen("\"task\": \"image-captioning\"", "\"task\": \"backbone\"", 1);
    assert_ne!(backbone, json);
    fs::write(dir.path().join("configuration.json"), &backbone).unwrap();
    let folder = open(dir.path()).unwrap();
    assert_eq!((folder.config.task, folder.notes()), (Task::ImageCaptioning, &[][..]));

    // Nothing says it: a note, or what the caller wants.
    for without in
        [yaml.replacen("task: image-captioning\n", "", 1), yaml.replacen("image-captioning", "backbone", 1)]
    {
        assert_ne!(without, yaml);
        fs::write(dir.path().join("config.yaml"), without).unwrap();
        let folder = open(dir.path()).unwrap();
        assert_eq!(folder.config.task, Task::ImageCaptioning);
        let [note @ FolderNote::OtherTask { named, task: Task::ImageCaptioning, .. }] = folder.notes() else {
            panic!("{:?}", folder.notes());
        };
        assert_eq!(named, "backbone");
        assert!(
            note.to_string().contains("configuration.json says `task: backbone`, which is none of"),
            "{note}"
        );
        let wanted =
            ConfigOverrides { task: Some(Task::VisualQuestionAnswering), ..ConfigOverrides::default() };
        let as_answerer = ModelFolder::open(dir.path(), &wanted);
        let by_caller = mplug::open(dir.path(), Task::VisualQuestionAnswering, &OpenOptions::default());
        for opened in [as_answerer.map_err(|e| e.to_string()), by_caller.map_err(|e| e.to_string())] {
            let opened = opened.unwrap();
            assert_eq!((opened.config.task, opened.notes()), (Task::VisualQuestionAnswering, &[][..]));
        }
        assert!(mplug::open(dir.path(), Task::ImageCaptioning, &OpenOptions::default()).is_ok());
    }

    // What one of the files says is not overruled.
    fs::write(dir.path().join("config.yaml"), yaml).unwrap();
    let other = mplug::open(dir.path(), Task::VisualQuestionAnswering, &OpenOptions::default());
    assert!(matches!(other, Err(mplug::Error::WrongTask { .. })));
}
