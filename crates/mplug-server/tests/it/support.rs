//! What the tests share: servers of tiny models, pictures, and a client that says what it gets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mplug::checkpoint::{ModelFolder, WriteOptions};
use mplug::config::{ConfigOverrides, Task};
use mplug_server::{Ended, Event, ModelSource, ServeError, ServeOptions, Server, ServerHandle};
use mplug_testing::model::write_tiny_model;
use serde_json::Value;
use tempfile::TempDir;

/// A running server. Its end is requested when it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<Result<Ended, ServeError>>>,
    _folder: TempDir,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// The folder of a tiny model of `task`.
pub(crate) fn tiny_model(folder: &Path, task: Task) -> ModelFolder {
    write_tiny_model(folder, task, &WriteOptions::default(), |_| {});
    ModelFolder::open(folder, &ConfigOverrides::default()).unwrap()
}

impl Running {
    /// A server with a tiny model of every task.
    pub(crate) fn start(options: ServeOptions) -> Self {
        Self::start_changed(options, |_| {})
    }

    /// A server with a tiny model of every task, whose folders (`caption`, `ask`, `match` in one) may be changed first.
    pub(crate) fn start_changed(options: ServeOptions, change: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tasks = [
            (Task::ImageCaptioning, "caption"),
            (Task::VisualQuestionAnswering, "ask"),
            (Task::ImageTextRetrieval, "match"),
        ];
        for (task, name) in tasks {
            tiny_model(&folder.path().join(name), task);
        }
        change(folder.path());
        let source = |(_, name): (Task, &str)| ModelSource {
            name: format!("tiny-{name}"),
            folder: ModelFolder::open(folder.path().join(name), &ConfigOverrides::default()).unwrap(),
            precision: None,
            is_demo: false,
        };
        let models = tasks.into_iter().map(source).collect();
        let server = Server::bind(([127, 0, 0, 1], 0).into(), options).unwrap();
        let (address, handle) = (server.address(), server.handle());
        let (sender, ready): (_, Receiver<()>) = channel();
        let thread = std::thread::spawn(move || {
            server.run(models, move |event| {
                if matches!(event, Event::Ready { .. }) {
                    let _ = sender.send(());
                }
            })
        });
        ready.recv_timeout(Duration::from_mins(1)).expect("the models are loaded");
        Self { address, handle, thread: Some(thread), _folder: folder }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let own = ("Host", self.address.to_string());
        let is_named = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(own.0));
        let host = (!is_named).then_some((own.0, own.1.as_str()));
        let length = body.len().to_string();
        let all = headers.iter().copied().chain(host).chain([("Content-Length", length.as_str())]);
        let lines: String = all.flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
        let head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        let mut stream = self.connect();
        // A server that refuses early may not read all of it.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        read_reply(stream)
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Reply {
        self.request("POST", target, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn post_picture(&self, target: &str, picture: &[u8]) -> Reply {
        self.request("POST", target, &[("Content-Type", "image/png")], picture)
    }

    /// The value of a metric that counts, 0 where it was never touched.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").text();
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn drain(&self) {
        self.handle.drain();
    }

    /// Ends the server; how it ended.
    pub(crate) fn end(mut self) -> Ended {
        self.handle.drain();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.drain();
    }
}

/// Reads a reply to the end of its connection.
pub(crate) fn read_reply(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // Whoever was refused early may find the connection reset after the reply.
    let _ = stream.read_to_end(&mut bytes);
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a reply has a head");
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Reply { status, headers, body: bytes[split + 4..].to_vec() }
}

/// A picture of drawn noise, different for every number.
pub(crate) fn picture(number: u32) -> Vec<u8> {
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(1);
    let image = image::RgbImage::from_fn(40, 30, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Waits until `is_so`, for ten seconds at most.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
