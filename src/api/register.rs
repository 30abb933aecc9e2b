//! Who is connected, and who has to go for a newcomer. Reads no clock and closes nothing:
//! the accept loop is told what to do.
//!
//! A connection that keeps the server waiting (for a request, for the rest of one, or for room to
//! send the answer) may be put out when there is no place for a newcomer. The first to go are those
//! which have not shown yet that they may ask anything, and of these the one that waits longest.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How many may be connected.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionBounds {
    /// Connections in all.
    pub(super) connections: usize,
    /// Connections from one address.
    pub(super) per_address: usize,
    /// A connection is not put out before it has waited for so long: it may be on its way to ask.
    pub(super) grace: Duration,
}

/// Of so many connections one is put out at a time: each has a moment left in which it may still ask, and
/// a flood must not make a queue of these moments.
const AT_A_TIME: usize = 16;

/// One connection; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(u64);

/// The admission of a new connection, or the reason against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConnectionAdmission {
    /// The connection comes in.
    Enters(ConnectionId),
    /// These connections are to be put out; the newcomer is to ask again when a place is free.
    After(Vec<ConnectionId>),
    /// A connection may be put out from this time on; the newcomer is to ask again then.
    NotBefore(Instant),
    /// All connections are being served; the newcomer is to ask again when one no longer is.
    Later,
    /// All connections of the newcomer's address are being served.
    Refused,
}

/// The stage of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionStage {
    /// The connection keeps the server waiting since then.
    Waits(Instant),
    /// The server is answering a request of the connection.
    Served,
    /// The connection has been told to go.
    Leaves,
}

#[derive(Debug)]
struct RegisteredConnection {
    party: IpAddr,
    /// Whether the connection has shown that it may use the API: such ones are put out last.
    is_known: bool,
    /// Whether a request of the connection has not been answered yet.
    is_owed: bool,
    stage: ConnectionStage,
}

impl RegisteredConnection {
    /// Place of the connection among those that may be put out; the smallest goes first. `None`
    /// while the server is answering it, or has told it to go.
    fn place(&self, id: ConnectionId) -> Option<ConnectionPlace> {
        match self.stage {
            ConnectionStage::Waits(since) => Some((self.is_known, since, id)),
            ConnectionStage::Served | ConnectionStage::Leaves => None,
        }
    }
}

type ConnectionPlace = (bool, Instant, ConnectionId);

/// The connections of one address.
#[derive(Debug, Default)]
struct AddressGroup {
    count: usize,
    leaving: usize,
    waiting: BTreeSet<ConnectionPlace>,
}

/// Everybody who is connected.
#[derive(Debug)]
pub(super) struct ConnectionRegister {
    bounds: ConnectionBounds,
    next: u64,
    guests: HashMap<ConnectionId, RegisteredConnection>,
    parties: HashMap<IpAddr, AddressGroup>,
    waiting: BTreeSet<ConnectionPlace>,
    leaving: usize,
}

impl ConnectionRegister {
    pub(super) fn new(bounds: ConnectionBounds) -> Self {
        Self {
            bounds,
            next: 0,
            guests: HashMap::new(),
            parties: HashMap::new(),
            waiting: BTreeSet::new(),
            leaving: 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.guests.len()
    }

    /// Decides on a newcomer.
    pub(super) fn admit(&mut self, address: IpAddr, now: Instant) -> ConnectionAdmission {
        let address = party(address);
        let of_party = self.parties.get(&address);
        let of_party = of_party.filter(|party| party.count >= self.bounds.per_address);
        let ConnectionBounds {
            connections,
            per_address,
            ..
        } = self.bounds;
        let (leaving, waiting, limit, nobody) = match of_party {
            Some(party) => (
                party.leaving,
                &party.waiting,
                per_address,
                ConnectionAdmission::Refused,
            ),
            None if self.guests.len() >= connections => (
                self.leaving,
                &self.waiting,
                connections,
                ConnectionAdmission::Later,
            ),
            None => return ConnectionAdmission::Enters(self.enter(address, now)),
        };
        if leaving > 0 {
            return ConnectionAdmission::Later;
        }
        let Some(&(is_known, since, _)) = waiting.first() else {
            return nobody;
        };
        let is_ripe = |since: Instant| since + self.bounds.grace <= now;
        if !is_ripe(since) {
            return ConnectionAdmission::NotBefore(since + self.bounds.grace);
        }
        let most = if is_known {
            1
        } else {
            (limit / AT_A_TIME).max(1)
        };
        let alike = waiting
            .iter()
            .take_while(|(known, since, _)| *known == is_known && is_ripe(*since));
        let gone: Vec<_> = alike.map(|(_, _, id)| *id).take(most).collect();
        for id in &gone {
            self.set(*id, ConnectionStage::Leaves);
        }
        ConnectionAdmission::After(gone)
    }

    fn enter(&mut self, party: IpAddr, now: Instant) -> ConnectionId {
        let id = ConnectionId(self.next);
        self.next += 1;
        let guest = RegisteredConnection {
            party,
            is_known: false,
            is_owed: false,
            stage: ConnectionStage::Served,
        };
        self.guests.insert(id, guest);
        self.parties.entry(party).or_default().count += 1;
        self.set(id, ConnectionStage::Waits(now));
        id
    }

    /// A request of the connection has arrived; one that was told to go stays.
    pub(super) fn begins(&mut self, id: ConnectionId) {
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.is_owed = true;
        }
        self.set(id, ConnectionStage::Served);
    }

