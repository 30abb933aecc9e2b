//! Reads UDP datagrams out of capture files: pcap and pcapng, gzipped or not, one
//! after the other, so that a file may be larger than memory. The only module that
//! uses `pcap-parser`; what a frame carries says `layers`.

mod fragments;
mod held;
mod input;
mod layers;
mod unread;

use std::io;
use std::time::Duration;

use pcap_parser::pcapng::{
    Block, InterfaceDescriptionBlock, InterfaceStatisticsBlock, OptionCode, PcapNGOption,
};
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Linktype, PcapBlockOwned, PcapError};

use self::fragments::FragmentTable;
pub use self::held::{
    BorrowedDatagram, CaptureError, CapturePass, CaptureSummary, CapturedDatagram, HeldCapture,
    RecordedCall, from_bytes, read,
};
pub use self::input::CaptureInput;
use self::layers::FrameContent;
pub use self::unread::{UnreadCounts, UnreadReason};
use crate::capture::mark::{CaptureCompleteness, LegMark};

/// First size of the read buffer; it grows with the largest block up to [`MAX_BUFFER`].
const BUFFER: usize = 1 << 18;
const MAX_BUFFER: usize = 1 << 26;

/// Type of a pcapng block that newer files have no more.
const OBSOLETE_PACKET: u32 = 2;

/// Legs of a capture of ours; no call has as many.
const MAX_LEGS: usize = 64;

/// Shows what a file holds, up to so many packets.
fn show<E: From<CaptureError>>(
    (source, trouble): (Box<dyn io::Read + Send + '_>, input::ReadTrouble),
    name: &str,
    limit: Option<u64>,
    visit: &mut dyn FnMut(CapturePass<'_>) -> Result<(), E>,
) -> Result<CaptureSummary, E> {
    let mut reader = match pcap_parser::create_reader(BUFFER, source) {
        Ok(reader) => reader,
        Err(PcapError::ReadError) => {
            return Err(CaptureError::Unreadable {
                path: name.to_owned(),
                source: io::Error::other(trouble.told()),
            }
            .into());
        }
        Err(_) => return Err(CaptureError::NotACapture(name.to_owned()).into()),
    };
    let mut decoder = CaptureDecoder::default();
    let mut source = ReaderSource {
        reader: reader.as_mut(),
        buffer: BUFFER,
        starved: false,
    };
    let broken = loop {
        if limit.is_some_and(|limit| decoder.summary.packets >= limit) {
            break None;
        }
        match source.advance(&mut decoder, visit)? {
            Ok(true) => {}
            Ok(false) => break None,
            Err(READING_FAILED) => break Some(trouble.told()),
            Err(flaw) => break Some(flaw.to_owned()),
        }
    };
    let consumed = source.reader.consumed();
    let mut summary = decoder.finish();
    summary.broken = broken.map(|flaw| {
        format!(
            "{flaw} at byte {consumed}, after {} packets",
            summary.packets
        )
    });
    Ok(summary)
}

/// The reader and how far it has been helped along.
struct ReaderSource<'a> {
    reader: &'a mut dyn PcapReaderIterator,
    buffer: usize,
    /// The last refill found the end of the file.
    starved: bool,
}

/// The need of the reader before it can go on.
enum ReaderNeed {
    Bytes,
    Room,
}

const READING_FAILED: &str = "reading failed";

impl ReaderSource<'_> {
    /// Takes one block, or makes the reader able to; `false` at the end.
    fn advance<E>(
        &mut self,
        decoder: &mut CaptureDecoder,
        visit: &mut dyn FnMut(CapturePass<'_>) -> Result<(), E>,
    ) -> Result<Result<bool, &'static str>, E> {
        let need = match self.reader.next() {
            Ok((consumed, block)) => {
                if let Some(seen) = decoder.block(&block) {
                    visit(seen)?;
                }
                self.reader.consume(consumed);
                return Ok(Ok(true));
            }
            Err(PcapError::Eof) => return Ok(Ok(false)),
            Err(PcapError::Incomplete(_)) if !self.starved => ReaderNeed::Bytes,
            Err(PcapError::Incomplete(_) | PcapError::UnexpectedEof) => {
                return Ok(Err("the file is cut off in a block"));
            }
            Err(PcapError::BufferTooSmall) => ReaderNeed::Room,
            Err(PcapError::ReadError) => return Ok(Err(READING_FAILED)),
            Err(_) => return Ok(Err("a block makes no sense")),
        };
        Ok(match need {
            ReaderNeed::Bytes => self.refill(),
            ReaderNeed::Room => self.grow(),
        })
    }

    fn refill(&mut self) -> Result<bool, &'static str> {
        match self.reader.refill() {
            Ok(()) => {
                // A refill that brought nothing must not be tried for ever.
                self.starved = self.reader.reader_exhausted();
                Ok(true)
            }
            Err(PcapError::BufferTooSmall) => self.grow(),
            Err(_) => Err(READING_FAILED),
        }
    }

    fn grow(&mut self) -> Result<bool, &'static str> {
        if self.buffer >= MAX_BUFFER {
            return Err("a block is too large");
        }
        self.buffer *= 2;
        self.reader.grow(self.buffer);
        Ok(true)
    }
}

