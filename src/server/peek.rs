//! Waits for what a client says first, without a buffer.
//!
//! A connection that is silent, or never ends its question, costs its socket and nothing else: there may be thousands of
//! them, and an allocator gives back little of what they had.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Waits until what a client says first is there as a whole, and leaves it there; tells whether it came in time.
///
/// `is_partial` says of its beginning whether more is needed.
pub async fn has_arrived(stream: &TcpStream, by: Instant, is_partial: fn(&[u8]) -> bool) -> bool {
    let has_arrived = matches!(
        timeout_at(by, arrival(stream, is_partial)).await,
        Ok(Ok(()))
    );
    if !has_arrived {
        // What is left unread would make the close a reset. Not by tokio, which knows that there is nothing new.
        let _ = recv(stream, &mut [0; MAX_HEAD_SIZE][..], RecvFlags::empty());
    }
    has_arrived
}

/// Whether more may make a request of this. What is none, or too long, is for hyper to refuse.
pub fn is_partial(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let parsed = httparse::Request::new(&mut headers).parse(head);
    head.len() < MAX_HEAD_SIZE && parsed.is_ok_and(|status| status.is_partial())
}

async fn arrival(stream: &TcpStream, is_partial: fn(&[u8]) -> bool) -> io::Result<()> {
    loop {
        // Tokio takes an accepted socket for readable until a reading has told otherwise.
        let ready = stream.ready(Interest::READABLE).await?;
        match stream.try_io(Interest::READABLE, || peek(stream, is_partial)) {
            // It told otherwise, which has no effect on an end: that stays.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            outcome => return outcome,
        }
    }
}

/// Looks whether the whole is there, and would block if not.
fn peek(stream: &TcpStream, is_partial: fn(&[u8]) -> bool) -> io::Result<()> {
    let mut head = [0; MAX_HEAD_SIZE];
    let (length, _) = recv(stream, &mut head[..], RecvFlags::PEEK)?;
    match head.get(..length) {
        None | Some([]) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(head) if is_partial(head) => Err(io::ErrorKind::WouldBlock.into()),
        Some(_) => Ok(()),
    }
}

/// Ten times what the most talkative SDK sends; hyper's own minimum is 8 KiB.
pub(crate) const MAX_HEAD_SIZE: usize = 16 * 1024;

/// Beyond so many headers hyper refuses a request.
const MAX_HEADERS: usize = 100;