    /// Whether the connection has been told to go and has not asked anything since.
    pub(super) fn leaves(&self, id: ConnectionId) -> bool {
        self.stage(id) == Some(ConnectionStage::Leaves)
    }

    /// The answer to the request has been handed over; the connection waits for the next one.
    pub(super) fn ends(&mut self, id: ConnectionId, now: Instant) {
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.is_owed = false;
        }
        self.waits(id, now);
    }

    /// The connection keeps the server waiting from now on, for the rest of its request or for taking the answer.
    pub(super) fn waits(&mut self, id: ConnectionId, now: Instant) {
        if self.stage(id) == Some(ConnectionStage::Served) {
            self.set(id, ConnectionStage::Waits(now));
        }
    }

    /// A request of the connection is being worked on again, if there is one that is not answered
    /// yet.
    pub(super) fn goes_on(&mut self, id: ConnectionId) {
        let is_owed = self.guests.get(&id).is_some_and(|guest| guest.is_owed);
        if is_owed && matches!(self.stage(id), Some(ConnectionStage::Waits(_))) {
            self.set(id, ConnectionStage::Served);
        }
    }

    /// The connection has shown that it may use the API.
    pub(super) fn is_known(&mut self, id: ConnectionId) {
        // While it is served it has no place in the lists, which tell one from the other.
        if self.stage(id) == Some(ConnectionStage::Served)
            && let Some(guest) = self.guests.get_mut(&id)
        {
            guest.is_known = true;
        }
    }

    /// Puts the connection out if it keeps the server waiting; `true` if so.
    pub(super) fn put_out(&mut self, id: ConnectionId) -> bool {
        let waits = matches!(self.stage(id), Some(ConnectionStage::Waits(_)));
        if waits {
            self.set(id, ConnectionStage::Leaves);
        }
        waits
    }

    /// The connection is gone.
    pub(super) fn left(&mut self, id: ConnectionId) {
        self.set(id, ConnectionStage::Leaves);
        let Some(guest) = self.guests.remove(&id) else {
            return;
        };
        self.leaving -= 1;
        if let Some(party) = self.parties.get_mut(&guest.party) {
            party.count -= 1;
            party.leaving -= 1;
            if party.count == 0 {
                self.parties.remove(&guest.party);
            }
        }
    }

    fn stage(&self, id: ConnectionId) -> Option<ConnectionStage> {
        self.guests.get(&id).map(|guest| guest.stage)
    }

    /// Sets a connection's stage. Every change comes through here, so that the lists of waiting
    /// connections agree with it.
    fn set(&mut self, id: ConnectionId, stage: ConnectionStage) {
        let Some(guest) = self.guests.get_mut(&id) else {
            return;
        };
        let before = guest.place(id);
        let left = usize::from(guest.stage == ConnectionStage::Leaves);
        let leaves = usize::from(stage == ConnectionStage::Leaves);
        guest.stage = stage;
        let after = guest.place(id);
        let party = self.parties.entry(guest.party).or_default();
        party.leaving = party.leaving + leaves - left;
        self.leaving = self.leaving + leaves - left;
        for waiting in [&mut self.waiting, &mut party.waiting] {
            if let Some(place) = &before {
                waiting.remove(place);
            }
            waiting.extend(after);
        }
    }
}

