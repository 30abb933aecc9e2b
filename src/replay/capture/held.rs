//! What is read of a capture, and how it is kept.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{CaptureInput, UnreadCounts, input, show};
use crate::call::{CallId, Leg};
use crate::capture::mark::CaptureCompleteness;

/// A UDP datagram as it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedDatagram {
    /// Since the Unix epoch, by the capturing machine's clock; zero: the file does not say.
    pub at: Duration,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// UDP payload.
    pub payload: Vec<u8>,
    /// In a capture of ours: which of its legs it reached.
    pub leg: Option<usize>,
}

/// A datagram of the capture, as long as the block that it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BorrowedDatagram<'a> {
    /// As of [`CapturedDatagram`].
    pub at: Duration,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// UDP payload.
    pub payload: &'a [u8],
    /// In a capture of ours: which of its legs it reached.
    pub leg: Option<usize>,
}

/// A thing that a pass over a capture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturePass<'a> {
    /// A datagram.
    Datagram(BorrowedDatagram<'a>),
    /// What a segment of TCP carried: signalling, perhaps.
    Tcp(&'a [u8]),
}

/// The call of a capture of ours, as the file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// The call.
    pub call: CallId,
    /// Its legs in the order of their session.
    pub legs: Vec<Leg>,
    /// Zero of the call's clock, since the Unix epoch.
    pub zero: Duration,
    /// When the capture ended, if it says so: the call's hang-up, or an earlier stop.
    pub end: Option<Duration>,
    /// What is missing in it.
    pub missing: CaptureCompleteness,
}

/// A whole capture in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldCapture {
    /// The datagrams in file order.
    pub datagrams: Vec<CapturedDatagram>,
    /// Packets of any kind in the file.
    pub packets: u64,
    /// Packets that are not whole UDP datagrams over IP: other protocols, lone fragments, cut by the snap length.
    pub other_packets: u64,
    /// Packets that were not read, by reason.
    pub unread: UnreadCounts,
    /// Packets that are further fragments of the datagrams.
    pub joined: u64,
    /// Where the file broke off or stopped making sense, if it did.
    pub broken: Option<String>,
    /// What it tells about the call, if it is one of ours.
    pub recorded: Option<RecordedCall>,
}

/// The counts of a pass over a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Packets of any kind.
    pub packets: u64,
    /// Datagrams that were shown.
    pub datagrams: u64,
    /// Packets of which nothing was shown.
    pub unread: UnreadCounts,
    /// Packets that are further fragments of the datagrams.
    pub joined: u64,
    /// Where the file broke off or stopped making sense, if it did.
    pub broken: Option<String>,
    /// What it tells about the call, if it is one of ours.
    pub recorded: Option<RecordedCall>,
}

/// Why a file gives nothing at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's reason.
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

/// Keeps what a pass shows.
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
