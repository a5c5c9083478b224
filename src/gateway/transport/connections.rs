//! Who is connected: so many, and no more.
//!
//! When all places are taken, a new connection takes the place of the one that has been idle longest, and
//! first of one that never asked for anything: who only holds connections open cannot keep others out.
//! A connection whose request is in work is never given up.

use super::link::{Link, Phase};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections of a gateway.
#[derive(Debug)]
pub(in crate::gateway) struct Connections {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    links: BTreeMap<u64, Arc<Link>>,
}

/// A place among the connections, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
}

impl Connections {
    pub(in crate::gateway) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Consistent after every statement.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there may be.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// How many there are.
    pub(in crate::gateway) fn count(&self) -> usize {
        self.open().links.len()
    }

    /// Takes a place, of another connection if need be; none when all of them are in work.
    pub(super) fn enter(self: &Arc<Self>, link: &Arc<Link>) -> Option<Place> {
        let mut open = self.open();
        if open.links.len() >= self.most && !open.give_up_one() {
            return None;
        }
        let number = open.next;
        open.next += 1;
        open.links.insert(number, Arc::clone(link));
        Some(Place { connections: Arc::clone(self), number })
    }

    /// Closes another connection that sends a body which nobody signed: the one that has done so longest.
    pub(in crate::gateway) fn end_a_sender(&self, but: &Link) {
        let mut open = self.open();
        let sends = |(number, link): (&u64, &Arc<Link>)| {
            let (phase, since) = link.phase();
            (phase == Phase::Sending && !std::ptr::eq(&**link, but)).then_some((since, *number))
        };
        if let Some((_, number)) = open.links.iter().filter_map(sends).min() {
            open.give_up(number);
        }
    }

    /// Closes the connection that can be spared most, if there is one.
    pub(super) fn make_room(&self) -> bool {
        self.open().give_up_one()
    }
}

impl Open {
    fn give_up_one(&mut self) -> bool {
        let spare = |(number, link): (&u64, &Arc<Link>)| {
            let (phase, since) = link.phase();
            (phase != Phase::Busy).then_some((phase, since, *number))
        };
        let Some((.., number)) = self.links.iter().filter_map(spare).min() else { return false };
        self.give_up(number);
        true
    }

    fn give_up(&mut self, number: u64) {
        if let Some(link) = self.links.remove(&number) {
            link.evicted.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().links.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn link(phase: Phase) -> Arc<Link> {
        let link = Link::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), false);
        link.enter(phase);
        Arc::new(link)
    }

    fn is_evicted(link: &Link) -> bool {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            tokio::time::timeout(std::time::Duration::from_millis(1), link.evicted.notified()).await.is_ok()
        })
    }

    #[test]
    fn a_full_gateway_gives_up_the_connection_that_never_asked() {
        let connections = Arc::new(Connections::new(3));
        let (idle, fresh, busy) = (link(Phase::Idle), link(Phase::Fresh), link(Phase::Busy));
        let places: Vec<_> = [&idle, &fresh, &busy].map(|link| connections.enter(link).unwrap()).into();
        let next = link(Phase::Busy);
        let _place = connections.enter(&next).expect("the fresh one makes place");
        assert_eq!([&idle, &fresh, &busy].map(|link| is_evicted(link)), [false, true, false]);
        assert_eq!(connections.count(), 3);
        // The evicted one gives back a place that it no longer has.
        drop(places);
        assert_eq!(connections.count(), 1);
    }

    #[test]
    fn of_two_idle_connections_the_older_one_goes() {
        let connections = Arc::new(Connections::new(2));
        let (old, young) = (link(Phase::Fresh), link(Phase::Fresh));
        std::thread::sleep(std::time::Duration::from_millis(2));
        young.enter(Phase::Fresh);
        let _places = [&young, &old].map(|link| connections.enter(link).unwrap());
        let _place = connections.enter(&link(Phase::Fresh)).unwrap();
        assert_eq!([&old, &young].map(|link| is_evicted(link)), [true, false]);
    }

    #[test]
    fn work_is_never_given_up() {
        let connections = Arc::new(Connections::new(2));
        let busy = [link(Phase::Busy), link(Phase::Busy)];
        let _places = [connections.enter(&busy[0]).unwrap(), connections.enter(&busy[1]).unwrap()];
        assert!(connections.enter(&link(Phase::Fresh)).is_none());
        assert!(!connections.make_room());
        assert!(!is_evicted(&busy[0]) && !is_evicted(&busy[1]));
        busy[1].enter(Phase::Sending);
        assert!(connections.enter(&link(Phase::Fresh)).is_some(), "nobody has signed for that body");
    }

    #[test]
    fn of_those_who_send_unsigned_the_oldest_makes_room_for_the_next() {
        let connections = Arc::new(Connections::new(4));
        let (idle, oldest, next) = (link(Phase::Idle), link(Phase::Sending), link(Phase::Sending));
        let _places = [&idle, &oldest, &next].map(|link| connections.enter(link).unwrap());
        connections.end_a_sender(&next);
        assert_eq!([&idle, &oldest, &next].map(|link| is_evicted(link)), [false, true, false]);
        connections.end_a_sender(&next);
        assert!(!is_evicted(&next), "nobody ends themselves");
    }
}
