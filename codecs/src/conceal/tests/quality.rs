//! Concealment against silence and against G.711 Appendix I, over speech.

use std::env;
use std::fmt::Write as _;
use std::fs;

use super::appendix::{self, Appendix};
use super::measure::Distance;
use super::network::{LENGTH, NETWORKS, Network, PACKET, prompts, spans, workspace};
use crate::g711;
use crate::{AudioDecoder, LossConcealer, SampleRate};

/// Audio at 16 kHz out of packets, some of which are lost.
type Way = fn(said: &[u8], lost: &[bool]) -> Vec<f32>;

const WAYS: [(&str, Way); 4] = [
    ("silence", silence),
    ("Appendix I", appendix_i),
    ("behind the resampler", behind_the_resampler),
    ("`AudioDecoder::conceal`", ours),
];

const PCMU: u8 = 0;
const L16: u8 = 10;

/// Marker in `docs/concealment.md`: the text behind it is the table measured here.
/// `UPDATE_EXPECT=1` writes it anew; look at the difference before keeping it.
const MARKER: &str = "<!-- measured -->\n";

#[test]
fn it_is_closer_to_speech_than_silence_and_appendix_i_and_the_documentation_says_by_how_much() {
    let mut table = format!(
        "{MARKER}\n| loss | packets | filled by | distortion, dB | ratio, dB |\n|---|---|---|---|---|\n"
    );
    let mut means = [(0.0, 0.0); WAYS.len()];
    for network in NETWORKS {
        let (lost, distances) = judge(&network);
        for (((name, _), distance), mean) in WAYS.iter().zip(&distances).zip(&mut means) {
            let (distortion, ratio) = (distance.distortion(), distance.ratio());
            writeln!(
                table,
                "| {} | {lost} | {name} | {distortion:.1} | {ratio:.1} |",
                network.name
            )
            .unwrap();
            mean.0 += distortion / NETWORKS.len() as f64;
            mean.1 += ratio / NETWORKS.len() as f64;
        }
    }
    for ((name, _), (distortion, ratio)) in WAYS.iter().zip(&means) {
        writeln!(table, "| mean | | {name} | {distortion:.1} | {ratio:.1} |").unwrap();
    }
    println!("{table}");
    let [silence, appendix, _, ours] = means;
    assert!(
        ours.0 <= appendix.0 && ours.1 >= appendix.1,
        "worse than Appendix I"
    );
    assert!(ours.0 < silence.0, "worse than silence");

    let path = workspace().join("docs/concealment.md");
    let text = fs::read_to_string(&path).unwrap();
    let (prose, _) = text.split_once(MARKER).unwrap();
    let expected = format!("{prose}{table}");
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(
            text == expected,
            "docs/concealment.md must end with:\n{table}"
        );
    }
}

/// How far each way is from what was said, and how many packets were lost.
fn judge(network: &Network) -> (usize, [Distance; WAYS.len()]) {
    let (mut packets, mut total) = (0, [Distance::default(); WAYS.len()]);
    for (n, said) in prompts().iter().enumerate() {
        let all = said.len() / PACKET;
        let clean = silence(said, &vec![false; all]);
        for run in 0..network.runs {
            let lost = network.lost(all, run * 100 + n as u64);
            packets += lost.iter().filter(|lost| **lost).count();
            for (total, (_, way)) in total.iter_mut().zip(WAYS) {
                let heard = way(said, &lost);
                for span in spans(&lost) {
                    total.add(&clean, &heard, span);
                }
            }
        }
    }
    (packets, total)
}

fn silence(said: &[u8], lost: &[bool]) -> Vec<f32> {
    decode(said, lost, AudioDecoder::silence)
}

fn ours(said: &[u8], lost: &[bool]) -> Vec<f32> {
    decode(said, lost, |decoder, samples, out| {
        decoder.conceal(samples, None, out);
    })
}

fn decode(
    said: &[u8],
    lost: &[bool],
    fill: impl Fn(&mut AudioDecoder, usize, &mut Vec<f32>),
) -> Vec<f32> {
    let (mut decoder, mut out) = (AudioDecoder::new(), Vec::new());
    for (packet, lost) in said.chunks(PACKET).zip(lost) {
        if *lost {
            fill(&mut decoder, LENGTH, &mut out);
        } else {
            decoder.decode(PCMU, packet, &mut out).unwrap();
        }
    }
    decoder.flush(&mut out);
    out
}

/// At 16 kHz, with a resampler that is flushed before each loss.
fn behind_the_resampler(said: &[u8], lost: &[bool]) -> Vec<f32> {
    let (mut decoder, mut out) = (AudioDecoder::new(), Vec::new());
    let mut concealer = LossConcealer::new(SampleRate::OUTPUT);
    for (packet, lost) in said.chunks(PACKET).zip(lost) {
        let start = out.len();
        if *lost {
            decoder.flush(&mut out);
            concealer.good(&mut out[start..]);
            concealer.conceal(LENGTH, &mut out);
        } else {
            decoder.decode(PCMU, packet, &mut out).unwrap();
            concealer.good(&mut out[start..]);
        }
    }
    let start = out.len();
    decoder.flush(&mut out);
    concealer.good(&mut out[start..]);
    out
}

fn appendix_i(said: &[u8], lost: &[bool]) -> Vec<f32> {
    let (mut concealer, mut samples) = (Appendix::new(), Vec::new());
    for (packet, lost) in said.chunks(PACKET).zip(lost) {
        for frame in packet.chunks(appendix::FRAME) {
            let frame: Vec<_> = frame
                .iter()
                .map(|&code| f32::from(g711::decode_ulaw(code)))
                .collect();
            samples.extend(concealer.frame((!lost).then_some(&frame)));
        }
    }
    samples.extend(concealer.frame(Some(&[0.0; appendix::FRAME])));
    let payload: Vec<u8> = samples[appendix::DELAY..][..said.len()]
        .iter()
        .flat_map(|&sample| (sample.round() as i16).to_be_bytes())
        .collect();
    let (mut decoder, mut out) = (AudioDecoder::new(), Vec::new());
    decoder.decode(L16, &payload, &mut out).unwrap();
    decoder.flush(&mut out);
    out
}
