//! A web server for the tests, on this machine, that answers as a test says, however badly, and records the requests.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is sent, from the status line on.
#[derive(Clone, Debug)]
pub enum Send {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, one by one, with pauses between them.
    Slowly(Vec<u8>, Duration),
    /// These bytes again and again, until the client has enough.
    Forever(Vec<u8>),
}

/// An answer of a status, more header lines (each with its end) and a body.
pub fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<Send> {
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    vec![Send::Bytes([head.as_bytes(), body].concat())]
}

/// The picture.
pub fn ok(body: &[u8]) -> Vec<Send> {
    answer(200, "Content-Type: image/png\r\n", body)
}

/// A redirect to `location`.
pub fn redirect(location: &str) -> Vec<Send> {
    answer(302, &format!("Location: {location}\r\n"), b"")
}

type Handler = dyn Fn(&str, usize) -> Vec<Send> + std::marker::Send + Sync;

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The heads of all requests.
    requests: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Serves what `handler` answers to a target and to how many requests there were before.
    pub fn start(handler: impl Fn(&str, usize) -> Vec<Send> + std::marker::Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", handler).unwrap()
    }

    /// Serves as [`start`](Self::start) does, at an address of this machine, where that can be had.
    pub fn start_at(
        address: &str,
        handler: impl Fn(&str, usize) -> Vec<Send> + std::marker::Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let server = Self {
            address: listener.local_addr()?,
            connections: Arc::default(),
            requests: Arc::default(),
            is_over: Arc::default(),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        let (connections, requests) = (Arc::clone(&server.connections), Arc::clone(&server.requests));
        let is_over = Arc::clone(&server.is_over);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
                // A client that goes away is no failure of the server.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &*handler, &requests)));
            }
        });
        Ok(server)
    }

    /// A picture of this server by the host `name`.
    pub fn url(&self, name: &str, path: &str) -> String {
        format!("http://{name}:{}{path}", self.address.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections that were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the loop, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let before = {
        let mut requests = requests.lock().unwrap();
        requests.push(head);
        requests.len() - 1
    };
    for send in handler(&target, before) {
        match send {
            Send::Bytes(bytes) => stream.write_all(&bytes)?,
            Send::Slowly(bytes, pause) => {
                for byte in bytes {
                    stream.write_all(&[byte])?;
                    std::thread::sleep(pause);
                }
            }
            Send::Forever(bytes) => loop {
                stream.write_all(&bytes)?;
            },
        }
    }
    stream.flush()
}