/// Whose connections count together: an IPv4 address, or an IPv6 network of 64 bits, in which
/// one host has as many addresses as it likes.
pub(super) fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(50);

    fn register(connections: usize, per_address: usize) -> (ConnectionRegister, Instant) {
        let bounds = ConnectionBounds {
            connections,
            per_address,
            grace: GRACE,
        };
        (ConnectionRegister::new(bounds), asterscribe_clock::now())
    }

    fn from(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[track_caller]
    fn enters(register: &mut ConnectionRegister, address: IpAddr, now: Instant) -> ConnectionId {
        match register.admit(address, now) {
            ConnectionAdmission::Enters(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_waits_longest_without_having_asked_goes_first() {
        let (mut register, start) = register(3, 3);
        let at = |ms| start + Duration::from_millis(ms);
        let asked = enters(&mut register, from(1), at(0));
        let slow = enters(&mut register, from(2), at(1));
        let slower = enters(&mut register, from(3), at(2));
        register.begins(asked);
        register.is_known(asked);
        register.ends(asked, at(3));
        // All are too new to be put out: each may be about to ask.
        let not_yet = register.admit(from(4), at(10));
        assert_eq!(not_yet, ConnectionAdmission::NotBefore(at(51)));
        let first = register.admit(from(4), at(60));
        assert_eq!(first, ConnectionAdmission::After(vec![slow]));
        // One for each newcomer, and not before the place is free.
        assert_eq!(register.admit(from(4), at(61)), ConnectionAdmission::Later);
        assert!(register.leaves(slow));
        register.left(slow);
        let new = enters(&mut register, from(4), at(62));
        let second = register.admit(from(5), at(63));
        assert_eq!(second, ConnectionAdmission::After(vec![slower]));
        register.left(slower);
        let newer = enters(&mut register, from(5), at(64));
        register.begins(new);
        register.begins(newer);
        // Nobody else is left but the one that may ask.
        let last = register.admit(from(6), at(65));
        assert_eq!(last, ConnectionAdmission::After(vec![asked]));
        register.left(asked);
        let last = enters(&mut register, from(6), at(66));
        register.begins(last);
        assert_eq!(register.admit(from(7), at(900)), ConnectionAdmission::Later);
        assert_eq!(register.count(), 3);
    }

    #[test]
    fn one_that_asks_at_the_last_moment_stays_and_another_goes() {
        let (mut register, start) = register(2, 2);
        let late = start + GRACE;
        let first = enters(&mut register, from(1), start);
        let second = enters(&mut register, from(1), start);
        assert_eq!(
            register.admit(from(2), late),
            ConnectionAdmission::After(vec![first])
        );
        register.begins(first);
        assert!(!register.leaves(first));
        assert_eq!(
            register.admit(from(2), late),
            ConnectionAdmission::After(vec![second])
        );
        register.left(second);
        let third = enters(&mut register, from(2), late);
        register.left(first);
        register.left(third);
        assert_eq!((register.leaving, register.count()), (0, 0));
    }

    #[test]
    fn a_flood_makes_room_for_many_at_once_and_never_of_those_who_may_ask() {
        let (mut register, start) = register(64, 64);
        let late = start + GRACE;
        let ids: Vec<_> = (0..64)
            .map(|_| enters(&mut register, from(1), start))
            .collect();
        for known in &ids[..62] {
            register.begins(*known);
            register.is_known(*known);
            register.ends(*known, start);
        }
        let gone = register.admit(from(1), late);
        assert_eq!(gone, ConnectionAdmission::After(ids[62..].to_vec()));
        for id in &ids[62..] {
            register.left(*id);
        }
        for _ in 0..2 {
            let id = enters(&mut register, from(1), late);
            register.begins(id);
        }
        let gone = register.admit(from(1), late);
        assert_eq!(
            gone,
            ConnectionAdmission::After(vec![ids[0]]),
            "one at a time"
        );
    }

    #[test]
    fn an_address_makes_room_for_its_own() {
        let (mut register, start) = register(10, 2);
        let later = start + GRACE;
        let first = enters(&mut register, from(1), start);
        let second = enters(&mut register, from(1), start);
        let other = enters(&mut register, from(2), start);
        let gone = register.admit(from(1), later);
        assert_eq!(gone, ConnectionAdmission::After(vec![first]));
        register.left(first);
        let third = enters(&mut register, from(1), later);
        register.begins(second);
        register.begins(third);
        assert_eq!(register.admit(from(1), later), ConnectionAdmission::Refused);
        assert!(!register.leaves(other), "others have nothing to do with it");
        register.waits(third, later);
        let ripe = ConnectionAdmission::NotBefore(later + GRACE);
        assert_eq!(register.admit(from(1), later), ripe);
        // What is not there any more is counted nowhere.
        for gone in [second, third, other, other] {
            register.left(gone);
        }
        assert_eq!((register.count(), register.parties.len()), (0, 0));
        assert_eq!((register.waiting.len(), register.leaving), (0, 0));
    }

    #[test]
    fn a_connection_that_is_served_is_not_put_out() {
        let (mut register, now) = register(2, 2);
        let id = enters(&mut register, from(1), now);
        register.begins(id);
        assert!(!register.put_out(id));
        // Its client does not take the answer, and then does.
        register.waits(id, now);
        register.goes_on(id);
        assert!(!register.put_out(id));
        register.ends(id, now);
        // The last of it leaves the system's buffer after all was handed over.
        register.goes_on(id);
        assert!(register.put_out(id));
        assert!(!register.put_out(id), "once");
        register.ends(id, now);
        assert!(register.leaves(id));
        register.left(id);
        register.left(id);
        assert_eq!(register.count(), 0);
    }

    #[test]
    fn an_ipv6_network_is_one_party() {
        let parties = [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ];
        for (one, other, same) in parties {
            let [one, other] = [one, other].map(|text| party(text.parse().unwrap()));
            assert_eq!(one == other, same, "{one} {other}");
        }
    }
}
