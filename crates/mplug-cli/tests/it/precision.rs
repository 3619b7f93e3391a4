//! `--precision`, int8 models and `bench`, as a user meets them.

use mplug::checkpoint::outliers::WithOutliers;
use mplug::checkpoint::seeded::seeded_tensors;
use mplug::checkpoint::{ModelFolder, WriteOptions, write_model_folder_of};
use mplug::config::ConfigOverrides;
use serde_json::Value;

use crate::support::{Desk, mplug, outcome};

#[test]
fn every_precision_captions_and_bf16_says_what_this_cpu_does() {
    let desk = Desk::new();
    for precision in ["f32", "bf16", "int8"] {
        let found = desk.caption(&["red.png", "--precision", precision, "--format", "jsonl"]);
        assert_eq!(found.code, 0, "{found:?}");
        assert!(found.jsonl()[0]["caption"].is_string());
        let is_reported = found.check_messages().stderr.contains("multiplies bf16 numbers slowly");
        let expected = precision == "bf16" && !mplug::instruction_set().multiplies_bf16();
        assert_eq!(is_reported, expected, "{found:?}");
    }
    let wrong = desk.caption(&["red.png", "--precision", "fp4"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("possible values: f32, bf16, int8"), "{}", wrong.stderr);
}

#[test]
fn an_int8_folder_is_written_inspected_and_used_without_asking() {
    let desk = Desk::new();
    let convert =
        desk.run(&["convert", "model", "int8", "--precision", "int8", "--calibrate", "red.png", "."]);
    assert_eq!(convert.code, 0, "{convert:?}");
    assert!(convert.check_messages().stderr.contains("% before smoothing"), "{}", convert.stderr);
    let inspected: Value =
        serde_json::from_str(&desk.run(&["inspect", "int8", "--format", "json"]).stdout).unwrap();
    assert!(inspected[0]["dtypes"]["i8"].as_u64() > Some(1000), "{inspected}");

    let own = desk.run(&["caption", "--model", "int8", "red.png"]);
    assert_eq!((own.code, own.stderr.as_str()), (0, ""), "{own:?}");
    let requested = desk.run(&["caption", "--model", "int8", "--precision", "int8", "red.png"]);
    assert_eq!(own.stdout, requested.stdout);
    let exact = desk.run(&["caption", "--model", "int8", "--precision", "f32", "red.png"]);
    assert!(exact.check_messages().stderr.contains("cannot bring back"), "{}", exact.stderr);
    // It is a model like any other: it can be converted back to floats.
    assert_eq!(desk.run(&["convert", "int8", "back", "--dtype", "f32"]).code, 0);
    assert_eq!(desk.run(&["caption", "--model", "back", "red.png"]).code, 0);
}

#[test]
fn the_last_line_of_an_int8_conversion_says_what_it_was_calibrated_on() {
    let desk = Desk::new();
    let config = ModelFolder::open(desk.join("model"), &ConfigOverrides::default()).unwrap().config;
    let vocabulary = std::fs::read_to_string(desk.join("model/vocab.txt")).unwrap();
    let recipe = seeded_tensors(&config, 7);
    let tensors = WithOutliers::new(&recipe);
    write_model_folder_of(&desk.join("outliers"), &config, &vocabulary, &tensors, &WriteOptions::default())
        .unwrap();
    let last_line = |args: &[&str]| {
        let convert = desk.run(&[&["convert", "--force", "--precision", "int8"], args].concat());
        assert_eq!(convert.code, 0, "{convert:?}");
        convert.check_messages().stderr.lines().last().unwrap().to_owned()
    };
    assert_eq!(
        last_line(&["model", "int8"]),
        "mplug: int8: written; calibrated on 12 drawn pictures; outliers smoothed in 0 of 41 linear layers; \
         to calibrate on pictures of your own: `--calibrate DIR`"
    );
    assert_eq!(
        last_line(&["outliers", "int8", "--calibrate", "red.png", "green.png"]),
        "mplug: int8: written; calibrated on 2 pictures of red.png, green.png; outliers smoothed in 12 of 41 linear layers"
    );
    assert!(last_line(&["model", "int8", "--calibrate", "red.png"]).contains("on 1 picture of red.png;"));
}

#[test]
fn what_belongs_to_int8_alone_is_refused_elsewhere() {
    let desk = Desk::new();
    let bf16 = desk.run(&["convert", "model", "x", "--precision", "bf16", "--calibrate", "red.png"]);
    assert_eq!(bf16.code, 2);
    assert!(bf16.check_messages().stderr.contains("`--calibrate` is for"), "{}", bf16.stderr);
    assert_eq!(desk.run(&["convert", "model", "x", "--precision", "int8", "--dtype", "f16"]).code, 2);
    assert_eq!(desk.run(&["convert", "model", "x", "--calibrate", "red.png"]).code, 2);
    desk.write("broken.png", b"not a picture");
    let broken = desk.run(&["convert", "model", "x", "--precision", "int8", "--calibrate", "broken.png"]);
    assert_eq!(broken.code, 2);
    assert!(broken.stderr.contains("broken.png") && broken.stderr.contains("none of the pictures"));
    assert!(!desk.join("x").exists());
}

#[test]
fn bench_reports_every_stage_as_text_and_json() {
    let desk = Desk::new();
    let args = ["bench", "--model", "model", "--images", "red.png", "--rounds", "1", "--batch-sizes", "1,2"];
    let json = desk.run(&[&args[..], &["--format", "jsonl"]].concat());
    assert_eq!(json.code, 0, "{json:?}");
    let reports = json.jsonl();
    assert_eq!(reports.iter().map(|r| r["precision"].clone()).collect::<Vec<_>>(), ["f32", "bf16", "int8"]);
    for report in &reports {
        for stage in
            ["encoder_s", "cross_key_values_s", "decode_step_s", "decode_step_10_rows_s", "end_to_end_s"]
        {
            assert!(report[stage]["median"].as_f64() > Some(0.0), "{stage}: {report}");
        }
        let share = report["decode_step_share"].as_f64().unwrap();
        assert!(share > 0.0 && share.is_finite());
        assert_eq!(report["pictures_per_s"].as_array().unwrap().len(), 2);
        assert_eq!(report["tokens"].as_u64().unwrap(), report["token_ids"].as_array().unwrap().len() as u64);
    }
    let text = desk.run(&[&args[..], &["--precision", "int8"]].concat());
    for line in ["int8 on ", "encoder", "decoder step, 5 rows", "batch of 2", "pictures/s"] {
        assert!(text.stdout.contains(line), "{line} is not in\n{}", text.stdout);
    }
    let missing = desk.run(&["bench", "--model", "model", "--images", "no.png", "--rounds", "1"]);
    assert_eq!(missing.code, 2);
    assert!(missing.check_messages().stderr.contains("no.png"), "{}", missing.stderr);
}

/// What fewer bits cost the built-in demo model: captions of drawn pictures, compared with those at f32.
#[test]
fn captions_of_the_demo_model_stay_the_same_but_for_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| outcome(mplug().current_dir(folder.path()).args(args));
    let drawn = run(&["synth", "drawn", "--count", "200", "--seed", "20261125"]);
    assert_eq!(drawn.code, 0, "{drawn:?}");
    let captions = |precision: &str| -> Vec<Value> {
        let args = ["caption", "drawn", "--recursive", "--format", "jsonl", "--precision", precision];
        run(&args).jsonl().into_iter().map(|record| record["caption"].clone()).collect()
    };
    let exact = captions("f32");
    assert_eq!(exact.len(), 200);
    for (precision, least) in [("bf16", 194), ("int8", 180)] {
        let same = captions(precision).iter().zip(&exact).filter(|(found, exact)| found == exact).count();
        assert!(same >= least, "{precision}: {same} of 200 captions are the same");
    }
}
