//! Formats of a capture's payload types. A session knows Asterisk's own numbers; phones and
//! browsers negotiate others, which are known from the command line, from an SDP in the same file,
//! or from the shape of the packets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use asterscribe_codecs::{Codec, MediaFormat, PayloadKind};

/// Sockets of which SDPs are kept; those of later calls are not.
const MAX_SOCKETS: usize = 16_384;

/// Payload types that may be given out dynamically (RFC 3551, section 6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 35..=127;

/// Format of a payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadMeaning {
    /// Audio that is decoded here.
    Audio(Codec),
    /// Telephone events.
    TelephoneEvent,
    /// Comfort noise.
    ComfortNoise,
    /// A format that this program does not decode.
    Other,
}

/// A payload type with its format, as given on the command line: `96=opus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldPayload {
    number: u8,
    meaning: PayloadMeaning,
}

impl FromStr for ToldPayload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, name) = text
            .split_once('=')
            .ok_or("a payload type, = and a format: 96=opus")?;
        let number: u8 = number
            .trim()
            .parse()
            .ok()
            .filter(|number| *number < 128)
            .ok_or("the payload type must be a number from 0 to 127")?;
        let name = name.trim().to_ascii_lowercase();
        let meaning = match name.as_str() {
            "telephone-event" | "dtmf" => PayloadMeaning::TelephoneEvent,
            "cn" => PayloadMeaning::ComfortNoise,
            "pcmu" => PayloadMeaning::Audio(Codec::Ulaw),
            "pcma" => PayloadMeaning::Audio(Codec::Alaw),
            name => match name.parse::<MediaFormat>() {
                Ok(format) => PayloadMeaning::Audio(format.codec()),
                Err(error) => return Err(error.to_string()),
            },
        };
        Ok(Self { number, meaning })
    }
}

impl PayloadMeaning {
    /// By its encoding name, clock and channels in an SDP (RFC 8866 section 6.6).
    fn of_encoding(encoding: &str) -> Option<Self> {
        let mut parts = encoding.trim().split('/');
        let name = parts.next()?.to_ascii_lowercase();
        let clock: u32 = parts.next()?.trim().parse().ok()?;
        let channels = parts
            .next()
            .map_or(Some(1), |channels| channels.trim().parse().ok())?;
        let linear = |clock| match clock {
            8_000 => Some(Codec::Slin),
            12_000 => Some(Codec::Slin12),
            16_000 => Some(Codec::Slin16),
            24_000 => Some(Codec::Slin24),
            32_000 => Some(Codec::Slin32),
            44_100 => Some(Codec::Slin44),
            48_000 => Some(Codec::Slin48),
            96_000 => Some(Codec::Slin96),
            _ => None,
        };
        let codec = match (name.as_str(), clock, channels) {
            ("opus", 48_000, _) => Some(Codec::Opus),
            ("pcmu", 8_000, 1) => Some(Codec::Ulaw),
            ("pcma", 8_000, 1) => Some(Codec::Alaw),
            ("gsm", 8_000, 1) => Some(Codec::Gsm),
            ("g722", 8_000, 1) => Some(Codec::G722),
            ("l16", clock, 1) => linear(clock),
            ("telephone-event", _, _) => return Some(Self::TelephoneEvent),
            ("cn", _, _) => return Some(Self::ComfortNoise),
            _ => None,
        };
        Some(codec.map_or(Self::Other, Self::Audio))
    }

    /// Payload type by which a session knows the format; `number`: the one in the packets.
    pub(super) fn number(self, number: u8) -> u8 {
        let wanted = match self {
            Self::Audio(codec) => PayloadKind::Audio(codec),
            Self::TelephoneEvent => PayloadKind::TelephoneEvent,
            Self::ComfortNoise => PayloadKind::ComfortNoise,
            Self::Other => PayloadKind::Unknown(number),
        };
        let known = |number: &u8| match (PayloadKind::classify(*number), self) {
            (PayloadKind::Unknown(_), Self::Other) => true,
            (payload, _) => payload == wanted,
        };
        Some(number)
            .filter(known)
            .or_else(|| (0..128).find(known))
            .unwrap_or(number)
    }
}

/// Payload types that SDPs in the capture map.
#[derive(Debug, Default)]
pub(super) struct SdpSessions {
    sockets: HashMap<SocketAddr, Vec<(u8, PayloadMeaning)>>,
    /// Format that all SDPs give for a number; `None`: they differ.
    anywhere: HashMap<u8, Option<PayloadMeaning>>,
}

impl SdpSessions {
    /// Looks for an SDP in a message of any protocol: SIP, SAP.
    pub(super) fn read(&mut self, message: &[u8]) {
        const MEDIA: &[u8] = b"m=audio ";
        if message.windows(MEDIA.len()).any(|window| window == MEDIA) {
            self.description(&String::from_utf8_lossy(message));
        }
    }

