//! Waits for the request head of a connection without allocating a buffer.
//!
//! A connection that sends nothing, or never completes its request, costs only its socket: there may be thousands of
//! them, and an allocator returns little of the memory that their buffers would take.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Waits until the first message of a client has arrived in full, and returns whether it arrived before `deadline`. The
/// data stays in the socket.
///
/// `is_partial` returns whether the data so far needs more to be complete.
pub async fn has_arrived(
    stream: &TcpStream,
    deadline: Instant,
    is_partial: fn(&[u8]) -> bool,
) -> bool {
    let has_arrived = matches!(
        timeout_at(deadline, complete(stream, is_partial)).await,
        Ok(Ok(()))
    );
    if !has_arrived {
        // Unread data would turn the close into a reset. Tokio's functions cannot read it: to tokio, the socket is not readable.
        let _ = recv(stream, &mut [0; MAX_HEAD_SIZE][..], RecvFlags::empty());
    }
    has_arrived
}

/// Whether this may be an incomplete request head. Data that is invalid or too long is left to hyper, which refuses it.
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

/// The limit on the size of a request head, in bytes: ten times what any SDK sends. hyper's minimum is 8 KiB.
pub(crate) const MAX_HEAD_SIZE: usize = 16 * 1024;

/// hyper's limit on the number of headers.
const MAX_HEADERS: usize = 100;
