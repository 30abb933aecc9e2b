//! Reads UDP datagrams out of capture files: pcap and pcapng, through
//! Ethernet, Linux cooked and raw IP link layers. The only module that uses
//! `pcap-parser` and `etherparse`.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};
use pcap_parser::pcapng::{
    Block, InterfaceDescriptionBlock, InterfaceStatisticsBlock, OptionCode, PcapNGOption,
};
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Linktype, PcapBlockOwned, PcapError};

use crate::call::{CallId, Leg};
use crate::capture::mark::{Completeness, Mark};

/// A UDP datagram as it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedDatagram {
    /// Since the Unix epoch, by the capturing machine's clock.
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

/// What a capture of ours tells about its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The call.
    pub call: CallId,
    /// Its legs in the order of their session.
    pub legs: Vec<Leg>,
    /// Zero of the call's clock, since the Unix epoch.
    pub zero: Duration,
    /// When the capture ended, if it says so: the call's hang-up, or an earlier stop.
    pub end: Option<Duration>,
    /// What is missing in it.
    pub missing: Completeness,
}

/// What a capture holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    /// The datagrams in file order.
    pub datagrams: Vec<CapturedDatagram>,
    /// Packets of any kind in the file.
    pub packets: u64,
    /// Packets that are not whole UDP datagrams over IP: other protocols, fragments, cut by the snap length.
    pub other_packets: u64,
    /// Where the file broke off or stopped making sense, if it did.
    pub broken: Option<String>,
    /// What it tells about the call, if it is one of ours.
    pub recorded: Option<Recorded>,
}

/// Why a file gives nothing at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It is neither pcap nor pcapng.
    #[error("{0} is neither a pcap nor a pcapng file")]
    NotACapture(String),
}

/// First size of the read buffer; it grows with the largest block up to [`MAX_BUFFER`].
const BUFFER: usize = 1 << 18;
const MAX_BUFFER: usize = 1 << 26;

/// Legs of a capture of ours; no call has as many.
const MAX_LEGS: usize = 64;

/// Reads a whole capture. What can be read of a broken file is returned, with the place where it broke off.
pub fn read(path: &Path) -> Result<Capture, CaptureError> {
    let name = path.display().to_string();
    let unreadable = |source| CaptureError::Unreadable {
        path: name.clone(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::Error::other("it is a directory")));
    }
    parse(file).map_err(|flaw| match flaw {
        Unusable::Unreadable => unreadable(io::Error::other("reading failed")),
        Unusable::NotACapture => CaptureError::NotACapture(name.clone()),
    })
}

/// Reads a capture that lies in memory.
pub fn from_bytes(bytes: &[u8]) -> Result<Capture, CaptureError> {
    parse(bytes).map_err(|_| CaptureError::NotACapture("what lies in memory".to_owned()))
}

enum Unusable {
    Unreadable,
    NotACapture,
}

fn parse(source: impl io::Read + Send) -> Result<Capture, Unusable> {
    match pcap_parser::create_reader(BUFFER, source) {
        Ok(mut reader) => Ok(read_blocks(reader.as_mut())),
        Err(PcapError::ReadError) => Err(Unusable::Unreadable),
        Err(_) => Err(Unusable::NotACapture),
    }
}

fn read_blocks(reader: &mut dyn PcapReaderIterator) -> Capture {
    let mut decoder = Decoder::default();
    let mut source = Source {
        reader,
        buffer: BUFFER,
        starved: false,
    };
    let broken = loop {
        match source.advance(&mut decoder) {
            Ok(true) => {}
            Ok(false) => break None,
            Err(flaw) => break Some(flaw),
        }
    };
    let Decoder { mut capture, .. } = decoder;
    capture.broken = broken.map(|flaw| {
        format!(
            "{flaw} at byte {}, after {} packets",
            source.reader.consumed(),
            capture.packets
        )
    });
    capture
}

/// The reader and how far it has been helped along.
struct Source<'a> {
    reader: &'a mut dyn PcapReaderIterator,
    buffer: usize,
    /// The last refill found the end of the file.
    starved: bool,
}

/// What the reader needs to go on.
enum Need {
    Bytes,
    Room,
}

impl Source<'_> {
    /// Takes one block, or makes the reader able to; `false` at the end.
    fn advance(&mut self, decoder: &mut Decoder) -> Result<bool, &'static str> {
        let need = match self.reader.next() {
            Ok((consumed, block)) => {
                decoder.block(&block);
                self.reader.consume(consumed);
                return Ok(true);
            }
            Err(PcapError::Eof) => return Ok(false),
            Err(PcapError::Incomplete(_)) if !self.starved => Need::Bytes,
            Err(PcapError::Incomplete(_) | PcapError::UnexpectedEof) => {
                return Err("the file is cut off in a block");
            }
            Err(PcapError::BufferTooSmall) => Need::Room,
            Err(PcapError::ReadError) => return Err("reading failed"),
            Err(_) => return Err("a block makes no sense"),
        };
        match need {
            Need::Bytes => self.refill(),
            Need::Room => self.grow(),
        }
    }

    fn refill(&mut self) -> Result<bool, &'static str> {
        let outcome = match self.reader.refill() {
            Ok(()) => Ok(true),
            Err(PcapError::BufferTooSmall) => Err(true),
            Err(_) => Err(false),
        };
        match outcome {
            Ok(_) => {
                // A refill that brought nothing must not be tried for ever.
                self.starved = self.reader.reader_exhausted();
                Ok(true)
            }
            Err(true) => self.grow(),
            Err(false) => Err("reading failed"),
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

/// What earlier blocks say about later ones.
#[derive(Default)]
struct Decoder {
    capture: Capture,
    legacy: Option<LegacyFormat>,
    /// Byte order of the present pcapng section.
    big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy)]
