//! Description of a capture: checked against the scenario, and written down.

use std::time::Duration;

use asterscribe_testkit::fixture::{FlowWords, Sentence, Words};
use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::{Error, Result, rtp, scenario};

use crate::Recipe;
use crate::call::Heard;

/// Length of a pause that separates sentences: those within a sentence are shorter.
const PAUSE: Duration = Duration::from_millis(450);
/// RMS of a packet above which somebody speaks, of 32768.
const LOUD: f64 = 60.0;

/// All flows in order of arrival.
pub(crate) fn merged(heard: &[Heard]) -> Vec<Packet> {
    let mut all: Vec<Packet> = heard
        .iter()
        .flat_map(|flow| flow.packets.iter().cloned())
        .collect();
    all.sort_by_key(|packet| packet.at);
    all
}

pub(crate) fn describe(recipe: &Recipe, asterisk: &str, heard: &[Heard]) -> Result<Words> {
    let start = merged(heard)
        .first()
        .map(|packet| packet.at)
        .unwrap_or_default();
    let flows = heard
        .iter()
        .map(|flow| describe_flow(recipe, flow, start))
        .collect::<Result<_>>()?;
    Ok(Words {
        fixture: recipe.name.to_owned(),
        asterisk: asterisk.to_owned(),
        flows,
    })
}

fn describe_flow(recipe: &Recipe, heard: &Heard, start: Duration) -> Result<FlowWords> {
    let wrong = |what: &str| Error::Failed(format!("{}, {}: {what}", recipe.name, heard.leg));
    let first = heard
        .packets
        .first()
        .ok_or_else(|| wrong("no packet came"))?;
    let (header, _) = rtp::parse(&first.payload).ok_or_else(|| wrong("not RTP"))?;
    check_sequence(heard).map_err(|what| wrong(&what))?;

    let said: Vec<_> = recipe
        .turns
        .iter()
        .filter(|turn| turn.leg == heard.leg)
        .collect();
    let spurts = spurts(heard).ok_or_else(|| wrong("a payload of an unknown type"))?;
    if spurts.len() != said.len() {
        return Err(wrong(&format!(
            "{} spurts of speech for {} sentences: {spurts:?}",
            spurts.len(),
            said.len()
        )));
    }
    let ms = |at: Duration| u64::try_from((at - start).as_millis()).expect("a call lasts minutes");
    let sentences = said.iter().zip(spurts).map(|(turn, (from, to))| {
        Ok(Sentence {
            start_ms: ms(from),
            end_ms: ms(to),
            text: scenario::prompt_text(turn.prompt)?,
        })
    });
    Ok(FlowWords {
        leg: heard.leg.to_owned(),
        format: recipe.format.to_owned(),
        payload_type: header.payload_type,
        source_port: first.source.port(),
        destination_port: first.destination.port(),
        ssrc: header.ssrc,
        packets: heard.packets.len(),
        sentences: sentences.collect::<Result<_>>()?,
    })
}

/// Checks that a flow is one stream from one source, with no sequence number missing.
fn check_sequence(heard: &Heard) -> std::result::Result<(), String> {
    for pair in heard.packets.windows(2) {
        let headers = [&pair[0], &pair[1]]
            .map(|packet| rtp::parse(&packet.payload).map(|(header, _)| header));
        let [Some(before), Some(after)] = headers else {
            return Err("not RTP".to_owned());
        };
        if (pair[0].source, before.ssrc, before.payload_type)
            != (pair[1].source, after.ssrc, after.payload_type)
        {
            return Err(format!("the stream changed: {before:?}, {after:?}"));
        }
        if after.sequence != before.sequence.wrapping_add(1) {
            return Err(format!(
                "{} is followed by {}",
                before.sequence, after.sequence
            ));
        }
    }
    Ok(())
}

/// Start and end of every stretch of speech; a packet covers the time before its arrival.
fn spurts(heard: &Heard) -> Option<Vec<(Duration, Duration)>> {
    let mut spurts: Vec<(Duration, Duration)> = Vec::new();
    for packet in &heard.packets {
        let (header, payload) = rtp::parse(&packet.payload)?;
        let (samples, rate) = decode(header.payload_type, payload)?;
        let power: f64 = samples
            .iter()
            .map(|&sample| f64::from(sample).powi(2))
            .sum();
        if (power / samples.len().max(1) as f64).sqrt() < LOUD {
            continue;
        }
        let length = Duration::from_secs_f64(samples.len() as f64 / f64::from(rate));
        // Nothing of a flow was heard before its first packet arrived.
        let from = packet.at.saturating_sub(length).max(heard.packets[0].at);
        match spurts.last_mut() {
            Some((_, end)) if from.saturating_sub(*end) < PAUSE => *end = packet.at,
            _ => spurts.push((from, packet.at)),
        }
    }
    Some(spurts)
}

fn decode(payload_type: u8, payload: &[u8]) -> Option<(Vec<i16>, u32)> {
    let linear = || {
        payload
            .chunks_exact(2)
            .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    };
    Some(match payload_type {
        0 => (payload.iter().map(|&byte| ulaw(byte)).collect(), 8000),
        8 => (payload.iter().map(|&byte| alaw(byte)).collect(), 8000),
        10 => (linear(), 8000),
        118 => (linear(), 16_000),
        _ => return None,
    })
}

/// Decodes an octet of µ-law (ITU-T G.711): sign, three bits of exponent, four of mantissa, all
/// inverted.
fn ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i16::from(byte & 0x0f) << 3) + 132) << ((byte >> 4) & 7);
    if byte & 0x80 == 0 {
        magnitude - 132
    } else {
        132 - magnitude
    }
}

/// Decodes an octet of A-law (ITU-T G.711): like µ-law, but every other bit inverted and linear at
/// the bottom.
fn alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let step = (i16::from(byte & 0x0f) << 4) + 8;
    let magnitude = match (byte >> 4) & 7 {
        0 => step,
        exponent => (step + 256) << (exponent - 1),
    };
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g711_codes_of_silence_and_of_the_peaks() {
        assert_eq!(
            (ulaw(0xff), ulaw(0x7f), ulaw(0x80), ulaw(0x00)),
            (0, 0, 32_124, -32_124)
        );
        assert_eq!(
            (alaw(0xd5), alaw(0x55), alaw(0xaa), alaw(0x2a)),
            (8, -8, 32_256, -32_256)
        );
    }
}
