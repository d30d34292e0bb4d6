//! Waits for the request head of a connection without allocating a buffer.
//!
//! A connection that sends nothing, or never completes its request, costs only its socket: there may be thousands of
//! them, and an allocator returns little of the memory that their buffers would take.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Waits until the first message of a client has arrived in full, and returns what `read` makes of it. Fails if it has not
/// arrived before `deadline`, or never will. The data stays in the socket: after a failure, [`discard`] it.
///
/// `read` pends while the data needs more to be complete. It is borrowed, and this is not an `async fn`, because the futures of
/// idle connections would store it and the other arguments several times.
pub fn arrived<T>(
    stream: &TcpStream,
    deadline: Instant,
    read: &impl Fn(&[u8]) -> Poll<T>,
) -> impl Future<Output = Result<io::Result<T>, Elapsed>> {
    timeout_at(
        deadline,
        poll_fn(move |context| poll_complete(stream, read, context)),
    )
}

/// Takes what has arrived from the socket: unread, it would turn the close into a reset.
pub fn discard(stream: &TcpStream) -> io::Result<()> {
    // Tokio's functions cannot do it: to tokio, the socket may not be readable.
    let mut buffer = [const { MaybeUninit::uninit() }; MAX_HEAD_SIZE];
    recv(stream, &mut buffer, RecvFlags::empty())?;
    Ok(())
}

/// Parses a request head with the parser of hyper, and returns what `read` makes of it. Pends if it may be incomplete.
///
/// `read` is not called for data that is invalid or too long, or has something behind the head: that is left to hyper.
pub(super) fn parse<T>(
    data: &[u8],
    read: impl FnOnce(&httparse::Request<'_, '_>) -> Option<T>,
) -> Poll<Option<T>> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(data, &mut headers) {
        Ok(httparse::Status::Partial) if data.len() < MAX_HEAD_SIZE => Poll::Pending,
        // More may have arrived than a full buffer shows.
        Ok(httparse::Status::Complete(length))
            if length == data.len() && length < MAX_HEAD_SIZE =>
        {
            Poll::Ready(read(&request))
        }
        _ => Poll::Ready(None),
    }
}

/// Returns what `read` makes of complete data. Polled by hand, because the future of [`TcpStream::ready`] is large.
fn poll_complete<T>(
    stream: &TcpStream,
    read: &impl Fn(&[u8]) -> Poll<T>,
    context: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    loop {
        // Tokio assumes that an accepted socket is readable until a read returns `WouldBlock`.
        ready!(stream.poll_read_ready(context))?;
        let readiness = ready!(pin!(stream.ready(Interest::READABLE)).poll(context))?;
        match stream.try_io(Interest::READABLE, || peek(stream, read)) {
            // Incomplete: wait for more, unless the client has closed its half, which stays readable.
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && !readiness.is_read_closed() => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

/// Peeks at the data; fails with `WouldBlock` while it is incomplete.
fn peek<T>(stream: &TcpStream, read: impl Fn(&[u8]) -> Poll<T>) -> io::Result<T> {
    // Not initialized, because that would cost more than a request head is long.
    let mut buffer = [const { MaybeUninit::uninit() }; MAX_HEAD_SIZE];
    let ((data, _), _) = recv(stream, &mut buffer, RecvFlags::PEEK)?;
    if data.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match read(data) {
        Poll::Ready(message) => Ok(message),
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// The limit on the size of a request head, in bytes: ten times what any SDK sends. hyper's minimum is 8 KiB.
pub(crate) const MAX_HEAD_SIZE: usize = 16 * 1024;

/// hyper's limit on the number of headers.
const MAX_HEADERS: usize = 100;