struct LegacyFormat {
    link: Linktype,
    nanoseconds: bool,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    units_per_second: u64,
    offset_seconds: i64,
    /// Place among the legs that the capture tells.
    leg: Option<usize>,
}

impl Decoder {
    fn block(&mut self, block: &PcapBlockOwned<'_>) {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.legacy = Some(LegacyFormat {
                    // The bits above say how long the frames' check sequences are.
                    link: Linktype(header.network.0 & 0xffff),
                    nanoseconds: header.is_nanosecond_precision(),
                });
            }
            PcapBlockOwned::Legacy(packet) => {
                let Some(format) = self.legacy else { return };
                let fraction = if format.nanoseconds {
                    Duration::from_nanos(packet.ts_usec.into())
                } else {
                    Duration::from_micros(packet.ts_usec.into())
                };
                self.packet(
                    Duration::from_secs(packet.ts_sec.into()) + fraction,
                    format.link,
                    None,
                    packet.data,
                );
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                self.interfaces.clear();
                self.big_endian = section.big_endian();
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let leg = comment(&interface.options)
                    .and_then(Mark::parse)
                    .and_then(|mark| self.leg(mark));
                let interface = Interface::new(interface, self.big_endian);
                self.interfaces.push(Interface { leg, ..interface });
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(statistics)) => {
                self.statistics(statistics);
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let Some(&interface) = self.interfaces.get(packet.if_id as usize) else {
                    self.capture.packets += 1;
                    self.capture.other_packets += 1;
                    return;
                };
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let data = packet.packet_data();
                self.packet(interface.time(units), interface.link, interface.leg, data);
            }
            // A simple packet has no time, and time is what a replay is about.
            PcapBlockOwned::NG(Block::SimplePacket(_)) => {
                self.capture.packets += 1;
                self.capture.other_packets += 1;
            }
            PcapBlockOwned::NG(_) => {}
        }
    }

    /// The place of a leg that an interface stands for. What is told of another
    /// call, or of more legs than there are, is no leg of this capture.
    fn leg(&mut self, mark: Mark) -> Option<usize> {
        let recorded = self.capture.recorded.get_or_insert_with(|| Recorded {
            call: mark.call.clone(),
            legs: Vec::new(),
            zero: Duration::from_nanos(mark.zero_ns),
            end: None,
            missing: Completeness::default(),
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
            &mut self.capture.recorded,
        ) else {
            return;
        };
        let units = u64::from(statistics.ts_high) << 32 | u64::from(statistics.ts_low);
        recorded.end = recorded.end.max(Some(interface.time(units)));
        if let Some(missing) = comment(&statistics.options).and_then(Completeness::parse) {
            recorded.missing = missing;
        }
    }

    fn packet(&mut self, at: Duration, link: Linktype, leg: Option<usize>, data: &[u8]) {
        self.capture.packets += 1;
        match udp(link, data) {
            Some((from, to, payload)) => {
                self.capture.datagrams.push(CapturedDatagram {
                    at,
                    from,
                    to,
                    payload: payload.to_vec(),
                    leg,
                });
            }
            None => self.capture.other_packets += 1,
        }
    }
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;

impl Interface {
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

/// Linux cooked headers end (version 1) or begin (version 2) with the EtherType
/// of what follows; of the hardware they were captured on nothing is needed.
const SLL_HEADER: usize = 16;
const SLL2_HEADER: usize = 20;

fn udp(link: Linktype, data: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let sliced = match link {
        Linktype::ETHERNET => SlicedPacket::from_ethernet(data),
        Linktype::LINUX_SLL => SlicedPacket::from_ether_type(
            ether_type(data, SLL_HEADER - 2)?,
            data.get(SLL_HEADER..)?,
        ),
        Linktype::LINUX_SLL2 => {
            SlicedPacket::from_ether_type(ether_type(data, 0)?, data.get(SLL2_HEADER..)?)
        }
        // Four bytes of address family in the capturing machine's byte order, then IP.
        Linktype::NULL | Linktype::LOOP => SlicedPacket::from_ip(data.get(4..)?),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | Linktype(12 | 14) => {
            SlicedPacket::from_ip(data)
        }
        _ => return None,
    }
    .ok()?;
    let (source, destination): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Udp(udp)) = sliced.transport else {
        return None;
    };
    let from = SocketAddr::new(source, udp.source_port());
    let to = SocketAddr::new(destination, udp.destination_port());
    Some((from, to, udp.payload()))
}

fn ether_type(data: &[u8], at: usize) -> Option<EtherType> {
    let bytes = data.get(at..)?.first_chunk()?;
    Some(EtherType(u16::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests;
