//! Waits for the first data of a connection without a buffer.
//!
//! A connection that sends nothing, or never completes its request, costs its socket and nothing else: there may be
//! thousands of them, and an allocator returns little of the memory that their buffers would take.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Waits until the first message of a client has arrived in full, and returns whether it did so before `by`. The data
/// stays in the socket.
///
/// `is_partial` returns whether the data so far needs more to be complete.
pub async fn has_arrived(stream: &TcpStream, by: Instant, is_partial: fn(&[u8]) -> bool) -> bool {
    let has_arrived = matches!(
        timeout_at(by, complete(stream, is_partial)).await,
        Ok(Ok(()))
    );
    if !has_arrived {
        // Unread data would turn the close into a reset. Not with tokio's functions: to tokio, the socket is not readable.
        let _ = recv(stream, &mut [0; MAX_HEAD_SIZE][..], RecvFlags::empty());
    }
    has_arrived
}

/// Whether this may be the beginning of a request head. Data that cannot be, or is too long, is refused by hyper.
pub fn is_partial(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let parsed = httparse::Request::new(&mut headers).parse(head);
    head.len() < MAX_HEAD_SIZE && parsed.is_ok_and(|status| status.is_partial())
}

async fn complete(stream: &TcpStream, is_partial: fn(&[u8]) -> bool) -> io::Result<()> {
    loop {
        // Tokio assumes that an accepted socket is readable until a read returns `WouldBlock`.
        let ready = stream.ready(Interest::READABLE).await?;
        match stream.try_io(Interest::READABLE, || peek(stream, is_partial)) {
            // Incomplete: wait for more, unless the client has closed its half, which stays readable.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            outcome => return outcome,
        }
    }
}

/// Peeks at the data; fails with `WouldBlock` while it is incomplete.
fn peek(stream: &TcpStream, is_partial: fn(&[u8]) -> bool) -> io::Result<()> {
    let mut head = [0; MAX_HEAD_SIZE];
    let (length, _) = recv(stream, &mut head[..], RecvFlags::PEEK)?;
    match head.get(..length) {
        None | Some([]) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(head) if is_partial(head) => Err(io::ErrorKind::WouldBlock.into()),
        Some(_) => Ok(()),
    }
}

/// Bytes of a request head: ten times as many as any SDK sends. hyper's own minimum is 8 KiB.
pub(crate) const MAX_HEAD_SIZE: usize = 16 * 1024;

/// hyper's limit on the number of headers.
const MAX_HEADERS: usize = 100;
