//! What a model folder says, and what stands beside the program: notes, texts that a model cannot read, a BERT json in a folder
//! below, and the built-in models, which have no folder.

use std::fs;
use std::io::Write;

use mplug::config::Task;

use crate::support::Desk;

/// Adds a line to the vocabulary of `model`.
fn add_token(desk: &Desk, model: &str, token: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(desk.join(model).join("vocab.txt")).unwrap();
    file.write_all(format!("{token}\n").as_bytes()).unwrap();
}

#[test]
fn a_blank_last_line_of_the_vocabulary_is_a_note() {
    let desk = Desk::new();
    add_token(&desk, "model", "");
    for args in
        [&["caption", "--model", "model", "red.png"][..], &["inspect", "model"], &["convert", "model", "out"]]
    {
        let outcome = desk.run(args);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let stderr = &outcome.check_messages().stderr;
        assert!(
            stderr.contains("note: model/vocab.txt has 144 tokens, the model has 143 word embeddings"),
            "{stderr}"
        );
    }
}

#[test]
fn a_text_beyond_the_embeddings_leaves_the_others_unharmed() {
    let desk = Desk::new();
    for (name, task) in [("ask", Task::VisualQuestionAnswering), ("match", Task::ImageTextRetrieval)] {
        desk.model(name, task);
        let texts = ["what is it", "a zebra", "a red dog"];
        let alone =
            desk.run(&[name, "--model", name, "red.png", texts[0], texts[2], "--format", "jsonl"]).jsonl();
        add_token(&desk, name, "zebra");
        let outcome =
            desk.run(&[name, "--model", name, "red.png", texts[0], texts[1], texts[2], "--format", "jsonl"]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        let lines = outcome.jsonl();
        assert_eq!((lines.len(), alone.len()), (3, 2));
        if name == "match" {
            assert_eq!([&lines[0], &lines[2]], [&alone[0], &alone[1]]);
        }
        let problem = lines[1]["error"].as_str().unwrap();
        assert!(problem.contains("`a zebra` needs the token `zebra`, which is number 143 in"), "{problem}");
        assert!(problem.contains("vocab.txt; the model has word embeddings for 0 to 142 only"), "{problem}");
        let text = lines[1].get("question").or(lines[1].get("text")).unwrap();
        assert_eq!(text, "a zebra");
        assert!(outcome.check_messages().stderr.contains("`a zebra` needs the token"), "{}", outcome.stderr);
    }
}

#[test]
fn a_bert_json_in_a_folder_below_goes_where_the_model_goes() {
    let desk = Desk::new();
    fs::create_dir(desk.join("model/configs")).unwrap();
    fs::rename(desk.join("model/config_bert.json"), desk.join("model/configs/config_bert.json")).unwrap();
    let yaml = fs::read_to_string(desk.join("model/config.yaml")).unwrap();
    let yaml = yaml.replace("bert_config: ", "bert_config: configs/");
    fs::write(desk.join("model/config.yaml"), yaml).unwrap();
    let before = desk.caption(&["red.png", "--format", "jsonl"]);
    assert_eq!(before.code, 0, "{before:?}");
    assert_eq!(desk.run(&["convert", "model", "copy"]).code, 0);
    // A folder that we wrote is replaced, though there is a folder in it; one with more in that folder is not.
    assert_eq!(desk.run(&["convert", "model", "copy", "--force"]).code, 0);
    assert_eq!(
        desk.run(&["caption", "--model", "copy", "red.png", "--format", "jsonl"]).stdout,
        before.stdout
    );
    desk.write("copy/configs/love.txt", b"dear");
    assert_eq!(desk.run(&["convert", "model", "copy", "--force"]).code, 2);
    assert!(desk.join("copy/configs/love.txt").is_file());

    fs::remove_file(desk.join("model/configs/config_bert.json")).unwrap();
    let lost = desk.caption(&["red.png"]);
    assert_eq!((lost.code, lost.stdout.as_str()), (2, ""), "{lost:?}");
    let stderr = &lost.check_messages().stderr;
    assert!(
        stderr.contains("`bert_config: configs/config_bert.json` names a file that is not there"),
        "{stderr}"
    );
}

#[test]
fn a_strangers_folder_is_not_the_built_in_models() {
    let desk = Desk::new();
    let caption = || desk.run(&["caption", "red.png", "--format", "jsonl"]);
    let before = caption();
    for folder in ["built-in model", "model in memory"] {
        let reversed: String = fs::read_to_string(desk.join("model/vocab.txt"))
            .unwrap()
            .lines()
            .rev()
            .flat_map(|line| [line, "\n"])
            .collect();
        desk.write(&format!("{folder}/vocab.txt"), reversed.as_bytes());
        for name in ["tokenizer_config.json", "config_bert.json", "config.yaml", "configuration.json"] {
            desk.write(&format!("{folder}/{name}"), b"not what it should be");
        }
    }
    let after = caption();
    assert_eq!((after.code, &after.stdout), (before.code, &before.stdout));
    let checked = desk.run(&["doctor"]).stdout;
    assert_eq!(checked.contains("FAILED demo model"), before.code != 0, "{checked}");
}
