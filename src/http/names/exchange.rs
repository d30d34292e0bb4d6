//! One question to the servers: who is asked when, and over what.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Own;
use super::configuration::Configuration;
use super::message::{Answer, Question};
use crate::system::{random, remedy};

/// Asks one server once.
pub(super) trait Ask: Clone + Send + Sync + 'static {
    /// Returns an answer that says whether there are addresses.
    fn ask(
        &self,
        server: SocketAddr,
        question: Question,
    ) -> impl Future<Output = Result<Answer, Reason>> + Send;
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
/// ask everybody until `deadline`, the next is asked earlier; whoever was asked may still answer meanwhile.
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
    let mut asked = JoinSet::new();
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next
            && let Some(turn) = turns.next()
            && let Some(&server) = servers.get(turn % servers.len())
        {
            next = Instant::now() + patience;
            let (ask, question, limit) = (ask.clone(), question.clone(), configuration.timeout);
            asked.spawn(async move {
                let answered = timeout(limit, ask.ask(server, question)).await;
                (turn, answered.unwrap_or(Err(Reason::Silent)))
            });
            if let Some(reason) = reasons.get_mut(turn % servers.len()) {
                reason.get_or_insert(Reason::Silent);
            }
        }
        tokio::select! {
            biased;
            answered = asked.join_next(), if !asked.is_empty() => match answered {
                Some(Ok((turn, Ok(answer)))) => {
                    let index = turn % servers.len();
                    first.store(index, Ordering::Relaxed);
                    if let Some(&server) = servers.get(index) {
                        return Ok((answer, server));
                    }
                }
                Some(Ok((turn, Err(reason)))) => {
                    if let Some(last) = reasons.get_mut(turn % servers.len()) {
                        *last = Some(reason);
                    }
                    // Whoever was asked after it has its own time.
                    if turn + 1 == turns.start {
                        next = Instant::now();
                    }
                }
                Some(Err(_)) | None => {}
            },
            () = sleep_until(next), if !turns.is_empty() => {}
            () = sleep_until(deadline), if !asked.is_empty() => break,
            else => break,
        }
        if Instant::now() >= deadline {
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
    async fn ask(&self, server: SocketAddr, question: Question) -> Result<Answer, Reason> {
        let id = random::bytes().map_err(|error| Reason::Own(error.into()))?;
        let id = u16::from_be_bytes(id);
        let mut answer = Answer::Truncated;
        if !self.use_vc {
            answer = over_udp(server, &question, id).await?;
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
}

/// Waits for the answer as long as it takes: what others send is not from the server, or not the answer.
async fn over_udp(server: SocketAddr, question: &Question, id: u16) -> Result<Answer, Reason> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The kernel draws the port, and passes on only what comes from the server.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question.query(id)).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
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

/// A server sends no more than 512 bytes without being told that it may, and no network carries more than this in one piece.
const MAX_DATAGRAM: usize = 1500;
