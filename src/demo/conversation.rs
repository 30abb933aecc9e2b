//! The call of the demonstration: packets of two parties, and their words.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use asterscribe::play::{EncodedClip, SoundBudget};
use asterscribe::replay::capture;
use asterscribe_call::TranscriptLine;
use asterscribe_clock as clock;
use asterscribe_codecs::SendFormat;
use asterscribe_rtp::{OutgoingStream, PayloadType, RtpTime, SeqNo, Ssrc, StreamStart};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

/// A two-party call through Asterisk 22, each party's audio in a flow of its own.
const CAPTURE: &[u8] = include_bytes!("../../fixtures/asterisk22_ulaw_snoop_pair.pcap");

/// Words of that call, as [`CAPTURE`] has them.
const SPOKEN: &str = include_str!("../../fixtures/asterisk22_ulaw_snoop_pair.words.json");

/// The parties of a call of people.
const PARTIES: [&str; 2] = ["caller", "callee"];

/// Prompts that make a conversation, each behind the party that says it.
const SAID: &str = include_str!("../../fixtures/people-call.txt");

/// Of people's words one in so many may be recognised wrongly.
const TOLERATED: usize = 10;

/// Silence between two prompts, packets of 20 ms.
const PAUSE: usize = 40;
const PACKET: Duration = Duration::from_millis(20);

/// Longest prompt that is taken. All prompts together may take the octets of a hundred such in
/// µ-law.
const LONGEST: Duration = Duration::from_secs(60);
const MOST_OCTETS: usize = 100 * 60 * 8_000;

/// µ-law: silence, and samples in a packet.
const SILENCE: u8 = 0xff;
const SAMPLES: u32 = 160;

/// A packet of one party, and the time at which it is sent.
struct DemoPacket {
    at: Duration,
    party: usize,
    datagram: Vec<u8>,
}

/// A party and what it says.
struct DemoParty {
    leg: String,
    sentences: Vec<String>,
}

/// A call of two parties.
pub(super) struct DemoConversation {
    /// Description of the call, printed before it begins.
    pub(super) what: &'static str,
    parties: Vec<DemoParty>,
    packets: Vec<DemoPacket>,
    /// One word in so many may be recognised wrongly; `None`: every letter counts.
    tolerated: Option<usize>,
}

impl DemoConversation {
    /// A call of synthetic voices, as Asterisk sent it, in the words that the demo model knows.
    pub(super) fn bundled() -> Result<Self> {
        let spoken: Value = serde_json::from_str(SPOKEN)?;
        let flows = spoken["flows"].as_array().context("no flows")?;
        let party = |flow: &Value| {
            let sentences = flow["sentences"].as_array()?.iter();
            let sentences = sentences.filter_map(|one| Some(one["text"].as_str()?.to_owned()));
            Some(DemoParty {
                leg: flow["leg"].as_str()?.to_owned(),
                sentences: sentences.collect(),
            })
        };
        let parties = flows.iter().map(party).collect::<Option<_>>();
        let ports: Vec<_> = flows
            .iter()
            .map(|flow| flow["source_port"].as_u64())
            .collect();
        let datagrams = capture::from_bytes(CAPTURE)?.datagrams;
        let first = datagrams.first().context("the capture is empty")?.at;
        let packets = datagrams.into_iter().filter_map(|datagram| {
            let from = Some(u64::from(datagram.from.port()));
            Some(DemoPacket {
                at: datagram.at.saturating_sub(first),
                party: ports.iter().position(|port| *port == from)?,
                datagram: datagram.payload,
            })
        });
        Ok(Self {
            what: "a real Asterisk call",
            parties: parties.context("the list of spoken words is damaged")?,
            packets: packets.collect(),
            tolerated: None,
        })
    }

    /// A call of people, put together from prompts of a list.
    pub(super) fn of_people(list: &Path) -> Result<Self> {
        let prompts = prompts(list)?;
        let budget = SoundBudget::new(MOST_OCTETS);
        let mut parties: Vec<DemoParty> = PARTIES
            .map(|leg| DemoParty {
                leg: leg.to_owned(),
                sentences: Vec::new(),
            })
            .into();
        let mut payloads = [Vec::new(), Vec::new()];
        for line in SAID.lines() {
            let turn = line.split_once(' ').and_then(|(leg, name)| {
                let party = PARTIES.iter().position(|party| *party == leg)?;
                Some((party, name))
            });
            let (party, name) = turn.context("the list of what people say is damaged")?;
            let (wav, text) = prompts
                .get(name)
                .with_context(|| format!("{} has no prompt {name}", list.display()))?;
            let wav = fs::read(wav).with_context(|| format!("cannot read {}", wav.display()))?;
            let clip = EncodedClip::from_wav(&wav, SendFormat::Ulaw, LONGEST, &budget)?;
            let said = (0..).map_while(|n| clip.packet(n).map(<[u8]>::to_vec));
            payloads[party].extend(said);
            parties[party].sentences.push(text.clone());
            let length = payloads[party].len() + PAUSE;
            for payloads in &mut payloads {
                payloads.resize(length, vec![SILENCE; SAMPLES as usize]);
            }
        }
        let mut packets = Vec::with_capacity(2 * payloads[0].len());
        for (party, payloads) in payloads.iter().enumerate() {
            let moments = (0..).map(|n| PACKET * n);
            let datagrams = datagrams(party, payloads)?.into_iter().zip(moments);
            packets.extend(datagrams.map(|(datagram, at)| DemoPacket {
                at,
                party,
                datagram,
            }));
        }
        packets.sort_by_key(|packet| packet.at);
        Ok(Self {
            what: "people's voices",
            packets,
            parties,
            tolerated: Some(TOLERATED),
        })
    }

