//! What other programs speak: each line of the table in docs/server.md is a case here.

use base64::Engine as _;
use mplug_server::ServeOptions;
use serde_json::{Value, json};

use crate::support::{Running, picture};

fn data_url(number: u32) -> String {
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(picture(number)))
}

/// A chat with one picture and a text, and with the other fields of `more`.
fn chat(text: &str, more: Value) -> Value {
    let mut body = more;
    body["messages"] = json!([
        { "role": "system", "content": "You are helpful." },
        { "role": "user", "content": [
            { "type": "text", "text": text },
            { "type": "image_url", "image_url": { "url": data_url(1), "detail": "low" } },
        ] },
    ]);
    body
}

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no text: {reply}"))
}

#[test]
fn a_text_means_what_the_table_says() {
    let server = Running::start(ServeOptions::default());
    let model = |text: &str, model: Value| {
        let reply = server.post("/v1/chat/completions", &chat(text, json!({ "model": model })));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["model"].as_str().unwrap().to_owned()
    };
    // The model that is named decides.
    assert_eq!(model("what is it?", json!("tiny-caption")), "tiny-caption");
    assert_eq!(model("describe it", json!("tiny-ask")), "tiny-ask");
    // No name, or `mplug`: questions are answered, all else is captioned.
    for any in [json!("mplug"), Value::Null] {
        assert_eq!(model("what is it?", any.clone()), "tiny-ask");
        assert_eq!(model("这是什么？", any.clone()), "tiny-ask");
        assert_eq!(model("describe it", any.clone()), "tiny-caption");
        assert_eq!(model("", any), "tiny-caption");
    }
    let unknown = server.post("/v1/chat/completions", &chat("x", json!({ "model": "gpt-4o" })));
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "model_not_found"));
    // A captioner says what it says by our own route, whatever the text is.
    let own = server.post_picture("/v1/caption", &picture(1)).json()["results"][0]["caption"].clone();
    for text in ["describe it", "write a poem", "写一首诗"] {
        let reply = server.post("/v1/chat/completions", &chat(text, json!({ "model": "tiny-caption" })));
        assert_eq!(content(&reply.json()), own);
    }
}

#[test]
fn every_field_does_what_the_table_says() {
    let server = Running::start(ServeOptions::default());
    let send = |more: Value| server.post("/v1/chat/completions", &chat("describe it", more));
    // Fields that request nothing, and harmless ones.
    for nothing in [
        json!({ "stop": null, "tools": [], "logprobs": false, "response_format": { "type": "text" } }),
        json!({ "user": "me", "presence_penalty": 0.5, "metadata": {}, "unheard_of": 1, "tool_choice": "auto" }),
        json!({ "temperature": 0, "n": 1, "stream": false }),
    ] {
        assert_eq!(send(nothing.clone()).status, 200, "{nothing}");
    }
    // Fields that are not served.
    for (field, value) in [
        ("stop", json!("\n")),
        ("tools", json!([{ "type": "function" }])),
        ("functions", json!([{}])),
        ("tool_choice", json!("required")),
        ("logprobs", json!(true)),
        ("logit_bias", json!({ "5": 1 })),
        ("audio", json!({ "voice": "a" })),
        ("response_format", json!({ "type": "json_object" })),
    ] {
        let reply = send(json!({ field: value }));
        assert_eq!((reply.status, reply.code().as_str()), (400, "unsupported_parameter"), "{field}");
        assert_eq!(reply.json()["error"]["param"], field);
    }
    // n, the longest text, chance.
    let three = send(json!({ "n": 3 })).json();
    assert_eq!(three["choices"].as_array().unwrap().len(), 3);
    let many = send(json!({ "n": 60 }));
    assert_eq!((many.status, many.json()["error"]["param"].clone()), (422, json!("n")), "{}", many.text());
    let short = send(json!({ "max_tokens": 1 })).json();
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    assert_eq!(short["usage"]["completion_tokens"], 1);
    assert_eq!(
        send(json!({ "max_completion_tokens": 1, "max_tokens": 9 })).json()["usage"]["completion_tokens"],
        1
    );
    let chance = |seed: u64| {
        let reply = send(json!({ "temperature": 2.0, "seed": seed, "top_p": 0.9 }));
        content(&reply.json()).to_owned()
    };
    assert_eq!(chance(1), chance(1));
    assert!((2..9).any(|seed| chance(seed) != chance(1)), "seeds differ");
    let hot = send(json!({ "temperature": -1 }));
    assert_eq!(
        (hot.status, hot.json()["error"]["param"].clone()),
        (422, json!("temperature")),
        "{}",
        hot.text()
    );
    // A picture that is none.
    let content = json!([{ "type": "image_url", "image_url": { "url": "aGVsbG8=" } }]);
    let body = json!({ "messages": [{ "role": "user", "content": content }] });
    let none = server.post("/v1/chat/completions", &body);
    assert_eq!((none.status, none.json()["error"]["param"].clone()), (422, json!("messages")));
    // Kinds of values.
    let wrong = send(json!({ "n": "three" }));
    assert_eq!((wrong.status, wrong.json()["error"]["param"].clone()), (400, json!("n")));
}

