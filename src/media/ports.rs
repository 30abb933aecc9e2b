//! Ports of their own for legs (`RTP_MODE=per-call`): leased when a leg, or the
//! call that it will belong to, is admitted, given back when nothing holds them
//! any more.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use asterscribe_clock as clock;

use super::socket::RtpSocket;
use crate::config::PortRange;

/// How long a port rests before another leg gets it: whoever sent to it may not
/// have heard yet that the call is over.
pub(super) const REST: Duration = Duration::from_secs(10);

/// Receive buffer asked of the kernel for one leg, bytes: some 300 telephone datagrams, a stall of
/// seconds.
const RECEIVE_BUFFER: usize = 256 << 10;

/// Ports tried for one lease; what another program holds is passed over.
const PROBES: usize = 16;

/// Reason why a leg gets no port of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPort {
    /// All ports are taken, or rest.
    #[error("all RTP ports are taken: {leased} by calls, {resting} just given back")]
    Taken {
        /// Ports held by legs.
        leased: usize,
        /// Ports that may not be used again yet.
        resting: usize,
    },
    /// The limit of open files allows no more ports than these.
    #[error("the limit of open files allows {0} legs with ports of their own; raise ulimit -n")]
    Files(usize),
    /// The operating system does not give a port.
    #[error("{0}")]
    System(String),
}

/// The even ports of a range.
#[derive(Debug, Clone)]
pub struct PortPool(Arc<SharedPorts>);

#[derive(Debug)]
struct SharedPorts {
    host: IpAddr,
    /// Legs that may have a port at once.
    max_leased: usize,
    ports: Mutex<ThreadPorts>,
}

#[derive(Debug)]
struct ThreadPorts {
    /// Free ports; the one that has been free for longest is first.
    free: VecDeque<u16>,
    /// Ports that rest, with the time at which each was given back, oldest first.
    resting: VecDeque<(Instant, u16)>,
    leased: HashSet<u16>,
    /// Times that too few ports were free.
    exhausted: u64,
    /// Leases that the system refused.
    failed: u64,
}

/// A port that one leg has to itself. Dropping it closes the socket and gives the port back.
#[derive(Debug)]
pub struct OwnPort {
    pub(super) socket: RtpSocket,
    port: u16,
    pool: PortPool,
}

/// The right to a port that is open at a media thread for a leg which is still
/// to be placed. Dropping it unused closes the socket and gives the port back.
#[derive(Debug)]
pub struct PortReservation {
    pub(super) port: u16,
    /// Count by which the thread sees whether the reservation still exists.
    _wanted: Arc<()>,
}

/// The thread's half of a [`PortReservation`].
#[derive(Debug)]
pub(crate) struct ReservedPort {
    own: OwnPort,
    wanted: Weak<()>,
}

/// How many ports are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortUse {
    /// Free now.
    pub free: usize,
    /// Given back, but resting.
    pub resting: usize,
    /// Held by legs.
    pub leased: usize,
    /// Times so far that too few were free.
    pub exhausted: u64,
    /// Leases that the system refused so far.
    pub failed: u64,
}

impl PortPool {
    /// The pool of a range at that address, of which `max_leased` may be leased at
    /// once; none of its ports is bound yet.
    pub fn new(host: IpAddr, range: PortRange, max_leased: usize) -> Self {
        let ports = ThreadPorts {
            free: range.even().collect(),
            resting: VecDeque::new(),
            leased: HashSet::new(),
            exhausted: 0,
            failed: 0,
        };
        Self(Arc::new(SharedPorts {
            host,
            max_leased,
            ports: Mutex::new(ports),
        }))
    }

    /// A port for one leg, bound.
    ///
    /// # Errors
    /// [`NoPort`]; nothing is held.
    pub fn lease(&self, now: Instant) -> Result<OwnPort, NoPort> {
        let mut ports = self.lock();
        ports.check(now, 1, self.0.max_leased)?;
        let mut refusal = None;
        for _ in 0..PROBES {
            let Some(port) = ports.free.pop_front() else {
                break;
            };
            let address = SocketAddr::new(self.0.host, port);
            match RtpSocket::bind(address, RECEIVE_BUFFER) {
                Ok(socket) => {
                    ports.leased.insert(port);
                    let pool = self.clone();
                    return Ok(OwnPort { socket, port, pool });
                }
                Err(error) => {
                    let is_elsewhere = error.kind() == io::ErrorKind::AddrInUse;
                    // Another program's: it may be free by its next turn.
                    ports.free.push_back(port);
                    refusal = Some(NoPort::System(error.to_string()));
                    if !is_elsewhere {
                        // No descriptors, no memory: the next port would fare no better.
                        break;
                    }
                }
            }
        }
        ports.failed += u64::from(refusal.is_some());
        Err(refusal.unwrap_or(NoPort::Taken {
            leased: ports.leased.len(),
            resting: ports.resting.len(),
        }))
    }

    /// Ports for that many legs at once, bound; or none, and then none has to rest.
    ///
    /// # Errors
    /// [`NoPort`]; nothing is held.
    pub fn lease_all(&self, now: Instant, legs: usize) -> Result<Vec<OwnPort>, NoPort> {
        self.lock().check(now, legs, self.0.max_leased)?;
        (0..legs).map(|_| self.lease(now)).collect()
    }

    /// Numbers of ports by state.
    pub fn usage(&self, now: Instant) -> PortUse {
        let mut ports = self.lock();
        ports.wake(now);
        PortUse {
            free: ports.free.len(),
            resting: ports.resting.len(),
            leased: ports.leased.len(),
            exhausted: ports.exhausted,
            failed: ports.failed,
        }
    }

