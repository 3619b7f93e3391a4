//! A connection that ends where its other side reads nothing for a time: it would otherwise keep its place for ever.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream with a time limit for each write.
pub(crate) struct PatientStream<S> {
    stream: S,
    patience: Duration,
    /// Runs while a write waits for the other side.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S> PatientStream<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, limit: None }
    }

    /// What came of a write; an error where it has waited for too long.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.limit = None;
            return wrote;
        }
        let patience = self.patience;
        let limit = self.limit.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(limit.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // What was written to a socket needs no flush, and its shutdown waits for nobody.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read as _;
    use std::net::TcpListener;

    use tokio::net::TcpStream;

    use super::*;

    /// Writes `count` bytes to somebody who does what `read` does.
    fn write(count: usize, patience: Duration, read: fn(std::net::TcpStream)) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reader = std::thread::spawn(move || read(listener.accept().unwrap().0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wrote = runtime.block_on(async {
            let mut stream = PatientStream::new(TcpStream::connect(address).await.unwrap(), patience);
            let (bytes, mut left) = (vec![0; 1 << 16], count);
            while left > 0 {
                let some = &bytes[..left.min(bytes.len())];
                left -= poll_fn(|context| Pin::new(&mut stream).poll_write(context, some)).await?;
            }
            Ok(())
        });
        reader.join().unwrap();
        wrote
    }

    #[test]
    fn who_reads_nothing_is_left() {
        let wrote = write(1 << 30, Duration::from_millis(100), |_stream| {
            std::thread::sleep(Duration::from_secs(2));
        });
        assert_eq!(wrote.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn who_reads_slowly_is_served() {
        let wrote = write(32 << 20, Duration::from_secs(1), |mut stream| {
            let mut bytes = vec![0; 1 << 20];
            while stream.read(&mut bytes).unwrap() > 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        assert!(wrote.is_ok(), "{wrote:?}");
    }
}
