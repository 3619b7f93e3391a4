//! What a client gets is what the library gives, alone and in a crowd.

use mplug::config::Task;
use mplug::preprocess::image::ImageLimits;
use mplug::{CaptionRequest, Captioner, decode_image};
use mplug_server::ServeOptions;
use serde_json::{Value, json};

use crate::support::{Running, picture, tiny_model};

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What the library writes about picture `number` as `request` says.
fn expected(
    captioner: &Captioner,
    folder: &mplug::checkpoint::ModelFolder,
    number: u32,
    request: &Value,
) -> Value {
    let mut request = request.clone();
    let object = request.as_object_mut().unwrap();
    for (ours, theirs) in [("forbid", "forbidden_words"), ("include", "required_words")] {
        if let Some(words) = object.remove(ours) {
            object.insert(theirs.to_owned(), words);
        }
    }
    let request: CaptionRequest = serde_json::from_value(request).unwrap();
    let options = request.resolve(folder).unwrap();
    let image = decode_image(&picture(number), &ImageLimits::default()).unwrap();
    let captions = captioner.caption_batch(&[image], &options).unwrap().remove(0);
    json!(captions.iter().map(|caption| json!([caption.text, caption.score.to_string()])).collect::<Vec<_>>())
}

fn found(result: &Value) -> Value {
    let captions = result["captions"].as_array().unwrap_or_else(|| panic!("no captions: {result}"));
    json!(
        captions
            .iter()
            .map(|caption| json!([caption["caption"], caption["score"].to_string()]))
            .collect::<Vec<_>>()
    )
}

/// Requests of all kinds at once, from many threads: each gets what the library gives for it alone.
#[test]
fn a_caption_is_the_same_in_a_crowd() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(&folder.path().join("model"), Task::ImageCaptioning);
    let captioner = Captioner::load(&model).unwrap();
    let server = Running::start(ServeOptions::default());
    let kinds = [
        json!({ "captions": 1 }),
        json!({ "captions": 3, "beams": 4 }),
        json!({ "captions": 2, "max_new_tokens": 6, "min_new_tokens": 2 }),
        json!({ "captions": 1, "prefix": "一" }),
        json!({ "captions": 1, "forbid": ["丁"] }),
        json!({ "captions": 1, "include": ["万"] }),
        json!({ "captions": 2, "sampling": { "seed": 7, "top_k": 5 } }),
    ];
    let (server, captioner, model) = (&server, &captioner, &model);
    std::thread::scope(|scope| {
        for client in 0..12 {
            let kind = &kinds[client % kinds.len()];
            scope.spawn(move || {
                for round in 0..4 {
                    let number = (client * 31 + round) as u32;
                    let mut body = kind.clone();
                    body["image"] = json!(base64(&picture(number)));
                    let reply = server.post("/v1/caption", &body);
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    let expected = expected(captioner, model, number, kind);
                    assert_eq!(found(&reply.json()["results"][0]), expected, "{kind}");
                }
            });
        }
        scope.spawn(move || {
            for number in 0..6 {
                let body = json!({ "image": base64(&picture(number)), "question": "what is it?" });
                assert_eq!(server.post("/v1/ask", &body).status, 200);
                let body = json!({ "image": base64(&picture(number)), "texts": ["a cat", "a dog"] });
                assert_eq!(server.post("/v1/match", &body).status, 200);
            }
        });
    });
}

