//! `mplug serve` as an operator uses it: what it refuses to start with, what it says, how it ends, and that it answers as
//! `mplug caption` does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Desk, mplug};

/// A server, killed when the test is over.
struct Served {
    child: Child,
    address: String,
    messages: BufReader<std::process::ChildStderr>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    /// Starts a server and waits until it is ready.
    fn start(desk: &Desk, args: &[&str]) -> Self {
        let program = mplug().get_program().to_owned();
        let mut command = Command::new(program);
        command.current_dir(desk.path()).env_clear().args(["serve", "--listen", "127.0.0.1:0"]).args(args);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut address = String::new();
        let mut line = String::new();
        while !line.contains("ready after") {
            line.clear();
            assert!(messages.read_line(&mut line).unwrap() > 0, "the server ended before it was ready");
            if let Some((_, found)) = line.split_once("listening at http://") {
                found.trim().clone_into(&mut address);
            }
        }
        Self { child, address, messages }
    }

    fn request(&self, head: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (address, len) = (&self.address, body.len());
        let head = format!("{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let body = reply.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// Sends a signal; the exit code and the rest of the messages.
    fn end(&mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.messages.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[test]
fn the_server_says_what_the_command_says() {
    let desk = Desk::new();
    let mut server = Served::start(&desk, &["--model", "model"]);
    for (name, kind) in [("red.png", "image/png"), ("blue.jpg", "image/jpeg"), ("两只 猫.png", "image/png")]
    {
        let expected = desk.run(&["caption", "--model", "model", "--format", "jsonl", name]).jsonl();
        let picture = std::fs::read(desk.join(name)).unwrap();
        let head = format!("POST /v1/caption HTTP/1.1\r\nContent-Type: {kind}");
        let (status, reply) = server.request(&head, &picture);
        assert_eq!(status, 200, "{reply}");
        assert_eq!(reply["results"][0]["caption"], expected[0]["caption"]);
        assert_eq!(reply["results"][0]["score"].to_string(), expected[0]["score"].to_string());
        assert_eq!(reply["model"], "model", "a name, no path");
    }
    let probe = desk.run(&["serve", "--probe", "--listen", &server.address]);
    assert_eq!(probe.code, 0, "{}", probe.stderr);
    let (code, messages) = server.end("-TERM");
    assert_eq!(code, Some(0), "{messages}");
    assert!(messages.contains("every accepted request was answered"), "{messages}");
    assert!(!messages.contains("red.png"), "{messages}");
    let probe = desk.run(&["serve", "--probe", "--listen", &server.address]);
    assert_eq!(probe.code, 1);
}

#[test]
fn the_log_can_be_read_by_programs() {
    let desk = Desk::new();
    let program = mplug().get_program().to_owned();
    let mut command = Command::new(program);
    command.current_dir(desk.path()).env_clear();
    command.args(["serve", "--listen", "127.0.0.1:0", "--model", "model", "--log-format", "json"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    for event in ["listening", "ready"] {
        let mut line = String::new();
        messages.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(line["event"], event);
        assert!(line["time"].as_f64().unwrap() > 1e9);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_open_door_needs_a_word() {
    let desk = Desk::new();
    desk.write("keys.txt", b"# none\n\n");
    desk.write("key.txt", b"secret\n");
    let refused = |args: &[&str]| {
        let outcome = desk.run(&[&["serve", "--model", "model"], args].concat());
        assert_eq!(outcome.code, 2, "{args:?}");
        outcome.stderr
    };
    let message = refused(&["--listen", "0.0.0.0:0"]);
    assert!(message.contains("--api-key-file") && message.contains("--no-auth"), "{message}");
    assert!(refused(&["--api-key-file", "keys.txt"]).contains("expected a key a line, found none"));
    assert!(refused(&["--api-key-file", "missing.txt"]).contains("missing.txt: cannot be read"));
    assert!(refused(&["--listen", "nowhere"]).contains("--listen"));
    let message = refused(&["--queue", "2", "--max-images", "3"]);
    assert!(message.contains("images: expected 1 to 2, the places of the queue, found 3"), "{message}");
    assert!(refused(&["--model", "model"]).contains("found `model` twice"));
    let mut server = Served::start(&desk, &["--model", "model", "--api-key-file", "key.txt"]);
    assert_eq!(server.request("GET /v1/models HTTP/1.1", b"").0, 401);
    assert_eq!(server.request("GET /v1/models HTTP/1.1\r\nAuthorization: Bearer secret", b"").0, 200);
    let (code, messages) = server.end("-INT");
    assert_eq!(code, Some(0), "{messages}");
    assert!(!messages.contains("secret"), "{messages}");
}
