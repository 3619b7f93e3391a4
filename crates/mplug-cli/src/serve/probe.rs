//! `mplug serve --probe`: whether the server at an address is ready, for health checks in images that have no other client.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::report;
use crate::status::Status;

/// A server that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the server that listens at `listen`.
pub(crate) fn run(listen: SocketAddr) -> Status {
    match ask(reachable(listen)) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => Status::Good,
        Ok(line) => {
            report::message(format!("{listen}: expected 200 from /readyz, found {}", line.trim_end()));
            Status::SomeFailed
        }
        Err(error) => {
            report::message(format!("{listen}: no server answers: {error}"));
            Status::SomeFailed
        }
    }
}

/// The status line of the answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

/// Who listens at all addresses of a machine is reached at its own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let own: IpAddr = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(own, listen.port())
}