#[test]
fn one_bad_picture_of_many_is_an_entry() {
    let server = Running::start(ServeOptions::default());
    let body = json!({ "images": [base64(&picture(1)), "*", base64(b"no picture"), base64(&picture(2))] });
    let reply = server.post("/v1/caption", &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let results = reply.json()["results"].clone();
    assert!(results[0]["caption"].is_string() && results[3]["caption"].is_string());
    for index in [1, 2] {
        assert_eq!(results[index]["error"]["code"], "unreadable_picture", "{results}");
    }
    let alone = server.post("/v1/caption", &json!({ "image": base64(b"no picture") }));
    assert_eq!((alone.status, alone.code().as_str()), (422, "unreadable_picture"));
}

/// The model for matching has embeddings up to the words; the characters come behind them.
#[test]
fn a_caption_that_cannot_be_matched_stays() {
    let check = |server: &Running| {
        let reply = server.post("/v1/caption", &json!({ "image": base64(&picture(1)), "check": true }));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["results"][0].clone()
    };
    let shift = |folder: &std::path::Path| {
        let file = folder.join("match/vocab.txt");
        let vocabulary = std::fs::read_to_string(&file).unwrap();
        let unused = (0..200).fold(String::new(), |text, number| text + &format!("[unused{number}]\n"));
        std::fs::write(&file, vocabulary.replacen("一\n", &(unused + "一\n"), 1)).unwrap();
    };
    let (whole, shifted) = (
        check(&Running::start(ServeOptions::default())),
        check(&Running::start_changed(ServeOptions::default(), shift)),
    );
    assert!(whole["match"].is_number(), "{whole}");
    assert_eq!((&shifted["match"], &shifted["caption"]), (&Value::Null, &whole["caption"]));
    assert!(shifted.as_object().unwrap().contains_key("match"), "{shifted}");
}

/// Every route of the description is there, and none of `/v1` or `/api` is missing from it.
#[test]
fn the_description_has_ollamas_routes_too() {
    let options = ServeOptions { ollama: true, ..ServeOptions::default() };
    let server = Running::start(options);
    let description = server.get("/openapi.json").json();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let reply = server.request(&method.to_uppercase(), path, &[], b"");
            assert!(![404, 405].contains(&reply.status), "{method} {path}: {}", reply.status);
        }
    }
    let described = ["/api/generate", "/api/tags", "/api/version"];
    assert!(described.iter().all(|path| description["paths"].get(path).is_some()));
}

#[test]
fn maps_have_a_place_for_every_word() {
    let server = Running::start(ServeOptions::default());
    for method in ["attention", "ablation"] {
        let body = json!({ "image": base64(&picture(3)), "method": method });
        let result = server.post("/v1/explain", &body).json()["results"][0].clone();
        let caption: Vec<char> = result["caption"].as_str().unwrap().chars().collect();
        let patches = result["grid"][0].as_u64().unwrap() * result["grid"][1].as_u64().unwrap();
        for word in result["words"].as_array().unwrap() {
            assert_eq!(word["map"].as_array().unwrap().len() as u64, patches);
            assert_eq!(word["most_lost"].is_number(), method == "ablation");
            let place = word["start"].as_u64().unwrap() as usize..word["end"].as_u64().unwrap() as usize;
            assert_eq!(word["text"], caption[place].iter().collect::<String>());
        }
        let given = json!({ "image": base64(&picture(3)), "method": method, "caption": "一丁" });
        let given = server.post("/v1/explain", &given).json()["results"][0].clone();
        assert_eq!(given["caption"], "一丁");
        assert!(!given["words"].as_array().unwrap().is_empty(), "{given}");
    }
}

#[test]
fn models_are_listed_and_chosen_by_name() {
    let server = Running::start(ServeOptions::default());
    let models = server.get("/v1/models").json();
    let tasks: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|model| model["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["caption", "ask", "match"]);
    let with =
        |model: &str| server.post("/v1/caption", &json!({ "image": base64(&picture(1)), "model": model }));
    assert_eq!(with("tiny-caption").json()["model"], "tiny-caption");
    for wrong in ["tiny-ask", "gpt-4o"] {
        let reply = with(wrong);
        assert_eq!((reply.status, reply.code().as_str()), (404, "model_not_found"));
        assert_eq!(reply.json()["error"]["param"], "model");
    }
    let reply = server.post("/v1/caption", &json!({ "image": base64(&picture(1)), "language": "en" }));
    assert_eq!((reply.status, reply.json()["error"]["param"].clone()), (422, json!("language")));
}
