//! Loopback ports that two instances never share, across threads, test
//! binaries and checkouts: an ephemeral port that is looked up, released and
//! then used can be taken in between, and a restart must find its own again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;

use crate::{Error, Result};

/// First port: below the kernel's ephemeral range, above the well-known services.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 60;
const BLOCK: u16 = 200;

/// A block of ports, held until dropped: the first for TCP, the rest for RTP.
#[derive(Debug)]
pub struct PortBlock {
    base: u16,
    // Holds the lock; the kernel releases it with the process at the latest.
    _claim: File,
}

impl PortBlock {
    /// Claims a free block.
    ///
    /// # Errors
    /// All are taken, or the folder of locks cannot be written.
    pub fn claim() -> Result<Self> {
        let user = rustix::process::getuid().as_raw();
        let folder = std::env::temp_dir().join(format!("asterscribe-ports-{user}"));
        fs::create_dir_all(&folder)
            .map_err(Error::io(format!("cannot create {}", folder.display())))?;
        let start = std::process::id() % u32::from(BLOCKS);
        for step in 0..BLOCKS {
            let number =
                (u16::try_from(start).expect("less than the number of blocks") + step) % BLOCKS;
            let path = folder.join(number.to_string());
            let file = File::create(&path)
                .map_err(Error::io(format!("cannot create {}", path.display())))?;
            let base = FIRST + number * BLOCK;
            if file.try_lock().is_ok() && is_free(base) {
                return Ok(Self { base, _claim: file });
            }
        }
        Err(Error::Failed(format!(
            "all {BLOCKS} blocks of loopback ports are taken (locks in {})",
            folder.display()
        )))
    }

    /// The port for a TCP service.
    pub(crate) fn tcp(&self) -> u16 {
        self.base
    }

    /// A port for what the same service listens at beside it.
    pub(crate) fn second_tcp(&self) -> u16 {
        self.base + 1
    }

    /// The UDP ports for media; begins with an even port.
    pub fn media(&self) -> RangeInclusive<u16> {
        self.base + 2..=self.base + BLOCK - 1
    }
}

/// Whether nobody outside this scheme sits on the block's first ports.
fn is_free(base: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, base)).is_ok()
        && UdpSocket::bind((Ipv4Addr::LOCALHOST, base + 2)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_held_at_once_do_not_overlap() {
        let (a, b) = (PortBlock::claim().unwrap(), PortBlock::claim().unwrap());
        assert_ne!(a.tcp(), b.tcp());
        assert!(!a.media().contains(b.media().start()) && !a.media().contains(&b.tcp()));
        assert_eq!(a.media().start() % 2, 0);
    }
}