    /// Whether a leg has that port to itself.
    pub fn is_leased(&self, port: u16) -> bool {
        self.lock().leased.contains(&port)
    }

    fn give_back(&self, now: Instant, port: u16) {
        let mut ports = self.lock();
        ports.leased.remove(&port);
        ports.resting.push_back((now, port));
    }

    /// The data is valid after every statement that changes it, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, ThreadPorts> {
        self.0.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ThreadPorts {
    /// Whether that many more can be had, as far as is known before they are bound.
    fn check(&mut self, now: Instant, legs: usize, max_leased: usize) -> Result<(), NoPort> {
        self.wake(now);
        if self.leased.len() + legs > max_leased {
            self.failed += 1;
            return Err(NoPort::Files(max_leased));
        }
        if self.free.len() < legs {
            self.exhausted += 1;
            return Err(NoPort::Taken {
                leased: self.leased.len(),
                resting: self.resting.len(),
            });
        }
        Ok(())
    }

    fn wake(&mut self, now: Instant) {
        while let Some(&(since, port)) = self.resting.front()
            && now.saturating_duration_since(since) >= REST
        {
            self.resting.pop_front();
            self.free.push_back(port);
        }
    }
}

impl OwnPort {
    /// Number of the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Splits the port into the right to it and the thread's half.
    pub(super) fn reserve(self) -> (PortReservation, ReservedPort) {
        let (port, held) = (self.port, Arc::new(()));
        let wanted = Arc::downgrade(&held);
        let reservation = PortReservation {
            port,
            _wanted: held,
        };
        (reservation, ReservedPort { own: self, wanted })
    }
}

impl ReservedPort {
    /// The port, and the count that shows whether anybody still wants it.
    pub(super) fn into_parts(self) -> (OwnPort, Weak<()>) {
        (self.own, self.wanted)
    }
}

impl Drop for OwnPort {
    fn drop(&mut self) {
        self.pool.give_back(clock::now(), self.port);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use asterscribe_testkit::ports::PortBlock;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU16, Ordering};

    /// A pool of so many ports that are this test's alone.
    pub(in crate::media) fn pool(ports: u16) -> PortPool {
        static BLOCK: LazyLock<PortBlock> = LazyLock::new(|| PortBlock::claim().unwrap());
        static USED: AtomicU16 = AtomicU16::new(0);
        let block = BLOCK.media();
        let first = block.start() + USED.fetch_add(2 * ports, Ordering::Relaxed);
        let last = first + 2 * ports - 1;
        assert!(block.contains(&last), "the block has no more ports");
        let range = PortRange { first, last };
        PortPool::new(Ipv4Addr::LOCALHOST.into(), range, usize::MAX)
    }

    #[test]
    fn a_port_rests_before_another_leg_gets_it() {
        let (pool, now) = (pool(2), clock::now());
        let (one, two) = (pool.lease(now).unwrap(), pool.lease(now).unwrap());
        let first = one.port();
        assert_eq!((first % 2, two.port()), (0, first + 2));
        let taken = |leased, resting| NoPort::Taken { leased, resting };
        assert_eq!(pool.lease(now).unwrap_err(), taken(2, 0));
        drop(one);
        assert_eq!(pool.lease(now).unwrap_err(), taken(1, 1));
        let later = clock::now() + REST;
        assert_eq!(pool.lease(later).unwrap().port(), first);
    }

    #[test]
    fn what_another_program_holds_is_passed_over_and_tried_again() {
        let (pool, now) = (pool(2), clock::now());
        let first = *pool.lock().free.front().unwrap();
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let one = pool.lease(now).unwrap();
        assert_eq!(one.port(), first + 2);
        assert!(matches!(pool.lease(now), Err(NoPort::System(_))));
        drop(other);
        assert_eq!(pool.lease(now).unwrap().port(), first);
        assert_eq!(pool.usage(now).failed, 1);
    }

    #[test]
    fn a_call_gets_ports_for_all_its_legs_or_none_and_none_has_to_rest() {
        let (pool, now) = (pool(3), clock::now());
        let two = pool.lease_all(now, 2).unwrap();
        assert_ne!(two[0].port(), two[1].port());
        assert!(matches!(
            pool.lease_all(now, 2),
            Err(NoPort::Taken { leased: 2, .. })
        ));
        let usage = pool.usage(now);
        assert_eq!((usage.free, usage.resting, usage.exhausted), (1, 0, 1));
        drop(two);
        assert_eq!(pool.usage(now).resting, 2);
    }

    #[test]
    fn the_limit_of_open_files_is_named_where_it_is_the_reason() {
        let (host, range) = (Ipv4Addr::LOCALHOST.into(), PortRange { first: 2, last: 3 });
        let pool = PortPool::new(host, range, 0);
        assert_eq!(pool.lease(clock::now()).unwrap_err(), NoPort::Files(0));
    }

    #[test]
    fn a_thousand_legs_leave_no_port_and_no_descriptor_behind() {
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let (pool, mut now) = (pool(10), clock::now());
        // Other tests of this process open files as well: not to the unit, but far from a thousand.
        let before = descriptors();
        for _ in 0..100 {
            let legs: Vec<_> = (0..10).map(|_| pool.lease(now).unwrap()).collect();
            assert!(pool.lease(now).is_err());
            drop(legs);
            now = clock::now() + REST;
        }
        let usage = pool.usage(now);
        assert_eq!((usage.free, usage.resting, usage.leased), (10, 0, 0));
        assert!(descriptors() < before + 500);
    }
}
