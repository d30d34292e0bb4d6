//! One question to the servers: who is asked when, and over what.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Own;
use super::configuration::Configuration;
use super::message::{Answer, Question};
use super::order;
use crate::system::{random, remedy};

/// Asks one server.
pub(super) trait Ask: Clone + Send + Sync + 'static {
    /// Returns an answer that says whether there are addresses. Repeats the question whenever `again` is notified.
    fn ask(
        &self,
        server: SocketAddr,
        question: Question,
        again: Arc<Notify>,
    ) -> impl Future<Output = Result<Answer, Reason>> + Send;

    /// Whether this machine has a route to an address.
    fn has_route(&self, ip: IpAddr) -> bool;
}

/// Why a server has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Nothing came in time.
    Silent,
    /// It answered that it cannot or will not, with the number of its reason.
    Refused(u8),
    /// Its answer breaks the protocol.
    Malformed,
    /// It cannot be called.
    Io(String),
    /// Nobody can be asked, for a reason of this machine.
    Own(Own),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Silent => return f.write_str("did not answer"),
            Self::Malformed => return f.write_str("answered with a malformed message"),
            Self::Io(error) => return write!(f, "cannot be asked: {error}"),
            Self::Own(own) => return own.fmt(f),
            Self::Refused(1) => "FORMERR",
            Self::Refused(2) => "SERVFAIL",
            Self::Refused(4) => "NOTIMP",
            Self::Refused(5) => "REFUSED",
            Self::Refused(code) => return write!(f, "answered with the error code {code}"),
        };
        write!(f, "answered {name}")
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        if let Some(remedy) = remedy::of(&error) {
            let reason = error.to_string();
            return Self::Own(Own::Limit { reason, remedy });
        }
        Self::Io(match error.kind() {
            io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
            _ => error.to_string(),
        })
    }
}

/// Asks the servers in turn, as often as they are configured to be asked, until one of them answers.
///
/// The first of them is that which answered last, by its index in `first`. Where the configured patience would not suffice to
/// ask everybody until `deadline`, the next is asked earlier; whoever was asked may still answer meanwhile. At most one socket
/// is open for each server.
///
/// Fails with the last reason of each server that was asked, in the order of the configuration.
pub(super) async fn exchange(
    configuration: &Configuration,
    ask: &impl Ask,
    question: &Question,
    first: &AtomicUsize,
    deadline: Instant,
) -> Result<(Answer, SocketAddr), Vec<(SocketAddr, Reason)>> {
    let servers = &configuration.servers;
    let start = first.load(Ordering::Relaxed);
    let turns = servers.len() * configuration.attempts;
    let mut turns = start..start + turns;
    let share = deadline.saturating_duration_since(Instant::now())
        / u32::try_from(turns.len()).unwrap_or(u32::MAX).max(1);
    let patience = configuration.timeout.min(share);
    let mut reasons: Vec<Option<Reason>> = vec![None; servers.len()];
    // By server, while it is being asked.
    let mut pending: Vec<Option<Arc<Notify>>> = vec![None; servers.len()];
    let mut asked = JoinSet::new();
    let mut next = Instant::now();
    let mut end = deadline;
    loop {
        let now = Instant::now();
        if now >= next
            && let Some(turn) = turns.next()
            && let index = turn % servers.len()
            && let (Some(&server), Some(again)) = (servers.get(index), pending.get_mut(index))
        {
            next = now + patience;
            if turns.is_empty() {
                end = deadline.min(now + configuration.timeout);
            }
            if let Some(again) = again {
                again.notify_one();
            } else {
                let again = Arc::clone(again.insert(Arc::default()));
                let (ask, question) = (ask.clone(), question.clone());
                asked.spawn(async move { (turn, ask.ask(server, question, again).await) });
            }
            if let Some(reason) = reasons.get_mut(index) {
                reason.get_or_insert(Reason::Silent);
            }
        }
        tokio::select! {
            biased;
            answered = asked.join_next(), if !asked.is_empty() => if let Some(Ok((turn, answered))) = answered {
                let index = turn % servers.len();
                match (answered, servers.get(index)) {
                    (Ok(answer), Some(&server)) => {
                        first.store(index, Ordering::Relaxed);
                        return Ok((answer, server));
                    }
                    (Err(reason), _) => {
                        if let (Some(last), Some(again)) = (reasons.get_mut(index), pending.get_mut(index)) {
                            *last = Some(reason);
                            *again = None;
                        }
                        // Whoever was asked after it has its own time.
                        if turn + 1 == turns.start {
                            next = Instant::now();
                        }
                    }
                    (Ok(_), None) => {}
                }
            },
            () = sleep_until(next), if !turns.is_empty() => {}
            () = sleep_until(end), if !asked.is_empty() => break,
            else => break,
        }
        if Instant::now() >= end {
            break;
        }
    }
    let asked = servers.iter().copied().zip(reasons);
    Err(asked
        .filter_map(|(server, reason)| Some((server, reason?)))
        .collect())
}

/// Asks over the network, from a new port each time, with a random id.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) use_vc: bool,
}

impl Ask for Network {
    async fn ask(
        &self,
        server: SocketAddr,
        question: Question,
        again: Arc<Notify>,
    ) -> Result<Answer, Reason> {
        let id = random::bytes().map_err(|error| Reason::Own(error.into()))?;
        let id = u16::from_be_bytes(id);
        let mut answer = Answer::Truncated;
        if !self.use_vc {
            answer = over_udp(server, &question, id, &again).await?;
        }
        if answer == Answer::Truncated {
            answer = over_tcp(server, &question, id).await?;
        }
        match answer {
            Answer::Addresses(_) | Answer::NoSuchName => Ok(answer),
            Answer::Refused(code) => Err(Reason::Refused(code)),
            Answer::Malformed | Answer::Truncated => Err(Reason::Malformed),
        }
    }

    fn has_route(&self, ip: IpAddr) -> bool {
        order::source(ip).is_some()
    }
}

/// Waits for the answer as long as it takes: what others send is not from the server, or not the answer.
async fn over_udp(
    server: SocketAddr,
    question: &Question,
    id: u16,
    again: &Notify,
) -> Result<Answer, Reason> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The kernel draws the port, and passes on only what comes from the server.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let query = question.query(id);
    socket.send(&query).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = tokio::select! {
            length = socket.recv(&mut buffer) => length?,
            () = again.notified() => {
                socket.send(&query).await?;
                continue;
            }
        };
        if length == MAX_DATAGRAM {
            return Ok(Answer::Truncated);
        }
        let message = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = question.answer(id, message) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Question, id: u16) -> Result<Answer, Reason> {
    let mut stream = TcpStream::connect(server).await?;
    let query = question.query(id);
    let length = u16::try_from(query.len()).unwrap_or_default();
    let query = [&length.to_be_bytes(), &query[..]].concat();
    stream.write_all(&query).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    question.answer(id, &message).ok_or(Reason::Malformed)
}

/// A server sends no more than 512 bytes without being told that it may. One that does anyway is asked over TCP.
const MAX_DATAGRAM: usize = 1500;
