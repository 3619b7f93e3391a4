//! What was typed wrongly: exit code 2, a reason on standard error, nothing on standard output.

use mplug::config::Task;

use crate::support::Desk;

#[test]
fn usage_errors_are_exit_code_2() {
    let desk = Desk::new();
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["describe"], "unrecognized subcommand"),
        (&["caption"], "required"),
        (&["caption", "--colour", "red.png"], "unexpected argument"),
        (&["caption", "--format", "yaml", "red.png"], "invalid value"),
        (&["caption", "--beams", "0", "red.png"], "from 1 to 64"),
        (&["caption", "--batch-size", "none", "red.png"], "from 1 to 1024"),
        (&["caption", "--temperature", "0.5", "red.png"], "--sample"),
        (&["caption", "--sample", "--temperature", "-1", "red.png"], "above 0"),
        (&["caption", "--sample", "--top-p", "1.5", "red.png"], "at most 1"),
        (&["caption", "--sample", "--beams", "3", "red.png"], "cannot be used with"),
        (
            &["caption", "--model", "model", "--captions", "5", "--beams", "2", "red.png"],
            "`--captions`: expected at most 2, the number of beams, found 5",
        ),
        (
            &["caption", "--model", "model", "--min-new-tokens", "9", "--max-new-tokens", "3", "red.png"],
            "`--min-new-tokens`: expected at most 3, the longest length, found 9",
        ),
        (&["caption", "--model", "model", "-", "-"], "once"),
        (&["caption", "--model", "model", "--output", ".", "red.png"], "is a folder"),
        (&["caption", "--model", "model", "--output", "none/out.txt", "red.png"], "cannot be written"),
        (&["ask", "--model", "model", "red.png"], "QUESTION"),
        // Case 37: the names of further pictures are no questions and no texts.
        (
            &["ask", "red.png", "red.png", "what is it?"],
            "red.png: expected a question, found the name of a picture",
        ),
        (&["match", "red.png", "red.png", "a cat"], "red.png: expected a text, found the name of a picture"),
        (&["train", "recipe.toml", "--set", "epochs"], "key=value"),
        (&["completions", "dosshell"], "invalid value"),
    ];
    for (args, reason) in cases {
        let outcome = desk.run(args);
        assert_eq!(outcome.code, 2, "{args:?}: {outcome:?}");
        assert!(outcome.stderr.contains(reason), "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{args:?}");
    }
}

#[test]
fn a_model_that_cannot_be_used_is_exit_code_2() {
    let desk = Desk::new();
    for model in ["no-such-folder", "red.png"] {
        let outcome = desk.run(&["caption", "--model", model, "red.png"]);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.check_messages().stderr.contains(model), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn a_model_of_another_task_names_the_command_that_fits() {
    let desk = Desk::new();
    desk.model("vqa", Task::VisualQuestionAnswering);
    let cases: &[(&[&str], &str, &str)] = &[
        (&["caption", "--model", "vqa", "red.png"], "visual question answering", "`mplug ask`"),
        (&["ask", "--model", "model", "red.png", "什么?"], "image captioning", "`mplug caption`"),
        (&["match", "--model", "vqa", "red.png", "a cat"], "visual question answering", "`mplug ask`"),
    ];
    for (args, task, command) in cases {
        let outcome = desk.run(args);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.check_messages().stderr.contains(task), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(command), "{}", outcome.stderr);
    }
}

#[cfg(not(feature = "train"))]
#[test]
fn a_build_without_training_says_how_to_get_one() {
    let outcome = Desk::new().run(&["train", "recipe.toml"]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.check_messages().stderr.contains("--features train"), "{}", outcome.stderr);
}

#[cfg(not(feature = "hub"))]
#[test]
fn a_build_without_a_hub_says_how_to_get_one() {
    let desk = Desk::new();
    for args in [&["pull", "a/b"][..], &["models"], &["caption", "--model", "a/b", "red.png"]] {
        let outcome = desk.run(args);
        assert_eq!(outcome.code, 2, "{args:?}");
        assert!(outcome.check_messages().stderr.contains("feature `hub`"), "{}", outcome.stderr);
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_how_to_get_one() {
    let desk = Desk::new();
    desk.write("in.parquet", b"PAR1");
    let table = desk.caption(&["red.png", "--format", "parquet", "--output", "out.parquet"]);
    assert!(table.code == 2 && table.stderr.contains("--features parquet"), "{}", table.stderr);
    let rows = desk.caption(&["in.parquet"]);
    assert!(rows.code == 1 && rows.stderr.contains("--features parquet"), "{}", rows.stderr);
}