    fn description(&mut self, text: &str) {
        let (mut of_all, mut host, mut port) = (None, None, None);
        for line in text.lines().map(str::trim_end) {
            if let Some(connection) = line.strip_prefix("c=IN IP") {
                let address = connection.get(2..).and_then(address);
                host = address.or(host);
                if port.is_none() {
                    of_all = host;
                }
            } else if let Some(media) = line.strip_prefix("m=") {
                host = of_all;
                let audio = media.strip_prefix("audio ").map(|rest| {
                    let number = rest.split([' ', '/']).next().unwrap_or_default();
                    number.parse::<u16>().unwrap_or(0)
                });
                port = Some(audio.unwrap_or(0));
            } else if let Some(map) = line.strip_prefix("a=rtpmap:")
                && let Some(port) = port.filter(|port| *port != 0)
                && let Some((number, meaning)) = rtpmap(map)
            {
                self.note(
                    host.map(|host| SocketAddr::new(host, port)),
                    number,
                    meaning,
                );
            }
        }
    }

    fn note(&mut self, socket: Option<SocketAddr>, number: u8, meaning: PayloadMeaning) {
        let agreed = self.anywhere.entry(number).or_insert(Some(meaning));
        *agreed = agreed.filter(|agreed| *agreed == meaning);
        let Some(socket) = socket else { return };
        if self.sockets.len() >= MAX_SOCKETS && !self.sockets.contains_key(&socket) {
            return;
        }
        let known = self.sockets.entry(socket).or_default();
        known.retain(|(other, _)| *other != number);
        known.push((number, meaning));
    }

    /// Format of a number between two sockets: by the SDP of the receiver, else of the sender, else
    /// of any socket with one of the two ports, since addresses change on the way.
    fn between(&self, number: u8, (from, to): (SocketAddr, SocketAddr)) -> Option<PayloadMeaning> {
        let at = |socket: &SocketAddr| {
            let known = self.sockets.get(socket)?.iter();
            known
                .copied()
                .find_map(|(other, meaning)| (other == number).then_some(meaning))
        };
        let by_port = || {
            let mut agreed = None;
            let ports = [from.port(), to.port()];
            let same = self.sockets.keys().filter(|s| ports.contains(&s.port()));
            for meaning in same.filter_map(at) {
                if *agreed.get_or_insert(meaning) != meaning {
                    return None;
                }
            }
            agreed
        };
        at(&to).or_else(|| at(&from)).or_else(by_port)
    }
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

/// Packets of one payload type in a stream, and whether they look like Opus: the duration in each
/// packet is the step of the timestamps to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct PayloadShape {
    pub(super) number: u8,
    pub(super) packets: u64,
    like_opus: u32,
    unlike_opus: u32,
}

impl PayloadShape {
    /// Matching pairs from which on it is no coincidence.
    const ENOUGH: u32 = 10;

    pub(super) fn new(number: u8) -> Self {
        Self {
            number,
            packets: 0,
            like_opus: 0,
            unlike_opus: 0,
        }
    }

    /// Takes in a packet `ticks` behind one that would last `lasts` as Opus; `None`: that one is
    /// not valid Opus.
    pub(super) fn follows(&mut self, lasts: Option<u64>, ticks: u64) {
        match lasts {
            Some(lasts) if lasts == ticks => self.like_opus += 1,
            // Nothing is sent in pauses.
            Some(lasts) if ticks > lasts && (ticks - lasts).is_multiple_of(120) => {}
            _ => self.unlike_opus += 1,
        }
    }

    /// Whether a remark is due if the format is unknown. Numbers below the dynamic ones are fixed,
    /// and the leg's findings name them.
    pub(super) fn is_worth_telling(&self) -> bool {
        DYNAMIC.contains(&self.number) && self.packets >= 5
    }

    fn is_opus(&self) -> bool {
        self.like_opus >= Self::ENOUGH && self.like_opus / 9 >= self.unlike_opus
    }
}

/// Duration of a packet if it is Opus, in ticks of 48 kHz; `None` if it cannot be.
pub(super) fn opus_ticks(number: u8, payload: &[u8]) -> Option<u64> {
    if !DYNAMIC.contains(&number) {
        return None;
    }
    let samples = Codec::Opus.sample_count(payload).ok()?;
    Some(Codec::Opus.rtp_ticks(samples))
}

/// Decision on the format of one payload type of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadVerdict {
    /// The format is Asterisk's for this number.
    AsNumbered,
    /// The format is named on the command line or by SDP.
    Told(PayloadMeaning),
    /// The packets look like Opus.
    Opus,
    /// The format is unknown.
    Unknown,
}

