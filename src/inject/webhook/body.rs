//! Reads the bodies of requests within a budget of memory.
//!
//! A body takes from the budget what it fills. So that not all of them wait for each other, one may take what it needs beyond
//! the budget: one of the host with the fewest. A client that pauses loses its share once another body waits.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use hyper::body::Body as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The memory of all bodies together.
#[derive(Default)]
pub(super) struct Budget {
    state: Mutex<State>,
    /// Something was returned, or is wanted.
    changed: Notify,
}

#[derive(Default)]
struct State {
    used: usize,
    /// How many large bodies there have been.
    count: u64,
    /// The hosts of the large bodies that are still arriving, by the numbers of these.
    arriving: BTreeMap<u64, IpAddr>,
    /// How many of them wait for memory.
    waiting: usize,
    /// The one that may exceed the budget, until it has arrived.
    favoured: Option<u64>,
}

/// The part of the budget that one body has taken, returned on drop.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    host: IpAddr,
    /// The number of a large body.
    number: Option<u64>,
    size: usize,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the body has more than {MAX_BODY} bytes, which no pod has")]
    TooLarge,
    #[error(
        "the body paused, or arrived with less than a megabyte a second; send it without a pause"
    )]
    TooSlow,
    #[error("the body ended early; send all of it")]
    Incomplete,
    #[error("other large reviews have used all the memory for bodies for {} seconds; send the review again, or run more replicas of the webhook", TIMEOUT.as_secs())]
    Busy,
}

impl Refusal {
    pub(super) fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "TooLarge"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "TooSlow"),
            Self::Incomplete => (StatusCode::BAD_REQUEST, "Incomplete"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Busy"),
        }
    }
}

impl Budget {
    /// Reads a body of the `declared` size, if there is one; from a host; calls `heard` for each piece.
    ///
    /// The rest of a body that is too large is read and dropped, because a client that is still sending would not read the
    /// response.
    pub(super) async fn read(
        &self,
        mut body: Body,
        declared: Option<usize>,
        host: IpAddr,
        heard: impl Fn(),
    ) -> Result<(Vec<u8>, Share<'_>), Refusal> {
        let deadline = Instant::now() + TIMEOUT;
        let expected = declared.unwrap_or(MAX_BODY);
        if expected > MAX_BODY {
            return Err(discard(body, deadline).await);
        }
        let mut share = Share {
            budget: self,
            host,
            number: None,
            size: 0,
        };
        let (mut text, mut pace) = (Vec::new(), Pace::new());
        while let Some(chunk) = share.next(&mut body, &pace, deadline).await? {
            heard();
            let size = text.len() + chunk.len();
            if size > MAX_BODY {
                drop((text, share));
                return Err(discard(body, deadline).await);
            }
            if size > text.capacity() {
                let capacity = (2 * text.capacity()).clamp(SMALL_BODY, MAX_BODY);
                let capacity = capacity.min(expected).max(size);
                let grown = timeout_at(deadline, share.grow_to(capacity)).await;
                grown.map_err(|_| Refusal::Busy)?;
                text.reserve_exact(capacity - text.len());
                pace = Pace::new();
            }
            text.extend_from_slice(&chunk);
            pace.received(chunk.len());
        }
        share.has_arrived();
        Ok((text, share))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and lets every body look at it again.
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }
}

impl State {
    /// Takes more bytes for a body, if they fit.
    fn take(&mut self, number: u64, more: usize) -> bool {
        let used = self.used + more;
        let fits = used <= BUDGET || self.favours(number) && used <= BUDGET + MAX_BODY;
        if fits {
            self.used = used;
        }
        fits
    }

    /// Whether a body may exceed the budget; chooses the next one if none may.
    fn favours(&mut self, number: u64) -> bool {
        if self.favoured.is_none() {
            let count = |host: &IpAddr| {
                let hosts = self.arriving.values();
                hosts.filter(|other| *other == host).count()
            };
            let arriving = self.arriving.iter();
            let next = arriving.min_by_key(|(number, host)| (count(host), **number));
            self.favoured = next.map(|(number, _)| *number);
        }
        self.favoured == Some(number)
    }
}

