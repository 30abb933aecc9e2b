//! How many calls and connections the system's limit of open files allows.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that come and go beside calls and connections: the store's, name look-ups, the log.
const SPARE: usize = 16;

/// Connections to Asterisk at most: requests under way, and the events.
const ASTERISK: usize = 66;

/// Connections to the API at most.
const CONNECTIONS: usize = 1024;

/// Legs of a call as a rule; each may have a socket.
const LEGS: usize = 2;

/// Share of the open files for calls and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerBudget {
    /// Calls open at once.
    pub(super) calls: usize,
    /// Legs with a socket of their own at once, those of all calls.
    pub(super) own_ports: usize,
    /// Connections to the API at once.
    pub(super) connections: usize,
}

/// Demand for open files, by the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct BudgetDemand {
    /// Calls, as configured.
    pub(super) calls: usize,
    /// Whether legs have sockets of their own.
    pub(super) own_ports: bool,
    /// Whether an Asterisk is spoken to.
    pub(super) asterisk: bool,
}

/// Raises the limit of open files as far as the process may, and says what it is.
///
/// # Errors
/// The system does not tell.
pub(super) fn raise_open_files() -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Files that the process has open.
///
/// # Errors
/// The system does not tell.
pub(super) fn open_files() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Shares out what the limit leaves; `None` if that is not even one call.
pub(super) fn share(limit: usize, open: usize, demand: BudgetDemand) -> Option<ServerBudget> {
    let asterisk = if demand.asterisk { ASTERISK } else { 0 };
    let left = limit.checked_sub(open + SPARE + asterisk)?;
    if !demand.own_ports {
        let connections = left.min(CONNECTIONS);
        return (connections > 0).then_some(ServerBudget {
            calls: demand.calls,
            own_ports: 0,
            connections,
        });
    }
    // A registration needs a connection for a moment and a call sockets for long.
    let connections = (left / 4).min(CONNECTIONS);
    let own_ports = left - connections;
    let calls = demand.calls.min(own_ports / LEGS);
    (calls > 0 && connections > 0).then_some(ServerBudget {
        calls,
        own_ports,
        connections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: BudgetDemand = BudgetDemand {
        calls: 100,
        own_ports: false,
        asterisk: true,
    };

    #[test]
    fn calls_that_share_a_socket_take_no_file() {
        let budget = share(256, 40, SHARED);
        let only = ServerBudget {
            calls: 100,
            own_ports: 0,
            connections: 256 - 40 - SPARE - ASTERISK,
        };
        assert_eq!(budget, Some(only));
        let plenty = share(20_000, 40, SHARED).unwrap();
        assert_eq!(plenty.connections, CONNECTIONS);
        assert_eq!(share(100, 40, SHARED), None);
    }

    #[test]
    fn what_is_granted_never_exceeds_the_limit() {
        for limit in 0..3000 {
            for own_ports in [false, true] {
                let demand = BudgetDemand {
                    own_ports,
                    asterisk: limit % 2 == 0,
                    ..SHARED
                };
                let Some(budget) = share(limit, 40, demand) else {
                    continue;
                };
                assert!(40 + SPARE + budget.connections + budget.own_ports <= limit);
                assert!(budget.calls <= 100 && budget.connections <= CONNECTIONS);
                assert!(!own_ports || LEGS * budget.calls <= budget.own_ports);
            }
        }
        let own = BudgetDemand {
            own_ports: true,
            ..SHARED
        };
        assert_eq!(share(256, 40, own).map(|budget| budget.calls), Some(50));
        assert_eq!(share(3000, 40, own).map(|budget| budget.calls), Some(100));
    }

    #[test]
    fn the_system_tells_its_limit_and_what_is_open() {
        assert!(open_files().unwrap() < raise_open_files().unwrap());
    }
}