/// Decides on the format of a payload type between two sockets.
pub(super) fn judge(
    told: &[ToldPayload],
    sessions: &SdpSessions,
    sockets: (SocketAddr, SocketAddr),
    kind: &PayloadShape,
) -> PayloadVerdict {
    let number = kind.number;
    let by_option = told.iter().rev().find(|told| told.number == number);
    if let Some(told) = by_option {
        return PayloadVerdict::Told(told.meaning);
    }
    if let Some(meaning) = sessions.between(number, sockets) {
        return PayloadVerdict::Told(meaning);
    }
    if kind.is_opus() && PayloadKind::classify(number) != PayloadKind::Audio(Codec::Opus) {
        return PayloadVerdict::Opus;
    }
    if !matches!(PayloadKind::classify(number), PayloadKind::Unknown(_)) {
        return PayloadVerdict::AsNumbered;
    }
    match sessions.anywhere.get(&number) {
        Some(Some(meaning)) => PayloadVerdict::Told(*meaning),
        _ => PayloadVerdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@192.0.2.1 SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n\
        v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 96 101 0\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
        m=video 4002 RTP/AVP 97\r\nc=IN IP4 192.0.2.10\r\na=rtpmap:97 VP8/90000\r\n\
        m=audio 4004 RTP/AVP 97 118\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:97 L16/24000\r\na=rtpmap:118 G729/8000\r\n";

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_session_description_tells_each_medium_s_numbers() {
        let mut sessions = SdpSessions::default();
        sessions.read(INVITE.as_bytes());
        let far = socket("198.51.100.1:9");
        let of = |number, to| sessions.between(number, (far, socket(to)));
        let opus = Some(PayloadMeaning::Audio(Codec::Opus));
        assert_eq!(of(96, "192.0.2.9:4000"), opus);
        assert_eq!(
            of(101, "192.0.2.9:4000"),
            Some(PayloadMeaning::TelephoneEvent)
        );
        let wide = Some(PayloadMeaning::Audio(Codec::Slin24));
        assert_eq!(of(97, "[2001:db8::1]:4004"), wide);
        assert_eq!(of(118, "[2001:db8::1]:4004"), Some(PayloadMeaning::Other));
        assert_eq!(of(96, "[2001:db8::1]:4004"), None);
        assert_eq!(of(97, "192.0.2.10:4002"), None);
        // Behind a NAT the port stays, as a rule.
        assert_eq!(of(96, "203.0.113.5:4000"), opus);
        assert_eq!(of(96, "203.0.113.5:4001"), None);
    }

    #[test]
    fn what_sessions_do_not_agree_on_is_nobody_s() {
        let mut sessions = SdpSessions::default();
        sessions.read(INVITE.as_bytes());
        let kind = PayloadShape::new(96);
        let sockets = (socket("198.51.100.1:9"), socket("198.51.100.1:10"));
        let opus = PayloadVerdict::Told(PayloadMeaning::Audio(Codec::Opus));
        assert_eq!(judge(&[], &sessions, sockets, &kind), opus);
        sessions.read(INVITE.replace("opus/48000/2", "iLBC/8000").as_bytes());
        assert_eq!(
            judge(&[], &sessions, sockets, &kind),
            PayloadVerdict::Unknown
        );
        let told = ["96=slin16".parse().unwrap(), "96=alaw".parse().unwrap()];
        let alaw = PayloadVerdict::Told(PayloadMeaning::Audio(Codec::Alaw));
        assert_eq!(judge(&told, &sessions, sockets, &kind), alaw);
    }

    #[test]
    fn an_option_names_a_number_and_a_format() {
        for (text, number, meaning) in [
            ("96=opus", 96, PayloadMeaning::Audio(Codec::Opus)),
            (" 8 = PCMU ", 8, PayloadMeaning::Audio(Codec::Ulaw)),
            ("127=telephone-event", 127, PayloadMeaning::TelephoneEvent),
        ] {
            assert_eq!(text.parse(), Ok(ToldPayload { number, meaning }));
        }
        for text in [
            "", "96", "=opus", "128=opus", "-1=opus", "96=", "96=mp3", "96=g729",
        ] {
            assert!(text.parse::<ToldPayload>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_session_hears_of_every_meaning_by_a_number_of_its_own() {
        for format in MediaFormat::ALL {
            let number = PayloadMeaning::Audio(format.codec()).number(96);
            assert_eq!(
                PayloadKind::classify(number),
                PayloadKind::Audio(format.codec())
            );
        }
        assert_eq!(PayloadMeaning::Audio(Codec::Slin).number(11), 11);
        assert_eq!(PayloadMeaning::TelephoneEvent.number(126), 101);
        assert_eq!(PayloadMeaning::Other.number(96), 96);
        let hidden = PayloadMeaning::Other.number(123);
        assert!(matches!(
            PayloadKind::classify(hidden),
            PayloadKind::Unknown(_)
        ));
    }

    #[test]
    fn only_what_lasts_as_long_as_its_timestamps_say_is_opus() {
        let shaped = |steps: &[(Option<u64>, u64)]| {
            let mut kind = PayloadShape::new(96);
            steps
                .iter()
                .for_each(|&(lasts, ticks)| kind.follows(lasts, ticks));
            kind.is_opus()
        };
        assert!(shaped(&[(Some(960), 960); 10]));
        assert!(!shaped(&[(Some(960), 960); 9]));
        assert!(!shaped(&[(Some(960), 480); 50]));
        assert!(!shaped(&[(None, 960); 50]));
        let with_pauses = [(Some(960), 960), (Some(960), 19_200)].repeat(10);
        assert!(shaped(&with_pauses));
        let mixed = [(Some(960), 960), (Some(960), 160)].repeat(50);
        assert!(!shaped(&mixed));
    }
}
