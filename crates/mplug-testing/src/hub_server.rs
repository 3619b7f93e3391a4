//! A hub for the tests: a server on this machine that speaks ModelScope's protocol, as well or as badly as a test wants, and
//! records the requests.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Entries of a listing are cut off here, without a word.
const LISTING_CAP: usize = 3000;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Without the query.
    pub path: String,
    /// The query, decoded.
    pub query: HashMap<String, String>,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
}

impl Request {
    /// The file that is requested, if one is.
    pub fn file(&self) -> Option<&str> {
        self.path.ends_with("/repo").then(|| self.query["FilePath"].as_str())
    }

    /// Where the range that is requested starts.
    pub fn range_start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Bytes of the body after which the connection ends; the length of all is announced.
    pub cut_after: Option<usize>,
    /// One byte, then a pause, and so on.
    pub drip: Option<Duration>,
}

impl Reply {
    /// A reply without more header lines.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut_after: None, drip: None }
    }

    /// Adds a header line.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn json(status: u16, value: &Value) -> Self {
        Self::new(status, value.to_string())
    }
}

/// A model with its files.
#[derive(Clone, Debug)]
pub struct Repository {
    /// `owner/name`.
    pub id: String,
    /// The revisions that there are.
    pub revisions: Vec<&'static str>,
    /// The files by their paths.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// A model of two revisions.
    pub fn new(id: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self { id: id.to_owned(), revisions: vec!["master", "v1.0.1"], files: files.into_iter().collect() }
    }

    /// What a hub with this model alone answers.
    pub fn answer(&self, request: &Request) -> Reply {
        let Some(rest) = request.path.strip_prefix(&format!("/api/v1/models/{}/", self.id)) else {
            return Reply::json(
                404,
                &json!({ "Code": 10_010_205_001_i64, "Success": false, "Message": "not found" }),
            );
        };
        if rest == "revisions" {
            let named: Vec<Value> = self.revisions.iter().map(|name| json!({ "Revision": name })).collect();
            let map = json!({ "RevisionMap": { "Branches": named[..1], "Tags": named[1..] } });
            return Reply::json(200, &envelope(&map));
        }
        if !self.revisions.contains(&request.query["Revision"].as_str()) {
            return Reply::json(
                404,
                &json!({ "Code": 404, "Success": false, "Message": "no such revision" }),
            );
        }
        match rest {
            "repo/files" => match request.query.get("Root") {
                Some(root) => self.listing_below(root),
                None => self.listing(request.query["Recursive"] == "True"),
            },
            "repo" => match self.files.get(&request.query["FilePath"]) {
                Some(bytes) => send(bytes, request),
                None => Reply::new(404, ""),
            },
            _ => Reply::new(404, ""),
        }
    }

    /// The files as the hub lists them.
    pub fn entries(&self, is_recursive: bool) -> Vec<Value> {
        let mut entries = Vec::new();
        for (path, bytes) in &self.files {
            let Some((folder, _)) = path.split_once('/') else {
                entries.push(entry(path, bytes));
                continue;
            };
            let tree = json!({ "Path": folder, "Name": folder, "Type": "tree", "Size": 0, "Sha256": "" });
            if !entries.contains(&tree) {
                entries.push(tree);
            }
            if is_recursive {
                entries.push(entry(path, bytes));
            }
        }
        entries.truncate(LISTING_CAP);
        entries
    }

    fn listing_below(&self, root: &str) -> Reply {
        let is_below = |path: &str| path.rsplit_once('/').is_some_and(|(folder, _)| folder == root);
        let files = self.files.iter().filter(|(path, _)| is_below(path));
        let entries: Vec<Value> = files.map(|(path, bytes)| entry(path, bytes)).collect();
        Reply::json(200, &envelope(&json!({ "Files": entries })))
    }

    fn listing(&self, is_recursive: bool) -> Reply {
        Reply::json(200, &envelope(&json!({ "Files": self.entries(is_recursive) })))
    }
}

fn envelope(data: &Value) -> Value {
    json!({ "Code": 200, "Success": true, "Message": "success", "RequestId": "r", "Data": data })
}

fn entry(path: &str, bytes: &[u8]) -> Value {
    let name = path.rsplit('/').next();
    json!({
        "Path": path, "Name": name, "Type": "blob", "Size": bytes.len(), "Sha256": sha256(bytes), "Revision": "c0ffee",
    })
}

/// Lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes);
    digits
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from_digit(half.into(), 16).unwrap())
        .collect()
}

/// A file, or the rest of it, as a server with ranges sends it.
pub fn send(bytes: &[u8], request: &Request) -> Reply {
    match request.range_start() {
        None => Reply::new(200, bytes),
        Some(start) if start >= bytes.len() => Reply::new(416, ""),
        Some(start) => Reply::new(206, &bytes[start..])
            .with_header("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())),
    }
}

type Handler = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Serves what `handler` answers to a request and to how many there were before it for the same file.
    pub fn start(handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, over) = (Arc::clone(&requests), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                // A client that goes away is no failure of the server.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &*handler, &seen)));
            }
        });
        Self { address, requests, is_over }
    }

    /// Serves a model as it should be served.
    pub fn of(repository: Repository) -> Self {
        Self::start(move |request, _| repository.answer(request))
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The requests for one file.
    pub fn requests_for(&self, file: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.file() == Some(file)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the loop, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, handler: &Handler, seen: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(request) = read_request(&mut reader)? else { return Ok(()) };
    let before = {
        let mut seen = seen.lock().unwrap();
        let same = |other: &&Request| other.path == request.path && other.file() == request.file();
        let before = seen.iter().filter(same).count();
        seen.push(request.clone());
        before
    };
    write_reply(stream, &handler(&request, before))
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(target) = line.split(' ').nth(1) else { return Ok(None) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
    let path = path.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    Ok(Some(Request { path, query, headers }))
}

/// `%2F` as `/`.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, after @ ..]) = (first, tail) {
            let digits = String::from_utf8(vec![*high, *low]).unwrap();
            bytes.push(u8::from_str_radix(&digits, 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn write_reply(mut stream: TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let body = &reply.body[..reply.cut_after.unwrap_or(reply.body.len())];
    match reply.drip {
        None => stream.write_all(body)?,
        Some(pause) => {
            for byte in body {
                stream.write_all(&[*byte])?;
                std::thread::sleep(pause);
            }
        }
    }
    stream.flush()
}