    /// Labels of its parties.
    pub(super) fn legs(&self) -> impl Iterator<Item = &str> {
        self.parties.iter().map(|party| party.leg.as_str())
    }

    pub(super) fn length(&self) -> Duration {
        self.packets
            .last()
            .map_or(Duration::ZERO, |packet| packet.at)
    }

    /// Sends every packet at its moment, each party's from a socket of its own.
    pub(super) async fn send(&self, sockets: &[UdpSocket]) -> Result<()> {
        let start = Instant::from_std(clock::now());
        for packet in &self.packets {
            sleep_until(start + packet.at).await;
            let socket = &sockets[packet.party];
            socket.send(&packet.datagram).context("cannot send RTP")?;
        }
        Ok(())
    }

    /// Compares each party's words with what it said.
    pub(super) fn judge(&self, lines: &[TranscriptLine], out: &mut impl Write) -> Result<()> {
        writeln!(out)?;
        let mut failed = 0;
        for DemoParty { leg, sentences } in &self.parties {
            let of_leg = lines.iter().filter(|line| line.leg.as_str() == leg);
            let heard: Vec<_> = of_leg.map(|line| line.text.as_str()).collect();
            let (spoken, heard) = (sentences.join(" "), heard.join(" "));
            let is_loose = self.tolerated.is_some();
            let (said, got) = (in_words(&spoken, is_loose), in_words(&heard, is_loose));
            let wrong = differences(&said, &got);
            let verdict = match wrong {
                0 => "every word as spoken".to_owned(),
                wrong => format!("{wrong} of them not as spoken"),
            };
            writeln!(out, "{leg}: {} words, {verdict}", said.len())?;
            if wrong > 0 {
                writeln!(out, "  spoken: {spoken}\n  heard:  {heard}")?;
            }
            let tolerated = self.tolerated.map_or(0, |one_in| said.len() / one_in);
            failed += usize::from(wrong > tolerated);
        }
        let parties = self.parties.len();
        if failed > 0 {
            bail!("{failed} of {parties} legs were not transcribed as spoken");
        }
        Ok(())
    }
}

/// Sound file and text of each prompt of a list, by name.
fn prompts(list: &Path) -> Result<BTreeMap<String, (PathBuf, String)>> {
    let text = fs::read_to_string(list);
    let text = text.with_context(|| format!("cannot read {}", list.display()))?;
    let prompt = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [name, _, wav, text] = fields.as_slice() else {
            bail!("{} has a line that is no prompt: {line:?}", list.display());
        };
        Ok(((*name).to_owned(), (wav.into(), (*text).to_owned())))
    };
    let prompts: BTreeMap<_, _> = text.lines().map(prompt).collect::<Result<_>>()?;
    ensure!(!prompts.is_empty(), "{} is empty", list.display());
    Ok(prompts)
}

/// A party's payloads of µ-law as a stream of RTP.
fn datagrams(party: usize, payloads: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let payload_type = PayloadType::new(SendFormat::Ulaw.payload_type());
    let payload_type = payload_type.context("a payload type that is none")?;
    let mut stream = OutgoingStream::new(StreamStart {
        ssrc: Ssrc(u32::try_from(party)?),
        seq: SeqNo(0),
        time: RtpTime(0),
    });
    let datagrams = payloads.iter().map(|payload| {
        let mut datagram = Vec::new();
        stream.packet(payload_type, false, payload, SAMPLES, &mut datagram);
        datagram
    });
    Ok(datagrams.collect())
}

/// The words of a text; letters and digits in lower case alone, where punctuation does not count.
fn in_words(text: &str, is_loose: bool) -> Vec<String> {
    let word = |word: &str| match is_loose {
        true => word
            .chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect(),
        false => word.to_owned(),
    };
    let words = text.split_whitespace().map(word);
    words.filter(|word: &String| !word.is_empty()).collect()
}

/// Words that are replaced, left out or put in (Levenshtein's distance).
fn differences(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (n, said) in said.iter().enumerate() {
        let mut before = row[0];
        row[0] = n + 1;
        for (k, heard) in heard.iter().enumerate() {
            let replaced = before + usize::from(said != heard);
            before = row[k + 1];
            row[k + 1] = replaced.min(row[k] + 1).min(before + 1);
        }
    }
    row[heard.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_with_and_without_what_is_around_them() {
        let words = |text| in_words(text, true);
        assert_eq!(words("I'm afraid, Dave …"), ["im", "afraid", "dave"]);
        assert_eq!(in_words("Hello, you", false), ["Hello,", "you"]);
        let said = words("please hold the line");
        assert_eq!(differences(&said, &words("Please hold the line.")), 0);
        assert_eq!(differences(&said, &words("please fold the thin line")), 2);
        assert_eq!(differences(&said, &[]), 4);
        assert_eq!(differences(&[], &said), 4);
    }

    #[test]
    fn the_bundled_call_has_two_parties_and_all_its_packets_are_theirs() {
        let call = DemoConversation::bundled().unwrap();
        assert_eq!(call.legs().count(), 2);
        assert!(call.length() > Duration::from_secs(10));
        assert!(call.packets.is_sorted_by_key(|packet| packet.at));
    }

    #[test]
    fn a_list_without_the_prompts_is_refused_with_the_name_of_the_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.tsv");
        for (text, told) in [
            ("", "is empty"),
            ("name\t1\n", "no prompt"),
            ("other\t1.0\t/x.wav\tOther.\n", "pls-hold-while-try"),
        ] {
            fs::write(&list, text).unwrap();
            let error = DemoConversation::of_people(&list).map(|_| ()).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{error:#}");
        }
    }
}
