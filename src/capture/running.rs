//! One capture that goes on: its two files.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use asterscribe_call::Leg;

use super::folder::{EVENTS, PACKETS};
use super::mark::{CaptureCompleteness, LegMark};
use super::rolling::{RollingFile, SegmentDisk, SegmentPiece};
use super::tap::SharedCapture;
use super::{CapturePart, datagram, pcapng};

/// The events' share of a capture's bytes: a quarter, and no more than this.
/// They are few, and those of a call's beginning shall outlast its packets.
const MAX_EVENT_BYTES: u64 = 2 << 20;

/// Kept free for what is written at the end.
const TAIL: u64 = 512;

/// Legs of one capture; a call has far fewer.
const MAX_LEGS: usize = 64;

/// A capture that is running.
pub(super) struct RunningCapture {
    pub(super) shared: Arc<SharedCapture>,
    packets: RollingFile,
    events: RollingFile,
    legs: Vec<Leg>,
    /// Legs that the newest segment of packets describes.
    described: usize,
    /// Packets of each leg since the beginning.
    received: Vec<u64>,
    /// Losses that `shared` was last updated with.
    told: CaptureProgress,
    scratch: Vec<u8>,
}

#[derive(Default)]
struct CaptureProgress {
    lost: u64,
    events_lost: u64,
}

impl RunningCapture {
    pub(super) fn create(
        shared: Arc<SharedCapture>,
        disk: &Arc<dyn SegmentDisk>,
    ) -> io::Result<Self> {
        let bound = shared.start.max_bytes;
        let event_bytes = (bound / 4).min(MAX_EVENT_BYTES);
        let stem = shared.start.call.to_string();
        let packets = RollingFile::create(
            Arc::clone(disk),
            stem.clone(),
            PACKETS,
            bound - event_bytes - 2 * TAIL,
            &head(&shared, &[]),
        )?;
        let events = RollingFile::create(Arc::clone(disk), stem, EVENTS, event_bytes, &[])
            .inspect_err(|_| {
                for piece in packets.pieces() {
                    // Nobody will miss it, and the error is told.
                    let _left = disk.remove(&piece.name);
                }
            })?;
        let running = Self {
            shared,
            packets,
            events,
            legs: Vec::new(),
            described: 0,
            received: Vec::new(),
            told: CaptureProgress::default(),
            scratch: Vec::new(),
        };
        running.count();
        Ok(running)
    }

    pub(super) fn leg(&mut self, leg: Leg) {
        if self.legs.len() < MAX_LEGS {
            self.legs.push(leg);
            self.received.push(0);
            // If that fails it is tried again with the leg's packets.
            let _later = self.describe();
        }
    }

    pub(super) fn packet(
        &mut self,
        leg: usize,
        at: Instant,
        from: std::net::SocketAddr,
        bytes: &[u8],
    ) {
        let mut ip = std::mem::take(&mut self.scratch);
        ip.clear();
        let known = leg < self.legs.len() && self.describe();
        match datagram::write(&mut ip, from, self.shared.start.to, bytes) {
            Ok(()) if known => {
                let mut record = Vec::with_capacity(ip.len() + pcapng::PACKET_OVERHEAD + 3);
                let number = u32::try_from(leg).unwrap_or(u32::MAX);
                pcapng::packet(&mut record, number, self.shared.wall_ns(at), &ip);
                let (shared, legs) = (&self.shared, &self.legs);
                if self.packets.push(&record, || head(shared, legs)) {
                    self.described = self.legs.len();
                }
                self.received[leg] += 1;
            }
            _ => self.packets.count_lost(),
        }
        self.scratch = ip;
    }

    pub(super) fn event(&mut self, at: Instant, text: &str) {
        let age = at.saturating_duration_since(self.shared.start.zero);
        let line = format!("{{\"at_ms\":{},\"event\":{text}}}\n", age.as_millis());
        self.events.push(line.as_bytes(), Vec::new);
    }

    /// Sees to it that the newest segment describes all legs.
    fn describe(&mut self) -> bool {
        while let Some(leg) = self.legs.get(self.described) {
            let mut block = Vec::new();
            describe(&mut block, &self.shared, leg);
            if self.packets.is_full_for(block.len()) {
                if self
                    .packets
                    .rotate(&head(&self.shared, &self.legs))
                    .is_err()
                {
                    return false;
                }
                self.described = self.legs.len();
            } else if self.packets.write_through(&block).is_ok() {
                self.described += 1;
            } else {
                return false;
            }
        }
        true
    }

    /// Hands everything to the system and counts it.
    pub(super) fn flush(&mut self) {
        self.packets.flush();
        self.events.flush();
        // Packets that never came as far as this are counted there by others.
        let lost = self.packets.lost();
        let more = lost - std::mem::replace(&mut self.told.lost, lost);
        self.shared.lost.fetch_add(more, Ordering::Relaxed);
        let events_lost = self.events.lost();
        if std::mem::replace(&mut self.told.events_lost, events_lost) == 0 && events_lost > 0 {
            tracing::error!(call = %self.shared.start.call, "ARI events are missing in the capture");
        }
        self.count();
    }

    fn count(&self) {
        let set = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        set(&self.shared.packets, self.packets.records());
        set(&self.shared.bytes, self.bytes());
        set(&self.shared.rolled_off, self.packets.rolled_off());
    }

    /// Ends the files. Nothing may be written afterwards.
    pub(super) fn finish(&mut self, at: Instant) {
        self.flush();
        let tail = self.tail(at);
        if let Err(error) = self.packets.write_through(&tail) {
            tracing::error!(%error, call = %self.shared.start.call, "cannot write the end of a capture");
        }
        self.count();
    }

    /// Statistics block that ends the file: time of the end, and packets missing. Empty before the
    /// first leg.
    pub(super) fn tail(&self, at: Instant) -> Vec<u8> {
        let mut tail = Vec::new();
        if self.described > 0 {
            let state = self.shared.state();
            let missing = CaptureCompleteness {
                lost: state.lost,
                rolled_off: state.rolled_off,
            };
            let received = self.received.first().copied().unwrap_or(0);
            pcapng::statistics(
                &mut tail,
                0,
                self.shared.wall_ns(at),
                received,
                state.lost,
                &missing.to_comment(),
            );
        }
        tail
    }

    pub(super) fn pieces(&self, part: CapturePart) -> Vec<SegmentPiece> {
        match part {
            CapturePart::Packets => self.packets.pieces(),
            CapturePart::Events => self.events.pieces(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.packets.bytes() + self.events.bytes()
    }
}

/// Head of a segment: section block, and an interface block for each leg.
fn head(shared: &SharedCapture, legs: &[Leg]) -> Vec<u8> {
    let mut head = Vec::new();
    let application = concat!("asterscribe ", env!("CARGO_PKG_VERSION"));
    pcapng::section(
        &mut head,
        application,
        &format!("call {}", shared.start.call),
    );
    legs.iter().for_each(|leg| describe(&mut head, shared, leg));
    head
}

fn describe(out: &mut Vec<u8>, shared: &SharedCapture, leg: &Leg) {
    let mark = LegMark::new(shared.start.call.clone(), leg.clone(), shared.zero_ns);
    pcapng::interface(out, leg.as_str(), &mark.to_comment());
}
