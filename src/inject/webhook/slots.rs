//! Limits the connections in each stage, so that those that cost little cannot displace the others.
//!
//! Beyond a limit, the host that has the most connections of that stage loses those that have been silent the longest. A
//! client that sends what it has at once passes through the stages before that.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tracing::warn;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first record of the handshake, with no memory but that of the socket.
    Silent,
    /// The rest of the handshake.
    Handshake,
    /// The request, then its response.
    Request,
}

/// One value for each stage.
#[derive(Default)]
struct PerStage {
    silent: usize,
    handshake: usize,
    request: usize,
}

/// The connections of the listener.
pub(super) struct Slots {
    limits: PerStage,
    table: Mutex<Table>,
    /// Every client could repeat the reason.
    has_warned: AtomicBool,
}

#[derive(Default)]
struct Table {
    counts: PerStage,
    connections: BTreeMap<u64, Connection>,
    /// Numbers events, so that their order is known.
    clock: u64,
}

struct Connection {
    stage: Stage,
    host: IpAddr,
    /// When its client was last heard.
    heard: u64,
    /// Whether its request has arrived. It is not closed any more.
    busy: Arc<AtomicBool>,
    /// Dropped to close the connection.
    _open: oneshot::Sender<()>,
}

/// The place of one connection, freed on drop.
pub(super) struct Slot {
    slots: Arc<Slots>,
    id: u64,
    /// The host of its client.
    pub(super) host: IpAddr,
    busy: Arc<AtomicBool>,
}

impl PerStage {
    fn of(&mut self, stage: Stage) -> &mut usize {
        match stage {
            Stage::Silent => &mut self.silent,
            Stage::Handshake => &mut self.handshake,
            Stage::Request => &mut self.request,
        }
    }

    fn get(&self, stage: Stage) -> usize {
        match stage {
            Stage::Silent => self.silent,
            Stage::Handshake => self.handshake,
            Stage::Request => self.request,
        }
    }
}

