//! Session descriptions in a capture: what each says of the payload types that a socket takes, from
//! its time on. A socket is used again by other calls, and a call may change its mind.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{DYNAMIC, PayloadMeaning};
use crate::replay::flows::SocketPair;

/// Descriptions that are kept; those of later calls are not.
const MAX_DESCRIPTIONS: usize = 65_536;

/// How much older than the sender's an SDP of the receiver may be: as long as it rings between offer
/// and answer. An older one is of an earlier call.
const LONGEST_RINGING: Duration = Duration::from_secs(300);

/// Payload types that SDPs in the capture map.
#[derive(Debug, Default)]
pub(in crate::replay) struct SdpSessions {
    sockets: HashMap<SocketAddr, Vec<SocketDescription>>,
    /// Sockets of each port, since addresses change on the way.
    ports: HashMap<u16, Vec<SocketAddr>>,
    descriptions: usize,
    /// Format that all SDPs give for a number; `None`: they differ.
    anywhere: HashMap<u8, Option<PayloadMeaning>>,
}

/// The payload types that a socket takes from a time of the file on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SocketDescription {
    at: Duration,
    formats: Vec<(u8, PayloadMeaning)>,
}

/// A media description that is being read.
#[derive(Debug, Default)]
struct AudioSection {
    host: Option<IpAddr>,
    /// Port of audio; 0: it is refused, or another medium.
    port: u16,
    formats: Vec<(u8, PayloadMeaning)>,
}

impl SdpSessions {
    /// Looks for an SDP in a message of any protocol: SIP, SAP; `at`: its time in the file.
    pub(in crate::replay) fn read(&mut self, at: Duration, message: &[u8]) {
        const MEDIA: &[u8] = b"m=audio ";
        if message.windows(MEDIA.len()).any(|window| window == MEDIA) {
            self.description(at, &String::from_utf8_lossy(message));
        }
    }

    fn description(&mut self, at: Duration, text: &str) {
        let mut of_all = None;
        let mut section: Option<AudioSection> = None;
        for line in text.lines().map(str::trim_end) {
            if let Some(connection) = line.strip_prefix("c=IN IP") {
                let address = connection.get(2..).and_then(address);
                let host = section.as_mut().map_or(&mut of_all, |one| &mut one.host);
                *host = address.or(*host);
            } else if let Some(media) = line.strip_prefix("m=") {
                self.note(at, section.take());
                let audio = media.strip_prefix("audio ").map(|rest| {
                    let number = rest.split([' ', '/']).next().unwrap_or_default();
                    number.parse().unwrap_or(0)
                });
                section = Some(AudioSection {
                    host: of_all,
                    port: audio.unwrap_or(0),
                    formats: Vec::new(),
                });
            } else if let Some(map) = line.strip_prefix("a=rtpmap:")
                && let Some(section) = &mut section
                && let Some((number, meaning)) = rtpmap(map)
            {
                section.formats.retain(|(other, _)| *other != number);
                section.formats.push((number, meaning));
            }
        }
        self.note(at, section);
    }

    fn note(&mut self, at: Duration, section: Option<AudioSection>) {
        let Some(section) = section.filter(|section| section.port != 0) else {
            return;
        };
        for &(number, meaning) in &section.formats {
            let agreed = self.anywhere.entry(number).or_insert(Some(meaning));
            *agreed = agreed.filter(|agreed| *agreed == meaning);
        }
        let Some(host) = section.host else { return };
        if self.descriptions >= MAX_DESCRIPTIONS {
            return;
        }
        let socket = SocketAddr::new(host, section.port);
        let known = self.sockets.entry(socket).or_default();
        if known.is_empty() {
            self.ports.entry(section.port).or_default().push(socket);
        }
        let description = SocketDescription {
            at,
            formats: section.formats,
        };
        let place = known.partition_point(|other| other.at <= at);
        // A message that is sent again says nothing new.
        let before = place.checked_sub(1).map(|before| &known[before]);
        if before.is_some_and(|before| before.formats == description.formats) {
            return;
        }
        known.insert(place, description);
        self.descriptions += 1;
    }