/// The knowledge from earlier blocks that later ones need.
#[derive(Default)]
struct CaptureDecoder {
    summary: CaptureSummary,
    legacy: Option<LegacyFormat>,
    /// Byte order of the present pcapng section.
    big_endian: bool,
    interfaces: Vec<CaptureInterface>,
    fragments: FragmentTable,
    /// The last packet that was put together.
    joined: Vec<u8>,
}

#[derive(Clone, Copy)]
struct LegacyFormat {
    link: Linktype,
    nanoseconds: bool,
}

#[derive(Clone, Copy)]
struct CaptureInterface {
    link: Linktype,
    units_per_second: u64,
    offset_seconds: i64,
    /// Place among the legs that the capture tells.
    leg: Option<usize>,
}

impl CaptureDecoder {
    fn block<'b>(&'b mut self, block: &'b PcapBlockOwned<'b>) -> Option<CapturePass<'b>> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.legacy = Some(LegacyFormat {
                    // The bits above say how long the frames' check sequences are.
                    link: Linktype(header.network.0 & 0xffff),
                    nanoseconds: header.is_nanosecond_precision(),
                });
                None
            }
            PcapBlockOwned::Legacy(packet) => {
                let format = self.legacy?;
                let fraction = if format.nanoseconds {
                    Duration::from_nanos(packet.ts_usec.into())
                } else {
                    Duration::from_micros(packet.ts_usec.into())
                };
                let at = Duration::from_secs(packet.ts_sec.into()) + fraction;
                self.packet(at, format.link, None, packet.data)
            }
            PcapBlockOwned::NG(block) => self.section_block(block),
        }
    }

    fn section_block<'b>(&'b mut self, block: &'b Block<'b>) -> Option<CapturePass<'b>> {
        match block {
            Block::SectionHeader(section) => {
                self.interfaces.clear();
                self.big_endian = section.big_endian();
            }
            Block::InterfaceDescription(interface) => {
                let leg = comment(&interface.options)
                    .and_then(LegMark::parse)
                    .and_then(|mark| self.leg(mark));
                let interface = CaptureInterface::new(interface, self.big_endian);
                self.interfaces.push(CaptureInterface { leg, ..interface });
            }
            Block::InterfaceStatistics(statistics) => self.statistics(statistics),
            Block::EnhancedPacket(packet) => {
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                return self.of_interface(packet.if_id, Some(units), packet.packet_data());
            }
            // It is of the first interface, and has no time.
            Block::SimplePacket(packet) => {
                return self.of_interface(0, None, packet.packet_data());
            }
            // The parser gives the number as if it were little-endian.
            Block::Unknown(block)
                if [OBSOLETE_PACKET, OBSOLETE_PACKET.swap_bytes()].contains(&block.block_type) =>
            {
                return self.obsolete(block.data);
            }
            _ => {}
        }
        None
    }

    /// A packet of that interface, at a time in its units.
    fn of_interface<'b>(
        &'b mut self,
        interface: u32,
        units: Option<u64>,
        data: &'b [u8],
    ) -> Option<CapturePass<'b>> {
        let Some(&interface) = self.interfaces.get(interface as usize) else {
            self.summary.packets += 1;
            self.summary.unread.count(UnreadReason::NoInterface, 1);
            return None;
        };
        let at = units.map_or(Duration::ZERO, |units| interface.time(units));
        self.packet(at, interface.link, interface.leg, data)
    }

    /// A packet block as it was before the enhanced ones (draft-ietf-opsawg-pcapng, 11.1).
    fn obsolete<'b>(&'b mut self, body: &'b [u8]) -> Option<CapturePass<'b>> {
        let (head, data) = body.split_first_chunk::<20>()?;
        let big_endian = self.big_endian;
        let word = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            match big_endian {
                true => u32::from_be_bytes(bytes),
                false => u32::from_le_bytes(bytes),
            }
        };
        let interface = match big_endian {
            true => u16::from_be_bytes([head[0], head[1]]),
            false => u16::from_le_bytes([head[0], head[1]]),
        };
        let units = u64::from(word(4)) << 32 | u64::from(word(8));
        let data = data.get(..word(12) as usize).unwrap_or(data);
        self.of_interface(interface.into(), Some(units), data)
    }

    /// The place of a leg that an interface stands for. What is told of another
    /// call, or of more legs than there are, is no leg of this capture.
    fn leg(&mut self, mark: LegMark) -> Option<usize> {
        let recorded = self.summary.recorded.get_or_insert_with(|| RecordedCall {
            call: mark.call.clone(),
            legs: Vec::new(),
            zero: Duration::from_nanos(mark.zero_ns),
            end: None,
            missing: CaptureCompleteness::default(),
        });
        if recorded.call != mark.call || recorded.zero != Duration::from_nanos(mark.zero_ns) {
            return None;
        }
        let known = recorded.legs.iter().position(|leg| *leg == mark.leg);
        known.or_else(|| {
            let place = recorded.legs.len();
            (place < MAX_LEGS).then(|| {
                recorded.legs.push(mark.leg);
                place
            })
        })
    }

    fn statistics(&mut self, statistics: &InterfaceStatisticsBlock<'_>) {
        let interface = self.interfaces.get(statistics.if_id as usize);
        let (Some(interface), Some(recorded)) = (
            interface.filter(|interface| interface.leg.is_some()),
            &mut self.summary.recorded,
        ) else {
            return;
        };
        let units = u64::from(statistics.ts_high) << 32 | u64::from(statistics.ts_low);
        recorded.end = recorded.end.max(Some(interface.time(units)));
        if let Some(missing) = comment(&statistics.options).and_then(CaptureCompleteness::parse) {
            recorded.missing = missing;
        }
    }

    fn packet<'b>(
        &'b mut self,
        at: Duration,
        link: Linktype,
        leg: Option<usize>,
        data: &'b [u8],
    ) -> Option<CapturePass<'b>> {
        self.summary.packets += 1;
        let found = match layers::open(link.0, data) {
            Ok(FrameContent::Fragment(fragment)) => {
                let whole = self.fragments.add(fragment)?;
                self.summary.joined += whole.packets - 1;
                self.joined = whole.bytes;
                layers::reassembled(fragment.of, &self.joined)
            }
            found => found,
        };
        let why = match found {
            Ok(FrameContent::Udp { from, to, payload }) => {
                self.summary.datagrams += 1;
                return Some(CapturePass::Datagram(BorrowedDatagram {
                    at,
                    from,
                    to,
                    payload,
                    leg,
                }));
            }
            Ok(FrameContent::Tcp(bytes)) => {
                self.summary.unread.count(UnreadReason::Tcp, 1);
                return Some(CapturePass::Tcp { at, bytes });
            }
            // Of a tunnel whose own packets were fragments: not twice.
            Ok(FrameContent::Fragment(_)) => UnreadReason::Fragment,
            Err(why) => why,
        };
        self.summary.unread.count(why, 1);
        None
    }

    fn finish(mut self) -> CaptureSummary {
        let lone = self.fragments.left();
        self.summary.unread.count(UnreadReason::Fragment, lone);
        self.summary
    }
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;

