//! Every format, type, wrapping and kind of view opens and gives the right values.

use mplug::checkpoint::{Checkpoint, CheckpointFormat, Values};

use super::build::{PickleBytes, SIX, TensorBytes, legacy, one_tensor, safetensors, six_values, torch_zip};

const VALUES: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

fn open(bytes: Vec<u8>) -> Checkpoint {
    Checkpoint::from_bytes(bytes).unwrap()
}

#[test]
fn plain_files_of_the_three_formats_open() {
    let zip = open(torch_zip(&one_tensor(&SIX), &six_values()));
    assert_eq!(zip.format(), CheckpointFormat::PytorchZip);
    let old = one_tensor(&TensorBytes { is_legacy: true, ..SIX });
    let old = open(legacy(&old, &[("0", 6, &six_values())]));
    assert_eq!(old.format(), CheckpointFormat::PytorchLegacy);
    let header =
        r#"{"__metadata__":{"format":"pt"},"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let safe = open(safetensors(header, &six_values()));
    assert_eq!(safe.format(), CheckpointFormat::Safetensors);
    for checkpoint in [zip, old, safe] {
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["weight"]);
        assert_eq!(checkpoint.shape("weight"), Some(&[2, 3][..]));
        assert_eq!(checkpoint.read_f32("weight").unwrap(), VALUES);
    }
}

#[test]
fn wraps_and_prefixes_come_off() {
    for (wraps, key) in [
        (&["model"][..], "visn_fc.weight"),
        (&["module"], "model.visn_fc.weight"),
        (&["model", "module"], "module.visn_fc.weight"),
        (&[], "module.model.visn_fc.weight"),
    ] {
        for is_legacy in [false, true] {
            let mut p = PickleBytes::new();
            for wrap in wraps {
                // Beside the weights lies what a training checkpoint has: a number, a Namespace, an optimizer's state.
                p = p
                    .raw(b"}(")
                    .text("epoch")
                    .int(3)
                    .text("config")
                    .global("argparse", "Namespace")
                    .raw(b")\x81}b");
                p = p.text("step").global("numpy.core.multiarray", "scalar").raw(b"(K\x01tR").text(wrap);
            }
            p = p.global("collections", "OrderedDict").raw(b")R").text(key);
            p = p.tensor(&TensorBytes { is_legacy, ..SIX }).raw(b"s}b");
            p = wraps.iter().fold(p, |p, _| p.raw(b"u"));
            let bytes = if is_legacy {
                legacy(&p.end(), &[("0", 6, &six_values())])
            } else {
                torch_zip(&p.end(), &six_values())
            };
            let checkpoint = open(bytes);
            assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["visn_fc.weight"], "{wraps:?} {key}");
            assert_eq!(checkpoint.read_f32("visn_fc.weight").unwrap(), VALUES);
        }
    }
}

#[test]
fn views_are_gathered_in_row_major_order() {
    let transposed = TensorBytes { shape: &[3, 2], strides: &[1, 3], ..SIX };
    let checkpoint = open(torch_zip(&one_tensor(&transposed), &six_values()));
    assert_eq!(checkpoint.read_f32("weight").unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    let column = TensorBytes { offset: 1, shape: &[2], strides: &[3], ..SIX };
    assert_eq!(open(torch_zip(&one_tensor(&column), &six_values())).read_f32("weight").unwrap(), [1.0, 4.0]);
    let row = TensorBytes { offset: 3, shape: &[3], strides: &[1], ..SIX };
    assert_eq!(
        open(torch_zip(&one_tensor(&row), &six_values())).read_f32("weight").unwrap(),
        [3.0, 4.0, 5.0]
    );
    let scalar = TensorBytes { offset: 5, shape: &[], strides: &[], ..SIX };
    assert_eq!(open(torch_zip(&one_tensor(&scalar), &six_values())).read_f32("weight").unwrap(), [5.0]);
    let empty = TensorBytes { shape: &[0, 3], strides: &[3, 1], ..SIX };
    assert!(open(torch_zip(&one_tensor(&empty), &six_values())).read_f32("weight").unwrap().is_empty());
}

#[test]
fn every_stored_type_becomes_f32_and_integers_stay_exact() {
    let storages: [(&str, Vec<u8>); 10] = [
        ("DoubleStorage", [1.5_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("FloatStorage", [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("HalfStorage", [0x3e00_u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("BFloat16Storage", [0x3fc0_u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("LongStorage", [7_i64, -2].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("IntStorage", [7_i32, -2].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("ShortStorage", [7_i16, -2].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("CharStorage", vec![7, 0xfe]),
        ("ByteStorage", vec![7, 254]),
        ("BoolStorage", vec![1, 0]),
    ];
    for (storage, bytes) in storages {
        let t = TensorBytes { storage, numel: 2, shape: &[2], strides: &[1], ..SIX };
        let checkpoint = open(torch_zip(&one_tensor(&t), &bytes));
        let (f32s, values) =
            (checkpoint.read_f32("weight").unwrap(), checkpoint.read_values("weight").unwrap());
        let expected = match storage {
            "ByteStorage" => [7.0, 254.0],
            "BoolStorage" => [1.0, 0.0],
            "DoubleStorage" | "FloatStorage" | "HalfStorage" | "BFloat16Storage" => [1.5, -2.0],
            _ => [7.0, -2.0],
        };
        assert_eq!(f32s, expected, "{storage}");
        match values {
            Values::F32(v) => assert_eq!(v, expected, "{storage}"),
            Values::I64(v) => assert_eq!(v, expected.map(|x| x as i64), "{storage}"),
            Values::I8(_) => panic!("{storage}: bytes are for int8 weights alone"),
        }
    }
}

#[test]
fn tied_output_weights_are_one_tensor_and_the_later_name_wins() {
    let (early, late) = (
        "text_decoder.bert.embeddings.word_embeddings.weight",
        "text_decoder.cls.predictions.decoder.weight",
    );
    let header = format!(
        r#"{{"{early}":{{"dtype":"F32","shape":[3],"data_offsets":[0,12]}},"{late}":{{"dtype":"F32","shape":[3],"data_offsets":[12,24]}}}}"#
    );
    let both = open(safetensors(&header, &six_values()));
    assert_eq!(both.read_f32(early).unwrap(), [3.0, 4.0, 5.0]);
    assert_eq!(both.read_f32(late).unwrap(), [3.0, 4.0, 5.0]);
    for only in [early, late] {
        let header = format!(r#"{{"{only}":{{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}}}"#);
        let one = open(safetensors(&header, &six_values()));
        assert_eq!(one.read_f32(early).unwrap(), VALUES);
        assert_eq!(one.read_f32(late).unwrap(), VALUES);
    }
}

#[test]
fn our_safetensors_files_open_with_the_format_s_own_crate() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let tensors = [("a".to_owned(), vec![2, 3], VALUES.to_vec()), ("b".to_owned(), vec![], vec![7.0])];
    mplug::checkpoint::write_safetensors(&path, &tensors[..], mplug::checkpoint::Dtype::F32).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("a").unwrap().data(), six_values());
    assert_eq!(file.tensor("b").unwrap().shape(), [0_usize; 0]);
}