    /// Times after `first`, up to `last`, from which on the descriptions of the two sockets may say
    /// something else; each twice.
    pub(super) fn changes(
        &self,
        (from, to): SocketPair,
        first: Duration,
        last: Duration,
    ) -> impl Iterator<Item = (Duration, Duration)> {
        let known = [from, to].map(|socket| self.sockets.get(&socket));
        let times = known.into_iter().flatten().flatten().map(|one| one.at);
        let mut times: Vec<_> = times.filter(|at| (first..=last).contains(at)).collect();
        times.sort_unstable();
        times.dedup();
        times.into_iter().map(|at| (at, at))
    }

    /// Format of a number between two sockets at a time: by the newest SDP of the receiver, else of
    /// the sender, else of any socket with one of the two ports, since addresses change on the way.
    pub(super) fn between(
        &self,
        number: u8,
        (from, to): SocketPair,
        at: Duration,
    ) -> Option<PayloadMeaning> {
        let of = |socket| self.newest(socket, number, at);
        match (of(to), of(from)) {
            (Some((said, _)), Some((later, meaning)))
                if later.saturating_sub(said) > LONGEST_RINGING =>
            {
                Some(meaning)
            }
            (Some((_, meaning)), _) | (None, Some((_, meaning))) => Some(meaning),
            (None, None) => {
                let ports = [from.port(), to.port()].map(|port| self.ports.get(&port));
                let sockets = ports.into_iter().flatten().flatten();
                agreed(sockets.filter_map(|socket| Some(of(*socket)?.1)))
            }
        }
    }

    /// Format that all SDPs of the receiver, or else of the sender, give for a number up to a time.
    pub(super) fn ever(
        &self,
        number: u8,
        (from, to): SocketPair,
        until: Duration,
    ) -> Option<PayloadMeaning> {
        let all_of = |socket| {
            let known = self.sockets.get(&socket)?;
            let known = known.iter().take_while(|one| one.at <= until);
            agreed(known.filter_map(|one| one.format(number)))
        };
        all_of(to).or_else(|| all_of(from))
    }

    /// Format that all SDPs of the file give for a number.
    pub(super) fn anywhere(&self, number: u8) -> Option<PayloadMeaning> {
        self.anywhere.get(&number).copied().flatten()
    }

    /// Time of the newest SDP of a socket up to a time, and the format by it; nothing where several
    /// of one time differ.
    fn newest(
        &self,
        socket: SocketAddr,
        number: u8,
        at: Duration,
    ) -> Option<(Duration, PayloadMeaning)> {
        let known = self.sockets.get(&socket)?;
        let before = &known[..known.partition_point(|one| one.at <= at)];
        let newest = before.last()?.at;
        let of_one_time = before.iter().rev().take_while(|one| one.at == newest);
        let meaning = agreed(of_one_time.filter_map(|one| one.format(number)))?;
        Some((newest, meaning))
    }
}

impl SocketDescription {
    fn format(&self, number: u8) -> Option<PayloadMeaning> {
        let mut formats = self.formats.iter();
        formats.find_map(|(other, meaning)| (*other == number).then_some(*meaning))
    }
}

/// The meaning that all are, if there is one.
fn agreed(meanings: impl Iterator<Item = PayloadMeaning>) -> Option<PayloadMeaning> {
    let mut meanings = meanings;
    let first = meanings.next()?;
    meanings.all(|meaning| meaning == first).then_some(first)
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.split(['/', ' ']).next()?.parse().ok()
}

fn rtpmap(text: &str) -> Option<(u8, PayloadMeaning)> {
    let (number, encoding) = text.trim().split_once(' ')?;
    let number: u8 = number.parse().ok()?;
    // What is below is fixed, or was never said to change.
    let meaning = PayloadMeaning::of_encoding(encoding)?;
    DYNAMIC.contains(&number).then_some((number, meaning))
}