impl CaptureInterface {
    fn new(interface: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        // The parser's own getter reads this option in the wrong byte order on big-endian files.
        let offset = interface
            .options
            .iter()
            .find(|option| option.code == OptionCode::IfTsoffset)
            .and_then(|option| option.value.first_chunk())
            .map_or(0, |&bytes| {
                if big_endian {
                    i64::from_be_bytes(bytes)
                } else {
                    i64::from_le_bytes(bytes)
                }
            });
        Self {
            link: interface.linktype,
            units_per_second: units_per_second(interface.if_tsresol),
            offset_seconds: offset,
            leg: None,
        }
    }

    /// Since the Unix epoch; what lies before it, or beyond all time, is moved to its edge.
    fn time(self, units: u64) -> Duration {
        let since_offset = i128::from(units) * NANOS_PER_SECOND / i128::from(self.units_per_second);
        let nanos = since_offset + i128::from(self.offset_seconds) * NANOS_PER_SECOND;
        let nanos = nanos.max(0);
        u64::try_from(nanos / NANOS_PER_SECOND).map_or(Duration::MAX, |seconds| {
            let fraction = u32::try_from(nanos % NANOS_PER_SECOND);
            Duration::new(seconds, fraction.expect("below one second"))
        })
    }
}

/// The first comment of a block.
fn comment<'a>(options: &'a [PcapNGOption<'_>]) -> Option<&'a str> {
    let comment = options.iter().find(|o| o.code == OptionCode::Comment)?;
    comment.as_str().ok()
}

/// The pcapng option `if_tsresol`: a power of 10, or of 2 with the top bit set
/// (which the parser's own getter refuses). What no clock has counts as the default.
fn units_per_second(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7f);
    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent).unwrap_or(1_000_000)
}

#[cfg(test)]
mod tests;
