//! Files made to do harm, and damaged ones: each is refused with a reason, none executes, panics or exhausts memory.

use mplug::checkpoint::{Checkpoint, CheckpointError, Dtype, ModelFolder, write_safetensors};
use mplug::config::ConfigOverrides;
use proptest::prelude::*;

use super::build::{
    PickleBytes, SIX, TensorBytes, ZipEntry, legacy, one_tensor, safetensors, six_values, torch_entries,
    torch_zip, zip,
};
use super::golden::{fixture, folder, golden_folder};

fn refused(bytes: Vec<u8>) -> String {
    Checkpoint::from_bytes(bytes).expect_err("the file must be refused").to_string()
}

fn refused_pickle(pickle: &[u8]) -> String {
    refused(torch_zip(pickle, &six_values()))
}

#[test]
fn python_code_is_named_and_not_executed() {
    let canary = std::env::temp_dir().join(format!("mplug-canary-{}", std::process::id()));
    let command = format!("touch {}", canary.display());
    let call = |p: PickleBytes| p.raw(b"(").text(&command).raw(b"tR");
    let reduce = |module, name| call(PickleBytes::new().global(module, name)).end();
    let stack_global = call(PickleBytes::new().text("posix").text("system").raw(b"\x93")).end();
    let inside_state = {
        let p =
            PickleBytes::new().raw(b"}(").text("weight").tensor(&SIX).text("other").global("os", "system");
        call(p).raw(b"u").end()
    };
    let beside_model = {
        let p = PickleBytes::new().raw(b"}(").text("hook").global("builtins", "eval");
        call(p).text("model").raw(b"}").text("weight").tensor(&SIX).raw(b"su").end()
    };
    let by_memo = {
        let p = PickleBytes::new().global("subprocess", "Popen").raw(b"q\x000h\x00");
        call(p).end()
    };
    let torch_code = reduce("torch.hub", "load");
    let numpy_code = reduce("numpy.testing._private.utils", "runstring");
    for (pickle, name) in [
        (reduce("os", "system"), "os.system"),
        (stack_global, "posix.system"),
        (inside_state, "os.system"),
        (beside_model, "builtins.eval"),
        (by_memo, "subprocess.Popen"),
        (torch_code, "torch.hub.load"),
        (numpy_code, "numpy.testing._private.utils.runstring"),
    ] {
        for bytes in [torch_zip(&pickle, &six_values()), legacy(&pickle, &[])] {
            match Checkpoint::from_bytes(bytes) {
                Err(CheckpointError::ForbiddenGlobal { global, .. }) => assert_eq!(global, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(!canary.exists());
}

#[test]
fn an_object_in_place_of_a_tensor_is_named() {
    let p = PickleBytes::new().raw(b"}").text("weight").global("argparse", "Namespace").raw(b")Rs").end();
    assert!(refused_pickle(&p).contains("argparse.Namespace"));
    let whole_model = PickleBytes::new().raw(b"}").text("model").global("omegaconf.dictconfig", "DictConfig");
    assert!(refused_pickle(&whole_model.raw(b")Rs").end()).contains("omegaconf.dictconfig.DictConfig"));
}

#[test]
fn instructions_that_torch_never_writes_are_refused() {
    // INST, OBJ, EXT1, PERSID and bytearrays.
    for opcode in [&b"(ios\nsystem\n"[..], b"(o", b"\x82\x01", b"Pname\n", b"\x96\0\0\0\0\0\0\0\0"] {
        let reason = refused_pickle(&PickleBytes::new().raw(opcode).end());
        assert!(reason.contains("instruction 0x"), "{reason}");
    }
}

#[test]
fn bombs_of_repetition_and_nesting_are_bounded() {
    let million = 1_000_000;
    let nested = [vec![0x80, 2], vec![b']'; million], vec![b'a'; million - 1], vec![b'.']].concat();
    let tuples = [vec![0x80, 2, b'N'], vec![0x85; million], vec![b'.']].concat();
    let marks = [vec![0x80, 2], vec![b'('; million], vec![b'.']].concat();
    let recalls = [vec![0x80, 2, b'N', b'q', 0], [b'h', 0].repeat(million), vec![b'.']].concat();
    let doubles = [vec![0x80, 2, b'N'], vec![b'2'; million], vec![b'.']].concat();
    let memo: Vec<u8> = (0..400_000_u32).flat_map(|i| [&b"r"[..], &i.to_le_bytes()].concat()).collect();
    let memo = [vec![0x80, 2, b'N'], memo, vec![b'.']].concat();
    for (pickle, what) in [
        (nested, "more than"),
        (tuples, "more than"),
        (marks, "more marks"),
        (recalls, "more than"),
        (doubles, "more than"),
        (memo, "remembers more than"),
    ] {
        let reason = refused_pickle(&pickle);
        assert!(reason.contains(what), "{reason}");
    }
    // A list of pairs that many dicts share: each dict counts its entries.
    let p = PickleBytes::new().raw(b"](");
    let p = (0..1000)
        .fold(p, |p, _| p.raw(b"NN\x86"))
        .raw(b"e\x85q\x000")
        .global("collections", "OrderedDict")
        .raw(b"q\x010");
    let p = (0..1000).fold(p, |p, _| p.raw(b"h\x01h\x00R0"));
    assert!(refused_pickle(&p.raw(b"N").end()).contains("more than"));
    // Tensors made of one remembered description.
    let p = PickleBytes::new().global("torch._utils", "_rebuild_tensor_v2").raw(b"q\x000((").text("storage");
    let p =
        p.global("torch", "FloatStorage").text("0").text("cpu").int(6).raw(b"tQK\0K\x06\x85K\x01\x85tq\x010");
    let p = (0..100_001).fold(p, |p, _| p.raw(b"h\0h\x01R0"));
    assert!(refused_pickle(&p.raw(b"N").end()).contains("more than 100000 tensors"));
}

#[test]
fn deep_nesting_within_the_bounds_neither_recurses_nor_matters() {
    let depth = 100_000;
    let p = PickleBytes::new().raw(b"}(").text("deep").raw(&vec![b']'; depth]).raw(&vec![b'a'; depth - 1]);
    let p = p.text("weight").tensor(&SIX).raw(b"u").end();
    assert!(Checkpoint::from_bytes(torch_zip(&p, &six_values())).is_ok());
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    let huge8 = u64::MAX.to_le_bytes();
    let big4 = u32::MAX.to_le_bytes();
    for bytes in [
        [&[0x8b][..], &big4].concat(),  // LONG4
        [&b"X"[..], &big4].concat(),    // BINUNICODE
        [&[0x8e][..], &huge8].concat(), // BINBYTES8
        [&[0x8d][..], &huge8].concat(), // BINUNICODE8
    ] {
        let reason = refused_pickle(&PickleBytes::new().raw(&bytes).end());
        assert!(reason.contains("it ends within an instruction"), "{reason}");
    }
    let p = PickleBytes::new().raw(b"j\xff\xff\xff\xff").end();
    assert!(refused_pickle(&p).contains("never remembered"));
    for underflow in [&b"0"[..], b"(0", b"a", b"R", b"u", b"\x87", b"(N\x85", b"t"] {
        refused_pickle(&PickleBytes::new().raw(underflow).end());
    }
}

#[test]
fn views_outside_their_storage_are_refused() {
    for t in [
        TensorBytes { offset: 1, ..SIX },
        TensorBytes { strides: &[4, 1], ..SIX },
        TensorBytes { shape: &[2, 4], ..SIX },
        TensorBytes { offset: -1, ..SIX },
        TensorBytes { strides: &[-3, 1], ..SIX },
        TensorBytes { shape: &[-2, 3], ..SIX },
        TensorBytes { shape: &[i32::MAX, i32::MAX], strides: &[i32::MAX, i32::MAX], ..SIX },
        TensorBytes { shape: &[i32::MAX; 4], strides: &[0; 4], ..SIX },
        TensorBytes { shape: &[1_000_000], strides: &[0], ..SIX },
        TensorBytes { shape: &[6], ..SIX },
        TensorBytes { shape: &[1; 9], strides: &[1; 9], ..SIX },
        TensorBytes { key: "1", ..SIX },
        TensorBytes { key: "../0", ..SIX },
        TensorBytes { numel: 7, ..SIX },
        TensorBytes { numel: 5, ..SIX },
        TensorBytes { numel: -6, ..SIX },
        TensorBytes { storage: "DoubleStorage", ..SIX },
        TensorBytes { storage: "ComplexFloatStorage", ..SIX },
    ] {
        let reason = refused_pickle(&one_tensor(&t));
        assert!(!reason.is_empty());
        let old = one_tensor(&TensorBytes { is_legacy: true, ..t });
        refused(legacy(&old, &[("0", 6, &six_values())]));
    }
}

#[test]
fn zip_archives_that_torch_never_writes_are_refused() {
    let entries = torch_entries(&one_tensor(&SIX), &six_values());
    assert!(Checkpoint::from_bytes(zip(&entries)).is_ok());
    let changed = |change: &dyn Fn(&mut Vec<ZipEntry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        refused(zip(&entries))
    };
    let expect = |reason: String, part: &str| assert!(reason.contains(part), "{reason}");
    expect(changed(&|e| e[1].method = 8), "compressed");
    expect(changed(&|e| e[0].method = 8), "compressed");
    expect(changed(&|e| e[1].flags = 1), "encrypted");
    expect(changed(&|e| e[1].declared_len = 4096), "overlaps");
    expect(changed(&|e| e[1].declared_len = 20), "has 20 bytes");
    expect(changed(&|e| e[0].crc32 ^= 1), "checksum of data.pkl");
    expect(changed(&|e| e.push(e[1].clone())), "occurs twice");
    expect(changed(&|e| e.push(ZipEntry::new("archive/../../etc/passwd", b"x"))), "leaves the archive");
    expect(changed(&|e| e.push(ZipEntry::new("/etc/passwd", b"x"))), "leaves the archive");
    expect(changed(&|e| e.push(ZipEntry::new("archive/byteorder", b"big"))), "little-endian");
    expect(changed(&|e| e.push(ZipEntry::new("other/data.pkl", b"."))), "more than one");
    expect(changed(&|e| drop(e.remove(0))), "no data.pkl");
    expect(changed(&|e| drop(e.remove(1))), "storage 0 is not in the archive");
    let mut wrong_crc = entries.clone();
    wrong_crc[1].crc32 ^= 1;
    let checkpoint = Checkpoint::from_bytes(zip(&wrong_crc)).unwrap();
    expect(checkpoint.read_f32("weight").unwrap_err().to_string(), "checksum of tensor `weight`");
}

#[test]
fn directories_that_overlap_or_lie_in_zip64_fields_are_refused() {
    let good = torch_zip(&one_tensor(&SIX), &six_values());
    let end = good.len() - 22;
    let directory = u32::from_le_bytes(good[end + 16..end + 20].try_into().unwrap()) as usize;
    let patched = |at: usize, bytes: &[u8]| {
        let mut out = good.clone();
        out[at..at + bytes.len()].copy_from_slice(bytes);
        refused(out)
    };
    patched(end + 16, &u32::MAX.to_le_bytes()); // wants a ZIP64 record that is not there
    patched(end + 12, &0x7fff_ffff_u32.to_le_bytes()); // directory longer than the file
    patched(end + 10, &9_u16.to_le_bytes()); // more entries than there are
    patched(directory, b"XX"); // no signature
    patched(directory + 42, &u32::MAX.to_le_bytes()); // an offset in a ZIP64 field that is not there
    patched(directory + 42, &7_u32.to_le_bytes()); // an offset into other data
    patched(directory + 24, &0xffff_fff0_u32.to_le_bytes()); // stored, but two different sizes
    patched(30, b"X"); // the local name differs
}

#[test]
fn files_cut_short_are_refused_wherever_they_end() {
    let zip = torch_zip(&one_tensor(&SIX), &six_values());
    let old = legacy(&one_tensor(&TensorBytes { is_legacy: true, ..SIX }), &[("0", 6, &six_values())]);
    let header = r#"{"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let safe = safetensors(header, &six_values());
    for file in [zip, old, safe] {
        for len in 0..file.len() {
            refused(file[..len].to_vec());
        }
    }
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let entry = |rest: &str| format!(r#"{{"a":{{"dtype":"F32",{rest}}}}}"#);
    for (header, part) in [
        (entry(r#""shape":[6],"data_offsets":[0,23]"#), "23"),
        (entry(r#""shape":[6],"data_offsets":[0,28]"#), "28"),
        (entry(r#""shape":[6],"data_offsets":[24,0]"#), "begin at 0"),
        (entry(r#""shape":[5],"data_offsets":[0,24]"#), "does not take 24"),
        (entry(r#""shape":[-6],"data_offsets":[0,24]"#), "not valid"),
        (entry(r#""shape":[4294967296,4294967296,4294967296],"data_offsets":[0,24]"#), "does not take"),
        (entry(r#""shape":[6],"data_offsets":[0,18446744073709551615]"#), "24 follow"),
        (r#"{"a":{"dtype":"F8_E4M3","shape":[24],"data_offsets":[0,24]}}"#.into(), "F8_E4M3"),
        (r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[3],"data_offsets":[8,20]}}"#.into(), "begin at 12"),
        (r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"a":{"dtype":"F32","shape":[3],"data_offsets":[12,24]}}"#.into(), "twice"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[3],"data_offsets":[12,24]}}"#.into(), "begin at 8"),
        (format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), "not valid"),
    ] {
        let reason = refused(safetensors(&header, &six_values()));
        assert!(reason.contains(part), "{header:.80}: {reason}");
    }
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend(b"{}");
    refused(huge);
}

#[test]
fn a_model_with_missing_wrong_and_unknown_tensors_reports_all_at_once() {
    let dir = folder(|dir, recipe| {
        let mut tensors: Vec<_> = recipe
            .tensors
            .iter()
            .enumerate()
            .filter(|(_, t)| t.name != "visn_fc.bias" && !t.name.ends_with("position_ids"))
            .map(|(i, t)| match recipe.draw(i) {
                mplug::checkpoint::Values::F32(v) => (t.name.clone(), t.shape.clone(), v),
                _ => unreachable!("position ids are left out"),
            })
            .collect();
        let norm = tensors.iter_mut().find(|(name, ..)| name == "visn_layer_norm.bias").unwrap();
        norm.1 = vec![4, 16];
        tensors.push(("visn_fc.surprise".into(), vec![1], vec![0.0]));
        write_safetensors(&dir.join("model.safetensors"), &tensors[..], Dtype::F32).unwrap();
    });
    match ModelFolder::open(dir.path(), &ConfigOverrides::default()) {
        Err(CheckpointError::Mismatch { mismatch, .. }) => {
            assert_eq!(mismatch.missing, ["visn_fc.bias"]);
            assert_eq!(mismatch.wrong_shape, [("visn_layer_norm.bias".to_owned(), vec![64], vec![4, 16])]);
            assert_eq!(mismatch.unexpected, ["visn_fc.surprise"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn contradictions_name_both_sides() {
    let open = |file: &str, from: &str, to: &str| {
        let dir = golden_folder();
        let text = std::fs::read_to_string(fixture().join(file)).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(dir.path().join(file), text.replacen(from, to, 1)).unwrap();
        ModelFolder::open(dir.path(), &ConfigOverrides::default()).unwrap_err().to_string()
    };
    for (file, from, to, parts) in [
        ("config_bert.json", "\"hidden_size\": 64", "\"hidden_size\": 128", ["128", "64"]),
        ("config_bert.json", "\"text_decode_layers\": 3", "\"text_decode_layers\": 4", ["4", "3"]),
        ("config_bert.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", ["5", "64"]),
        ("config_bert.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", ["relu", "gelu"]),
        (
            "config_bert.json",
            "{",
            "{\"position_embedding_type\": \"relative_key\", ",
            ["relative_key", "absolute"],
        ),
        (
            "config_bert.json",
            "{",
            "{\"tie_word_embeddings\": false, ",
            ["tie_word_embeddings", "config_bert.json"],
        ),
        (
            "config.yaml",
            "bert_config: config_bert.json",
            "bert_config: other.json",
            ["other.json", "not there"],
        ),
        ("config.yaml", "vision_width: 1024", "vision_width: 768", ["768", "1024"]),
        ("config.yaml", "image_res: 56", "image_res: 57", ["57", "14"]),
        (
            "config.yaml",
            "task: image-captioning",
            "task: visual-question-answering",
            ["configuration.json", "config.yaml"],
        ),
        ("config.yaml", "max_length: 12", "max_length: 33", ["33", "32"]),
        ("config.yaml", "beam_size: 5", "beam_size: 0", ["beam_size: 0", "config.yaml"]),
        ("config.yaml", "beam_size: 5", "beam_size: [", ["config.yaml", ""]),
        (
            "configuration.json",
            "\"task\": \"image-captioning\"",
            "\"task\": \"image-text-retrieval\"",
            ["image-text-retrieval", "configuration.json"],
        ),
    ] {
        let reason = open(file, from, to);
        assert!(parts.iter().all(|part| reason.contains(part)), "{file} {to}: {reason}");
    }
}

/// A small valid file of each format, to be spoilt.
fn valid_files() -> Vec<Vec<u8>> {
    let header = r#"{"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    vec![
        torch_zip(&one_tensor(&SIX), &six_values()),
        legacy(&one_tensor(&TensorBytes { is_legacy: true, ..SIX }), &[("0", 6, &six_values())]),
        safetensors(header, &six_values()),
    ]
}

/// Opening must end, and what opens must be readable or refuse.
fn survives(bytes: Vec<u8>) {
    if let Ok(checkpoint) = Checkpoint::from_bytes(bytes) {
        for name in checkpoint.names() {
            let _either = checkpoint.read_f32(name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_pickles_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(torch_zip(&bytes, &six_values()));
        survives(legacy(&bytes, &[]));
        survives(bytes);
    }

    #[test]
    fn pickles_of_random_instructions_never_panic(
        choices in prop::collection::vec((0..PIECES.len(), any::<u8>()), 0..120)
    ) {
        let mut pickle = vec![0x80, 2];
        for (piece, byte) in choices {
            pickle.extend(PIECES[piece]);
            if matches!(PIECES[piece], b"q" | b"h" | b"K") {
                pickle.push(byte % 8);
            }
        }
        pickle.push(b'.');
        survives(torch_zip(&pickle, &six_values()));
    }

    #[test]
    fn spoilt_files_never_panic(
        file in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = valid_files().swap_remove(file);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        survives(bytes);
    }
}

/// Instructions that random pickles are made of, likelier to reach deep than random bytes.
const PIECES: [&[u8]; 28] = [
    b"N",
    b"K",
    b"(",
    b")",
    b"}",
    b"]",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"R",
    b"Q",
    b"b",
    b"s",
    b"u",
    b"a",
    b"e",
    b"q",
    b"h",
    b"0",
    b"1",
    b"2",
    b"\x81",
    b"\x89",
    b"X\x07\0\0\0storage",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n",
];