impl Share<'_> {
    /// Waits until a body of this capacity fits. Cancel safe.
    async fn grow_to(&mut self, capacity: usize) {
        let size = capacity.saturating_sub(SMALL_BODY);
        let mut waiting = None;
        while size > self.size {
            let changed = self.budget.changed.notified();
            let number = self.number();
            if self.budget.state().take(number, size - self.size) {
                self.size = size;
            } else {
                waiting.get_or_insert_with(|| Waiting::new(self.budget));
                changed.await;
            }
        }
    }

    fn number(&mut self) -> u64 {
        *self.number.get_or_insert_with(|| {
            let mut state = self.budget.state();
            state.count += 1;
            let number = state.count;
            state.arriving.insert(number, self.host);
            number
        })
    }

    /// Waits for the next piece.
    async fn next(
        &self,
        body: &mut Body,
        pace: &Pace,
        deadline: Instant,
    ) -> Result<Option<Bytes>, Refusal> {
        tokio::select! {
            // What has arrived counts, however late it is read.
            biased;
            piece = piece(body) => piece,
            () = sleep_until(deadline.min(pace.paid_until + MAX_PAUSE)) => Err(Refusal::TooSlow),
            () = self.is_wanted_after(pace.paid_until + MAX_PAUSE_IF_WANTED), if self.size > 0 => Err(Refusal::TooSlow),
        }
    }

    /// Completes when another body waits for memory, but not before `time`.
    async fn is_wanted_after(&self, time: Instant) {
        sleep_until(time).await;
        loop {
            let changed = self.budget.changed.notified();
            if self.budget.state().waiting > 0 {
                return;
            }
            changed.await;
        }
    }

    /// Notes that nothing more will be taken.
    fn has_arrived(&self) {
        self.budget.change(|state| self.leave(state));
    }

    fn leave(&self, state: &mut State) {
        if let Some(number) = self.number {
            state.arriving.remove(&number);
            state.favoured.take_if(|favoured| *favoured == number);
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.change(|state| {
            state.used -= self.size;
            self.leave(state);
        });
    }
}

/// Counts a body that waits for memory.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn new(budget: &'a Budget) -> Self {
        budget.change(|state| state.waiting += 1);
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Whether a client sends at the minimum throughput.
struct Pace {
    /// Until when it has sent enough.
    paid_until: Instant,
}

impl Pace {
    fn new() -> Self {
        let paid_until = Instant::now();
        Self { paid_until }
    }

    fn received(&mut self, bytes: usize) {
        let micros = u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_MICROSECOND;
        let paid_until = self.paid_until + Duration::from_micros(micros);
        self.paid_until = paid_until.min(Instant::now());
    }
}

/// Returns the next piece of a body.
async fn piece(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
            Some(Err(_)) => return Err(Refusal::Incomplete),
        }
    }
}

/// Drops the rest of a body that is too large.
async fn discard(mut body: Body, deadline: Instant) -> Refusal {
    let mut size = 0;
    while size < MAX_DISCARDED
        && let Ok(Ok(Some(piece))) = timeout_at(deadline, piece(&mut body)).await
    {
        size += piece.len();
    }
    Refusal::TooLarge
}

/// Bytes: more than the API server can send in a review, where the pod has at most 3 MiB.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Bytes that are read of a body that is too large.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// Bytes that every body may have beside the budget: more than a usual review has.
const SMALL_BODY: usize = 32 * 1024;

/// Bytes of all larger bodies together; the oldest may take [`MAX_BODY`] more.
const BUDGET: usize = 20 * 1024 * 1024;

/// Limits the time of a body, and its wait for memory. The API server waits ten seconds by default, of which reading a
/// service account may take five.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The minimum throughput: a megabyte a second is slow inside a cluster.
const BYTES_PER_MICROSECOND: u64 = 1;

