//! Models whose weights have tensors that nobody knows, or values that are no numbers.

use std::fs;

use mplug::checkpoint::seeded::{Draw, DrawnTensor, Recipe};
use mplug::checkpoint::{Dtype, FileFormat, Values, WriteOptions};
use mplug::config::Task;
use serde_json::Value;

use crate::support::{Desk, Outcome, mplug, outcome};

const TASKS: [(Task, &str); 3] = [
    (Task::ImageCaptioning, "caption"),
    (Task::VisualQuestionAnswering, "ask"),
    (Task::ImageTextRetrieval, "match"),
];

/// The arguments of a task's command for two texts about a picture (captions: the picture twice, under two names).
fn arguments<'a>(command: &'a str, model: &'a str) -> Vec<&'a str> {
    let inputs = if command == "caption" { ["red.png", "green.png"] } else { ["a cat", "a dog"] };
    let picture = (command != "caption").then_some("red.png");
    let start = [command, "--model", model, "--format", "jsonl"];
    start.into_iter().chain(picture).chain(inputs).collect()
}

/// In the place of a model of that name, if there is one.
fn anew() -> WriteOptions {
    WriteOptions { overwrite: true, ..WriteOptions::default() }
}

fn add(recipe: &mut Recipe, names: &[&str]) {
    recipe.tensors.extend(names.iter().map(|name| DrawnTensor {
        name: (*name).to_owned(),
        shape: vec![3, 3],
        draw: Draw::Given(Values::F32(vec![f32::NAN; 9])),
    }));
}

fn set(recipe: &mut Recipe, name: &str, at: usize, value: f32) {
    let index = recipe.tensors.iter().position(|tensor| tensor.name == name).expect(name);
    let Values::F32(mut values) = recipe.draw(index) else { panic!("{name} is not of floats") };
    values[at] = value;
    recipe.tensors[index].draw = Draw::Given(Values::F32(values));
}

/// The output of the last layer before the logits, made so large that they overflow.
pub(crate) fn overflow(recipe: &mut Recipe, task: Task) {
    let norm = match task {
        Task::ImageTextRetrieval => "fusion_encoder.encoder.layer.4.output.LayerNorm.weight",
        _ => "text_decoder.cls.predictions.transform.LayerNorm.weight",
    };
    let tensor = recipe.tensors.iter_mut().find(|tensor| tensor.name == norm).expect(norm);
    tensor.draw = Draw::Given(Values::F32(vec![3e38; tensor.shape[0]]));
}

fn is_warned(run: &Outcome, expected: &str) {
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> =
        run.check_messages().stderr.lines().filter(|line| line.contains("unexpected")).collect();
    assert!(matches!(lines[..], [line] if line.contains(expected)), "{expected}: {}", run.stderr);
}

#[test]
fn unknown_tensors_are_reported_and_change_nothing() {
    let desk = Desk::new();
    for (task, command) in TASKS {
        desk.model_with("plain", task, anew());
        desk.edited_model("more", task, anew(), |recipe| {
            add(recipe, &["my_head.weight", "another.weight"]);
        });
        let expected = "more/model.safetensors: 2 unexpected tensors are not used: another.weight, my_head.weight (`--strict`";
        let plain = desk.run(&arguments(command, "plain"));
        assert_eq!((plain.code, plain.stderr.as_str()), (0, ""), "{plain:?}");
        let more = desk.run(&arguments(command, "more"));
        is_warned(&more, expected);
        assert_eq!(more.stdout, plain.stdout, "{command}");

        let drawn = ["eval", "--count", "2", "--model", "more"];
        let others = [
            &["inspect", "more"][..],
            &["convert", "more", "copy", "--force"],
            &["convert", "more", "half", "--force", "--format", "pytorch", "--dtype", "f16"],
            &["convert", "more", "int8", "--force", "--precision", "int8"],
            &drawn,
        ];
        let has_projections = command != "match";
        if command == "caption" {
            is_warned(
                &desk.run(&["bench", "--model", "more", "--rounds", "1", "--batch-sizes", "1"]),
                expected,
            );
        }
        for args in others.into_iter().filter(|args| has_projections || args != &drawn) {
            is_warned(&desk.run(args), expected);
        }
        // Kept with all the others; what is for the task alone has none.
        is_warned(&desk.run(&arguments(command, "copy")), "copy/model.safetensors: 2 unexpected tensors");
        is_warned(&desk.run(&arguments(command, "half")), "half/pytorch_model.bin: 2 unexpected tensors");
        let task_only = desk.run(&["convert", "more", "small", "--force", "--task-only"]);
        assert!(!task_only.stderr.contains("NaN"), "{task_only:?}");
        for model in ["small", "int8"] {
            let run = desk.run(&arguments(command, model));
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{model}: {run:?}");
        }
        let copied = desk.run(&["convert", "more", "copy", "--force"]);
        let message = "2 of the tensors that the task does not use have NaN or infinity, copied as they are: another.weight, my_head.weight";
        assert!(copied.stderr.contains(message), "{copied:?}");

        for args in [arguments(command, "more"), vec!["convert", "more", "strict"]] {
            let by_option = desk.run(&[&args[..], &["--strict"]].concat());
            let by_variable = outcome(mplug().current_dir(desk.path()).args(&args).env("MPLUG_STRICT", "1"));
            for refused in [by_option, by_variable] {
                assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
                let expected = "2 unexpected: another.weight, my_head.weight";
                assert!(refused.check_messages().stderr.contains(expected), "{refused:?}");
            }
            let strict = [&args[..1], &["--strict"], &args[1..]].concat();
            let not_so = strict.iter().map(|arg| if *arg == "more" { "plain" } else { arg });
            assert_eq!(outcome(mplug().current_dir(desk.path()).args(not_so)).code, 0, "{strict:?}");
        }
        fs::remove_dir_all(desk.join("strict")).unwrap();
        let lax = outcome(
            mplug().current_dir(desk.path()).args(arguments(command, "more")).env("MPLUG_STRICT", "0"),
        );
        is_warned(&lax, expected);
    }
}