impl Slots {
    /// Divides `total` connections, of which some may just be closing.
    pub(super) fn new(total: usize) -> Self {
        Self {
            limits: PerStage {
                silent: total / 4 * 3,
                handshake: total / 16,
                request: total / 16,
            },
            table: Mutex::default(),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Opens the slot of a new connection. The receiver completes when the connection must be closed.
    pub(super) fn open(
        self: &Arc<Self>,
        host: IpAddr,
        busy: Arc<AtomicBool>,
    ) -> (Slot, oneshot::Receiver<()>) {
        let (open, closed) = oneshot::channel();
        let mut table = self.table();
        let id = table.tick();
        let connection = Connection {
            stage: Stage::Silent,
            host,
            heard: id,
            busy: Arc::clone(&busy),
            _open: open,
        };
        table.connections.insert(id, connection);
        self.enter(&mut table, Stage::Silent);
        let slot = Slot {
            slots: Arc::clone(self),
            id,
            host,
            busy,
        };
        (slot, closed)
    }

    /// Counts a connection in its new stage, and makes room there for it and some more.
    fn enter(&self, table: &mut Table, stage: Stage) {
        *table.counts.of(stage) += 1;
        let limit = self.limits.get(stage);
        if table.counts.get(stage) <= limit {
            return;
        }
        let closed = table.close_down_to(stage, limit - limit / 8);
        if let Some(host) = closed
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            warn!(
                %host,
                waits_for = ?stage,
                limit,
                error = "too many wait",
                advice = "let a NetworkPolicy admit only the API server",
                "Closing connections of the host that has the most"
            );
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Closes connections of a stage until only `count` are left, or those whose requests have arrived. Returns the host
    /// that had the most.
    fn close_down_to(&mut self, stage: Stage, count: usize) -> Option<IpAddr> {
        let mut hosts = BTreeMap::<IpAddr, Vec<_>>::new();
        for (id, connection) in &self.connections {
            if connection.stage == stage && !connection.busy.load(Ordering::Relaxed) {
                let silent = Reverse((connection.heard, *id));
                hosts.entry(connection.host).or_default().push(silent);
            }
        }
        for silent in hosts.values_mut() {
            silent.sort_unstable();
        }
        let mut first = None;
        while self.counts.get(stage) > count {
            let largest = hosts
                .iter_mut()
                .max_by_key(|(_, silent)| (silent.len(), silent.last().copied()));
            let Some((host, Reverse((_, id)))) =
                largest.and_then(|(host, silent)| Some((*host, silent.pop()?)))
            else {
                break;
            };
            self.remove(id);
            first.get_or_insert(host);
        }
        first
    }

    fn remove(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            *self.counts.of(connection.stage) -= 1;
        }
    }
}

impl Slot {
    /// Moves the connection to its next stage.
    pub(super) fn advance(&self, stage: Stage) {
        let mut table = self.slots.table();
        let heard = table.tick();
        // Otherwise it is about to be closed.
        if let Some(connection) = table.connections.get_mut(&self.id) {
            connection.heard = heard;
            let before = std::mem::replace(&mut connection.stage, stage);
            *table.counts.of(before) -= 1;
            self.slots.enter(&mut table, stage);
        }
    }

    /// Notes that the client has sent something.
    pub(super) fn heard(&self) {
        let mut table = self.slots.table();
        let heard = table.tick();
        if let Some(connection) = table.connections.get_mut(&self.id) {
            connection.heard = heard;
        }
    }

    /// Notes that the whole request has arrived: the connection stays open until it is answered.
    pub(super) fn has_request(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.table().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Client {
        slot: Slot,
        closed: oneshot::Receiver<()>,
    }

    impl Client {
        fn is_open(&mut self) -> bool {
            self.closed.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        }
    }

    fn open(slots: &Arc<Slots>, host: u8) -> Client {
        let (slot, closed) = slots.open([10, 0, 0, host].into(), Arc::default());
        Client { slot, closed }
    }

    fn count_open(clients: &mut [Client]) -> usize {
        clients
            .iter_mut()
            .filter_map(|client| client.is_open().then_some(()))
            .count()
    }

    #[test]
    fn the_host_with_the_most_connections_loses_its_most_silent_ones() {
        let slots = Arc::new(Slots::new(24));
        let mut other = open(&slots, 1);
        let mut crowd: Vec<Client> = (0..100).map(|_| open(&slots, 2)).collect();
        assert!(other.is_open());
        let open_ones: Vec<usize> = (0..100).filter(|index| crowd[*index].is_open()).collect();
        // The limit of 18 is shared with the other host's.
        assert!((15..18).contains(&open_ones.len()), "{open_ones:?}");
        assert_eq!(open_ones.last(), Some(&99));
        assert!(open_ones.is_sorted_by(|a, b| a + 1 == *b), "{open_ones:?}");
        // Among hosts with equally many, the most silent connection is closed, whatever its address.
        drop(crowd);
        let mut hosts: Vec<Client> = (2..30).map(|host| open(&slots, host)).collect();
        assert!(!other.is_open());
        assert!(hosts[27].is_open());
    }

    #[test]
    fn each_stage_has_its_own_limit() {
        let slots = Arc::new(Slots::new(128));
        let mut requests: Vec<Client> = (0..8).map(|_| open(&slots, 1)).collect();
        for client in &requests {
            client.slot.advance(Stage::Handshake);
            client.slot.advance(Stage::Request);
        }
        let mut silent: Vec<Client> = (0..200).map(|_| open(&slots, 1)).collect();
        assert_eq!(count_open(&mut requests), 8);
        assert!(count_open(&mut silent) <= 96);
        let mut handshakes: Vec<Client> = (0..100)
            .map(|_| {
                let client = open(&slots, 1);
                client.slot.advance(Stage::Handshake);
                client
            })
            .collect();
        assert_eq!(count_open(&mut requests), 8);
        assert!(count_open(&mut handshakes) <= 8);
    }

    #[test]
    fn a_client_that_sends_or_has_sent_its_request_stays() {
        let slots = Arc::new(Slots::new(128));
        let request = |slots| {
            let client = open(slots, 1);
            client.slot.advance(Stage::Request);
            client
        };
        let mut busy = request(&slots);
        busy.slot.has_request();
        let mut sending = request(&slots);
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(request(&slots));
            sending.slot.heard();
        }
        assert!(busy.is_open() && sending.is_open());
        assert!(count_open(&mut crowd) <= 6);
        // If nothing can be closed for it, the newest one is closed.
        for client in &crowd {
            client.slot.has_request();
        }
        sending.slot.has_request();
        let mut late: Vec<Client> = (0..20).map(|_| request(&slots)).collect();
        assert!(busy.is_open() && sending.is_open());
        assert!(count_open(&mut late) < 8);
    }

    #[test]
    fn a_slot_is_freed_whether_it_was_closed_or_has_ended() {
        let slots = Arc::new(Slots::new(128));
        let crowd: Vec<Client> = (0..100).map(|_| open(&slots, 1)).collect();
        drop(crowd);
        assert_eq!(slots.table().counts.get(Stage::Silent), 0);
        assert!(slots.table().connections.is_empty());
    }
}
