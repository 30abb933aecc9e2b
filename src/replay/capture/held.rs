//! Content of a capture as it is read, and a whole capture in memory.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use asterscribe_call::{CallId, Leg};

use super::{CaptureInput, UnreadCounts, input, show};
use crate::capture::mark::CaptureCompleteness;

/// A UDP datagram as it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedDatagram {
    /// Capture time since the Unix epoch, by the capturing machine's clock; zero: not in the file.
    pub at: Duration,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// UDP payload.
    pub payload: Vec<u8>,
    /// Number of the leg that it reached, in a capture made by this program.
    pub leg: Option<usize>,
}

/// A datagram of the capture, borrowed from the block that it was read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BorrowedDatagram<'a> {
    /// Capture time, as in [`CapturedDatagram::at`].
    pub at: Duration,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// UDP payload.
    pub payload: &'a [u8],
    /// Number of the leg that it reached, in a capture made by this program.
    pub leg: Option<usize>,
}

/// Item that a pass over a capture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturePass<'a> {
    /// A datagram.
    Datagram(BorrowedDatagram<'a>),
    /// Payload of a TCP segment, which may be signalling.
    Tcp {
        /// Time in the file.
        at: Duration,
        /// Content of the segment.
        bytes: &'a [u8],
    },
}

/// Call that a capture made by this program names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// Id of the call.
    pub call: CallId,
    /// Its legs in the order of their session.
    pub legs: Vec<Leg>,
    /// Zero of the call's clock, since the Unix epoch.
    pub zero: Duration,
    /// End of the capture, if the file has it: the call's hang-up, or an earlier stop.
    pub end: Option<Duration>,
    /// Packets that are missing in it.
    pub missing: CaptureCompleteness,
}

/// A whole capture in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldCapture {
    /// The datagrams in file order.
    pub datagrams: Vec<CapturedDatagram>,
    /// Packets of any kind in the file.
    pub packets: u64,
    /// Packets that are not whole UDP datagrams over IP: other protocols, lone fragments, cut by
    /// the snap length.
    pub other_packets: u64,
    /// Packets that were not read, by reason.
    pub unread: UnreadCounts,
    /// Packets that are further fragments of the datagrams.
    pub joined: u64,
    /// Place and reason where the file broke off or stopped making sense, if it did.
    pub broken: Option<String>,
    /// Call that the file names, if it is a capture made by this program.
    pub recorded: Option<RecordedCall>,
}

/// Counts of one pass over a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Packets of any kind.
    pub packets: u64,
    /// Datagrams that were shown.
    pub datagrams: u64,
    /// Packets that were not read, by reason.
    pub unread: UnreadCounts,
    /// Packets that are further fragments of the datagrams.
    pub joined: u64,
    /// Place and reason where the file broke off or stopped making sense, if it did.
    pub broken: Option<String>,
    /// Call that the file names, if it is a capture made by this program.
    pub recorded: Option<RecordedCall>,
}

/// Error: nothing of a file can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Name of the file.
        path: String,
        /// Reason, as the system gives it.
        source: io::Error,
    },
    /// The file is neither pcap nor pcapng.
    #[error("{0} is neither a pcap nor a pcapng file")]
    NotACapture(String),
}

/// Reads a whole capture into memory. What can be read of a broken file is returned, with the
/// place where it broke off.
///
/// # Errors
/// The file cannot be read, or is no capture.
pub fn read(path: &Path) -> Result<HeldCapture, CaptureError> {
    let input = CaptureInput::open(path)?;
    whole(|visit| input.pass(None, visit))
}

/// Reads a capture that lies in memory.
///
/// # Errors
/// It is no capture.
pub fn from_bytes(bytes: &[u8]) -> Result<HeldCapture, CaptureError> {
    whole(|visit| {
        let reader = input::unpacked(bytes, bytes.len() as u64, Box::new(bytes));
        show(reader, "what lies in memory", None, visit)
    })
}

/// Keeps every datagram of a pass in memory.
fn whole(
    pass: impl FnOnce(
        &mut dyn FnMut(CapturePass<'_>) -> Result<(), CaptureError>,
    ) -> Result<CaptureSummary, CaptureError>,
) -> Result<HeldCapture, CaptureError> {
    let mut datagrams = Vec::new();
    let summary = pass(&mut |seen| {
        if let CapturePass::Datagram(datagram) = seen {
            datagrams.push(CapturedDatagram {
                at: datagram.at,
                from: datagram.from,
                to: datagram.to,
                payload: datagram.payload.to_vec(),
                leg: datagram.leg,
            });
        }
        Ok(())
    })?;
    Ok(HeldCapture {
        datagrams,
        packets: summary.packets,
        other_packets: summary.unread.total(),
        unread: summary.unread,
        joined: summary.joined,
        broken: summary.broken,
        recorded: summary.recorded,
    })
}

impl HeldCapture {
    /// Shows what [`CaptureInput::pass`] would.
    ///
    /// # Errors
    /// That of `visit`.
    pub fn pass<E>(
        &self,
        visit: &mut dyn FnMut(CapturePass<'_>) -> Result<(), E>,
    ) -> Result<CaptureSummary, E> {
        for datagram in &self.datagrams {
            visit(CapturePass::Datagram(BorrowedDatagram {
                at: datagram.at,
                from: datagram.from,
                to: datagram.to,
                payload: &datagram.payload,
                leg: datagram.leg,
            }))?;
        }
        Ok(CaptureSummary {
            packets: self.packets,
            datagrams: self.datagrams.len() as u64,
            unread: self.unread.clone(),
            joined: self.joined,
            broken: self.broken.clone(),
            recorded: self.recorded.clone(),
        })
    }
}
