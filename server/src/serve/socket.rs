//! Bytes from clients and to them, encrypted or not.

use bytes::BytesMut;
use socket2::SockRef;
use std::cell::RefCell;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection to a client.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Another handle of its TCP socket, where the system gives one.
    fn another(&self) -> Option<socket2::Socket>;
}

impl Socket for TcpStream {
    fn another(&self) -> Option<socket2::Socket> {
        SockRef::from(self).try_clone().ok()
    }
}

impl Socket for TlsStream<TcpStream> {
    fn another(&self) -> Option<socket2::Socket> {
        self.get_ref().0.another()
    }
}

/// What is kept of a buffer that was larger.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// How long, and how much, is read of a client that gets an error and is left: it could lose the error otherwise.
const DRAIN: Duration = Duration::from_millis(200);
const DRAIN_BYTES: usize = 1 << 20;

/// The most that is read at once.
const READ_BYTES: usize = 1 << 20;

/// Adds what arrives to a buffer: how many bytes, or 0 at the end. A client that says nothing has no memory waiting for it, one
/// that sends much is read into the buffer at once.
pub(super) async fn read<S: AsyncRead + Unpin>(
    socket: &mut S,
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    thread_local! {
        static ARRIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
    }
    if buffer.len() >= BUFFER_BYTES {
        buffer.reserve(buffer.len().min(READ_BYTES));
        return socket.read_buf(buffer).await;
    }
    std::future::poll_fn(|context| {
        ARRIVED.with_borrow_mut(|arrived| {
            let mut arrived = ReadBuf::new(arrived);
            Pin::new(&mut *socket).poll_read(context, &mut arrived).map_ok(|()| {
                buffer.extend_from_slice(arrived.filled());
                arrived.filled().len()
            })
        })
    })
    .await
}

/// Sends bytes to a client that takes some of them now and then: what it does not take is kept for it.
pub(super) async fn send<S: AsyncWrite + Unpin>(
    socket: &mut S,
    mut bytes: &[u8],
    patience: Duration,
) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let sent = tokio::time::timeout(patience, socket.write(bytes)).await??;
        if sent == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[sent..];
    }
    tokio::time::timeout(patience, socket.flush()).await?
}

/// Ends a connection so that its last reply arrives.
pub(super) async fn leave<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) -> std::io::Result<()> {
    // TLS says so in bytes of its own, and there may be nobody who takes them.
    tokio::time::timeout(DRAIN, socket.shutdown()).await??;
    let mut rest = socket.take(DRAIN_BYTES as u64);
    let drained = async {
        while rest.read(&mut [0; 4096]).await? > 0 {}
        std::io::Result::Ok(())
    };
    tokio::time::timeout(DRAIN, drained).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_slowly_gets_everything_and_who_reads_nothing_is_left() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (sent, patience) = (vec![7; 1_000], Duration::from_millis(200));
        runtime.block_on(async {
            let (mut socket, mut slow) = tokio::io::duplex(100);
            let reads = async {
                let mut read = Vec::new();
                while read.len() < 1_000 {
                    tokio::time::sleep(patience / 4).await;
                    slow.read_buf(&mut read).await.unwrap();
                }
                read
            };
            let (done, read) = tokio::join!(send(&mut socket, &sent, patience), reads);
            assert!(done.is_ok() && read == sent);
            let (mut socket, _deaf) = tokio::io::duplex(100);
            let done = send(&mut socket, &sent, patience).await;
            assert_eq!(done.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        });
    }
}
