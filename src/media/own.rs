//! The sockets that legs of a thread have to themselves, and which of them
//! have something to read.

use std::io;
use std::net::SocketAddr;
use std::sync::Weak;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::ports::{OwnPort, PortReservation, ReservedPort};
use super::shard::LegKey;
use super::socket::{ReadBatch, RtpSocket, SocketRead};

/// Datagrams taken from one socket by one read: a leg sends 50 a second.
const BATCH: usize = 8;

/// Sockets that one look can find ready.
const LOOK: usize = 256;

/// Sockets of single legs.
#[derive(Debug)]
pub(super) struct OwnSockets {
    epoll: Epoll,
    /// Sockets by the number that the kernel reports for a socket that is ready.
    slots: Vec<Option<OwnSocket>>,
    open: usize,
    /// Slots of legs that are still to be placed, and whether anybody wants them.
    reserved: Vec<(usize, Weak<()>)>,
    batch: ReadBatch,
    ready: Vec<EpollEvent>,
}

#[derive(Debug)]
struct OwnSocket {
    port: OwnPort,
    leg: Option<LegKey>,
}

impl OwnSockets {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            slots: Vec::new(),
            open: 0,
            reserved: Vec::new(),
            batch: ReadBatch::new(BATCH),
            ready: vec![EpollEvent::empty(); LOOK],
        })
    }

    /// Takes a port in; to be given to a leg with [`Self::assign`].
    pub(super) fn add(&mut self, port: OwnPort) -> io::Result<usize> {
        let slot = self.slots.iter().position(Option::is_none);
        let slot = slot.unwrap_or(self.slots.len());
        let event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
        self.epoll.add(&port.socket, event)?;
        self.open += 1;
        let own = Some(OwnSocket { port, leg: None });
        match self.slots.get_mut(slot) {
            Some(free) => *free = own,
            None => self.slots.push(own),
        }
        Ok(slot)
    }

    /// Gives a socket to a leg; one that it had before is closed.
    pub(super) fn assign(&mut self, slot: usize, leg: LegKey) {
        self.close(|former| former == leg);
        if let Some(Some(own)) = self.slots.get_mut(slot) {
            own.leg = Some(leg);
        }
    }

    /// Takes a port in for a leg that is still to be placed.
    pub(super) fn reserve(&mut self, port: ReservedPort) -> io::Result<()> {
        let (port, wanted) = port.into_parts();
        let slot = self.add(port)?;
        self.reserved.push((slot, wanted));
        Ok(())
    }

    /// Takes the slot of a reserved port, for a leg that is then given it with [`Self::assign`];
    /// `None` if the reservation is gone.
    pub(super) fn claim(&mut self, reservation: &PortReservation) -> Option<usize> {
        let is_it = |&(slot, _): &(usize, Weak<()>)| {
            let own = self.slots.get(slot).and_then(Option::as_ref);
            own.is_some_and(|own| own.port.port() == reservation.port)
        };
        let index = self.reserved.iter().position(is_it)?;
        Some(self.reserved.swap_remove(index).0)
    }

    /// Closes what was reserved and nobody wants any more.
    pub(super) fn sweep(&mut self) {
        let is_unwanted = |(_, wanted): &(usize, Weak<()>)| wanted.strong_count() == 0;
        while let Some(index) = self.reserved.iter().position(is_unwanted) {
            let (slot, _) = self.reserved.swap_remove(index);
            self.remove(slot);
        }
    }

    /// The socket at which a leg is heard, if it has one of its own.
    pub(super) fn of_leg(&self, leg: LegKey) -> Option<&RtpSocket> {
        let mut open = self.slots.iter().flatten();
        let own = open.find(|own| own.leg == Some(leg));
        own.map(|own| &own.port.socket)
    }

    /// Closes the socket; its port goes back to the pool.
    pub(super) fn remove(&mut self, slot: usize) {
        if self
            .slots
            .get_mut(slot)
            .is_some_and(|slot| slot.take().is_some())
        {
            self.open -= 1;
        }
    }

    /// Closes the sockets of the legs for which `is_gone` is true.
    pub(super) fn close(&mut self, is_gone: impl Fn(LegKey) -> bool) {
        for slot in 0..self.slots.len() {
            let own = self.slots[slot].as_ref();
            if own.and_then(|own| own.leg).is_some_and(&is_gone) {
                self.remove(slot);
            }
        }
    }

    /// Reads each socket that is ready once; `true` if there may be more. Both closures are given
    /// the leg of the socket, `None` while that is still to be placed.
    pub(super) fn read(
        &mut self,
        mut take: impl FnMut(Option<LegKey>, SocketAddr, &[u8]),
        mut dropped: impl FnMut(Option<LegKey>, u64),
    ) -> io::Result<bool> {
        if self.open == 0 {
            return Ok(false);
        }
        let ready = self.epoll.wait(&mut self.ready, EpollTimeout::ZERO)?;
        let mut more = ready == self.ready.len();
        for event in &self.ready[..ready] {
            let slot = usize::try_from(event.data()).unwrap_or(usize::MAX);
            let Some(Some(OwnSocket { port, leg })) = self.slots.get_mut(slot) else {
                continue;
            };
            let leg = *leg;
            let read = port
                .socket
                .read(&mut self.batch, |from, bytes| take(leg, from, bytes))?;
            let SocketRead {
                datagrams,
                dropped: lost,
            } = read;
            if lost > 0 {
                dropped(leg, lost);
            }
            more |= datagrams == self.batch.capacity();
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ports::tests::pool;
    use super::*;
    use asterscribe_clock as clock;
    use std::collections::BTreeMap;
    use std::net::UdpSocket;

    /// Reads until nothing is left: datagrams received and dropped, by whether the socket is a
    /// leg's.
    fn drain(own: &mut OwnSockets) -> BTreeMap<bool, (u64, u64)> {
        let (mut taken, mut lost) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, u64>::new());
        loop {
            let more = own.read(
                |leg, _, _| *taken.entry(leg.is_some()).or_default() += 1,
                |leg, count| *lost.entry(leg.is_some()).or_default() += count,
            );
            if !more.unwrap() {
                break;
            }
        }
        let both = |is_legs| {
            let of = |counts: &BTreeMap<_, _>| counts.get(&is_legs).copied().unwrap_or(0);
            (is_legs, (of(&taken), of(&lost)))
        };
        [false, true].map(both).into()
    }

    #[test]
    fn what_the_kernel_drops_is_laid_to_the_socket_that_had_no_room() {
        let (pool, sender) = (pool(2), UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut own = OwnSockets::new().unwrap();
        let leased = pool.lease_all(clock::now(), 2).unwrap();
        let [legs, reserved] = <[OwnPort; 2]>::try_from(leased).unwrap();
        let at = [&legs, &reserved].map(|port| ("127.0.0.1", port.port()));
        let slot = own.add(legs).unwrap();
        own.assign(slot, LegKey::NOBODY);
        let (_reservation, reserved) = reserved.reserve();
        own.reserve(reserved).unwrap();
        for _ in 0..2_999 {
            sender.send_to(&[0; 172], at[0]).unwrap();
        }
        for _ in 0..10 {
            sender.send_to(&[0; 172], at[1]).unwrap();
        }
        let first = drain(&mut own);
        // The newest drops are told with the next datagram that finds room.
        sender.send_to(&[0; 172], at[0]).unwrap();
        let second = drain(&mut own);
        assert_eq!((first[&false], second[&false]), ((10, 0), (0, 0)));
        let (taken, lost) = (
            first[&true].0 + second[&true].0,
            first[&true].1 + second[&true].1,
        );
        assert_eq!(taken + lost, 3_000);
        assert!(lost > 0, "all were taken");
    }
}