#[test]
fn many_unknown_tensors_are_one_short_line() {
    let desk = Desk::new();
    let names: Vec<String> = (0..40).map(|n| format!("head.{n:02}.{}", "x".repeat(300))).collect();
    desk.edited_model("model", Task::ImageCaptioning, anew(), |recipe| {
        add(recipe, &names.iter().map(String::as_str).collect::<Vec<_>>());
    });
    let run = desk.caption(&["red.png"]);
    is_warned(&run, "40 unexpected tensors are not used: head.00.x");
    assert!(run.stderr.contains(" and 35 more (`--strict`") && run.stderr.len() < 1500, "{run:?}");
    let refused = desk.caption(&["red.png", "--strict"]);
    assert!(
        refused.stderr.contains("40 unexpected: ") && refused.stderr.contains(" and 20 more"),
        "{refused:?}"
    );
}

#[test]
fn a_weight_that_is_no_number_refuses_the_model_by_name() {
    let desk = Desk::new();
    let name = "visual_encoder.visual.transformer.resblocks.0.mlp.c_fc.weight";
    for (task, command) in TASKS {
        for (model, format, dtype, value) in [
            ("f32", FileFormat::Safetensors, Dtype::F32, f32::NAN),
            ("f16", FileFormat::Pytorch, Dtype::F16, f32::INFINITY),
            ("bf16", FileFormat::PytorchTrainer, Dtype::Bf16, f32::NEG_INFINITY),
        ] {
            let options = WriteOptions { dtype, format, ..anew() };
            desk.edited_model(model, task, options, |recipe| set(recipe, name, 129, value));
            let eval = ["eval", "--count", "2", "--model", model];
            let int8 = ["convert", model, "out", "--precision", "int8"];
            let convert = ["convert", model, "out", "--format", "pytorch"];
            for args in [&arguments(command, model)[..], &eval, &int8, &convert] {
                let refused = desk.run(args);
                assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{args:?}: {refused:?}");
                let expected = format!("`{name}` of {model}/");
                let found = format!("1 of 32768, the first at [1, 1] ({value:e})");
                let message = &refused.check_messages().stderr;
                assert!(message.contains(&expected) && message.contains(&found), "{args:?}: {message}");
                assert!(!desk.join("out").exists());
            }
        }
    }
}

#[test]
fn an_output_that_is_no_number_is_an_error_of_its_input() {
    let desk = Desk::new();
    let reason = "the model's output is not a number";
    for (task, command) in TASKS {
        desk.edited_model("large", task, anew(), |recipe| overflow(recipe, task));
        for precision in ["f32", "bf16", "int8"] {
            let run = desk.run(&[&arguments(command, "large")[..], &["--precision", precision]].concat());
            assert_eq!(run.code, 1, "{run:?}");
            assert!(run.check_messages().stderr.matches(reason).count() >= 2, "{run:?}");
            let records = run.jsonl();
            assert_eq!(records.len(), 2, "{run:?}");
            for record in records {
                let error = record["error"].as_str().unwrap_or_default();
                assert!(error.starts_with(reason), "{precision}: {record}");
                for key in ["caption", "answer", "probability", "score"] {
                    assert_eq!(
                        record.get(key).unwrap_or(&Value::Bool(false)),
                        &Value::Bool(false),
                        "{record}"
                    );
                }
            }
        }
        let text: Vec<&str> =
            arguments(command, "large").into_iter().filter(|a| *a != "jsonl" && *a != "--format").collect();
        let text = desk.run(&text);
        assert_eq!((text.code, text.stdout.contains("NaN")), (1, false), "{text:?}");
        let int8 = desk.run(&["convert", "large", "out", "--precision", "int8"]);
        assert_eq!((int8.code, desk.join("out").exists()), (2, false), "{int8:?}");
        assert!(int8.check_messages().stderr.contains(reason), "{int8:?}");
    }
    desk.edited_model("model", Task::ImageCaptioning, anew(), |recipe| {
        overflow(recipe, Task::ImageCaptioning);
    });
    let sampled = desk.caption(&["red.png", "--sample", "--format", "jsonl"]);
    assert_eq!((sampled.code, sampled.stdout.contains(reason)), (1, true), "{sampled:?}");
    let eval = desk.run(&["eval", "--count", "2", "--model", "model"]);
    assert_eq!((eval.code, eval.stdout.as_str()), (2, ""), "{eval:?}");
    assert!(eval.check_messages().stderr.contains(reason), "{eval:?}");
}

#[test]
fn a_value_that_f16_does_not_reach_is_named() {
    let desk = Desk::new();
    desk.edited_model("large", Task::ImageCaptioning, WriteOptions::default(), |recipe| {
        set(recipe, "visn_fc.bias", 3, 1e5);
    });
    let refused = desk.run(&["convert", "large", "out", "--dtype", "f16"]);
    assert_eq!((refused.code, desk.join("out").exists()), (2, false), "{refused:?}");
    let expected = "`visn_fc.bias`: its value 100000.0 does not fit f16: choose bf16 or f32";
    assert!(refused.check_messages().stderr.contains(expected), "{refused:?}");
    assert_eq!(desk.run(&["convert", "large", "out", "--dtype", "bf16"]).code, 0);
}