/// Enough for two lost packets in a row.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The same while other bodies wait for memory: a lost packet is sent again after a few round trips.
const MAX_PAUSE_IF_WANTED: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use hyper::body::Frame;
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use super::*;

    /// What a client sends, until it is dropped.
    struct Pieces(mpsc::UnboundedReceiver<usize>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let frame = |size| Ok(Frame::data(Bytes::from(vec![b'x'; size])));
            self.0.poll_recv(cx).map(|size| size.map(frame))
        }
    }

    struct Client {
        pieces: Option<mpsc::UnboundedSender<usize>>,
        /// The size of its body, which keeps its memory until `release`.
        outcome: JoinHandle<Result<usize, Refusal>>,
        release: Arc<Notify>,
    }

    impl Client {
        fn start(budget: &Arc<Budget>, declared: impl Into<Option<usize>>, host: u8) -> Self {
            let (pieces, receiver) = mpsc::unbounded_channel();
            let (budget, declared) = (Arc::clone(budget), declared.into());
            let release = Arc::<Notify>::default();
            let released = Arc::clone(&release);
            let outcome = tokio::spawn(async move {
                let body = Body::new(Pieces(receiver));
                let (text, _share) = budget
                    .read(body, declared, [10, 0, 0, host].into(), || ())
                    .await?;
                released.notified().await;
                Ok(text.len())
            });
            Self {
                pieces: Some(pieces),
                outcome,
                release,
            }
        }

        /// Sends a large body.
        fn review(budget: &Arc<Budget>, host: u8) -> Self {
            let mut client = Self::start(budget, LARGE, host);
            client.send(LARGE);
            client.pieces = None;
            client
        }

        fn send(&self, mut size: usize) {
            while size > 0 {
                let piece = size.min(PIECE);
                self.send_piece(piece);
                size -= piece;
            }
        }

        /// Whether the body is still read.
        fn send_piece(&self, size: usize) -> bool {
            self.pieces.as_ref().unwrap().send(size).is_ok()
        }

        /// Waits until the body has been read or refused.
        async fn end(mut self) -> Result<usize, Refusal> {
            self.pieces = None;
            self.release.notify_one();
            self.outcome.await.unwrap()
        }
    }

    const PIECE: usize = 16 * 1024;
    const LARGE: usize = 3_000_000;

    async fn milliseconds(count: u64) {
        sleep(Duration::from_millis(count)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_stop_do_not_delay_a_review() {
        for stop_at in [SMALL_BODY + 1024, LARGE / 2, LARGE - 1] {
            // The second host is that of the clients that stop.
            for host in [1, 2] {
                let budget = Arc::<Budget>::default();
                let stop = |_| {
                    let client = Client::start(&budget, LARGE, 2);
                    client.send(stop_at);
                    client
                };
                let stopped: Vec<Client> = (0..20).map(stop).collect();
                milliseconds(10).await;
                let began = Instant::now();
                let review = Client::review(&budget, host);
                assert_eq!(review.end().await, Ok(LARGE));
                let limit = Duration::from_millis(if host == 1 { 300 } else { 1000 });
                assert!(began.elapsed() < limit, "{stop_at}: {:?}", began.elapsed());
                milliseconds(1500).await;
                for client in stopped {
                    assert_eq!(client.outcome.await.unwrap(), Err(Refusal::TooSlow));
                }
                assert_eq!(budget.state().used, 0);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_large_bodies_at_once_all_arrive_within_the_budget() {
        let budget = Arc::<Budget>::default();
        let clients: Vec<Client> = (0..100)
            .map(|index| Client::review(&budget, index % 3))
            .collect();
        for client in &clients {
            client.release.notify_one();
        }
        for client in clients {
            let used = budget.state().used;
            assert!(used <= BUDGET + MAX_BODY, "{used}");
            assert_eq!(client.end().await, Ok(LARGE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_no_longer_than_leaves_time_for_a_response() {
        let budget = Arc::<Budget>::default();
        // These have arrived, and wait for the API server.
        let crowd: Vec<Client> = (0..8).map(|_| Client::review(&budget, 1)).collect();
        milliseconds(1).await;
        let began = Instant::now();
        let late = Client::review(&budget, 2);
        assert_eq!(late.end().await, Err(Refusal::Busy));
        assert_eq!(began.elapsed(), TIMEOUT);
        // A usual review needs none of the budget.
        let usual = Client::start(&budget, SMALL_BODY, 1);
        usual.send(SMALL_BODY);
        assert_eq!(usual.end().await, Ok(SMALL_BODY));
        for client in crowd {
            assert_eq!(client.end().await, Ok(LARGE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_are_refused_and_those_at_the_minimum_throughput_are_not() {
        for (piece, every, expected) in [
            (PIECE, 16, Ok(LARGE)),
            (PIECE, 30, Err(Refusal::TooSlow)),
            (1, 100, Err(Refusal::TooSlow)),
            // Lost packets are sent again after a pause.
            (LARGE / 3, 800, Ok(LARGE)),
            (LARGE / 3, 1300, Err(Refusal::TooSlow)),
        ] {
            let budget = Arc::<Budget>::default();
            let client = Client::start(&budget, LARGE, 1);
            let mut left = LARGE;
            while left > 0 && client.send_piece(piece.min(left)) {
                left -= piece.min(left);
                milliseconds(every).await;
            }
            assert_eq!(client.end().await, expected, "{piece} every {every} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_too_large_is_refused_as_that_however_it_arrives() {
        for declared in [None, Some(MAX_BODY + 1), Some(usize::MAX)] {
            let budget = Arc::<Budget>::default();
            let client = Client::start(&budget, declared, 1);
            client.send(MAX_BODY + 1);
            milliseconds(1).await;
            assert_eq!(budget.state().used, 0);
            assert_eq!(client.outcome.await.unwrap(), Err(Refusal::TooLarge));
        }
        let client = Client::start(&Arc::default(), None, 1);
        client.send(MAX_BODY);
        assert_eq!(client.end().await, Ok(MAX_BODY));
    }
}