#[test]
fn a_chat_is_about_its_last_picture() {
    let server = Running::start(ServeOptions::default());
    let send = |messages: Value| {
        server.post("/v1/chat/completions", &json!({ "messages": messages, "model": "tiny-caption" }))
    };
    let image = |number| json!({ "type": "image_url", "image_url": { "url": data_url(number) } });
    let own =
        |number| server.post_picture("/v1/caption", &picture(number)).json()["results"][0]["caption"].clone();
    let later = json!([
        { "role": "user", "content": [image(1)] },
        { "role": "assistant", "content": "a cat" },
        { "role": "user", "content": [image(2), { "type": "text", "text": "and now" }] },
        { "role": "assistant", "content": "a dog" },
        { "role": "user", "content": "again" },
    ]);
    assert_eq!(content(&send(later).json()), own(2));
    let two = send(json!([{ "role": "user", "content": [image(1), image(2)] }]));
    assert_eq!((two.status, two.code().as_str()), (400, "too_many_images"));
    assert!(two.text().contains("expected 1"), "{}", two.text());
    let none = send(json!([{ "role": "user", "content": "what is it?" }]));
    assert_eq!((none.status, none.json()["error"]["param"].clone()), (422, json!("messages")));
    let bad =
        send(json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "*" } }] }]));
    assert_eq!((bad.status, bad.code().as_str()), (422, "unreadable_picture"));
}

#[test]
fn a_stream_is_the_answer_in_one_chunk() {
    let server = Running::start(ServeOptions::default());
    let whole = server.post("/v1/chat/completions", &chat("x", json!({}))).json();
    let more = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let reply = server.post("/v1/chat/completions", &chat("x", more));
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let text = reply.text();
    let events: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let said: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, content(&whole));
    assert_eq!(chunks[1]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    assert_eq!(chunks.last().unwrap()["usage"], whole["usage"]);
}

#[test]
fn photo_libraries_are_understood() {
    let closed = Running::start(ServeOptions::default());
    assert_eq!(closed.get("/api/version").status, 404, "only where the operator wants it");
    let server = Running::start(ServeOptions { ollama: true, ..ServeOptions::default() });
    assert!(server.get("/api/version").json()["version"].is_string());
    assert_eq!(server.get("/api/tags").json()["models"][0]["name"], "tiny-caption");
    // What PhotoPrism sends for a caption and for labels, its pictures in base64.
    let picture_1 = base64::engine::general_purpose::STANDARD.encode(picture(1));
    let caption = json!({
        "model": "tiny-caption:latest", "prompt": "Create a caption with exactly one sentence.", "stream": false,
        "images": [picture_1], "options": { "temperature": 0.0, "num_predict": -1 },
    });
    let reply = server.post("/api/generate", &caption).json();
    let own = server.post_picture("/v1/caption", &picture(1)).json()["results"][0]["caption"].clone();
    assert_eq!((&reply["response"], &reply["done"]), (&own, &json!(true)));
    let mut labels = caption.clone();
    labels["format"] = json!("json");
    let reply = server.post("/api/generate", &labels).json();
    let found: Value = serde_json::from_str(reply["response"].as_str().unwrap()).unwrap();
    assert!(found["labels"].is_array(), "{reply}");
    let mut stream = caption.clone();
    stream.as_object_mut().unwrap().remove("stream");
    let text = server.post("/api/generate", &stream).text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["response"], &lines[0]["done"], &lines[1]["done"]),
        (&own, &json!(false), &json!(true))
    );
    let mut none = caption;
    none["images"] = json!([]);
    let reply = server.post("/api/generate", &none);
    assert_eq!(reply.status, 422);
    assert!(reply.json()["error"].is_string(), "an error is a text there: {}", reply.text());
    for foreign in
        [server.request("GET", "/api/tags", &[("Host", "evil.example")], b""), server.get("/api/ps")]
    {
        assert!(foreign.json()["error"].is_string(), "{}", foreign.text());
    }
}
