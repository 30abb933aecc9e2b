//! The least that can be done with a packet behind its reception: table,
//! resampler and detector alone, in a loop, for one flow.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use asterscribe_clock as clock;
use asterscribe_codecs::AudioDecoder;
use asterscribe_speech::detector::{FRAME, VoiceDetector};

use super::payload::BenchPayload;
use super::{cpus, proc};

/// CPU time per packet on `cpu`, nanoseconds, from a loop of about `length`.
pub(super) fn measure(payload: BenchPayload, length: Duration, cpu: Option<usize>) -> Result<f64> {
    let packets = payload.packets();
    cpus::on(cpu, || {
        let mut stage = FloorStage::default();
        thread::yield_now();
        let (end, before) = (clock::now() + length, proc::this_thread()?);
        let mut done = 0u64;
        while clock::now() < end {
            for packet in &packets {
                stage.packet(packet)?;
            }
            done += packets.len() as u64;
        }
        thread::yield_now();
        let spent = proc::this_thread()?.ran_ns.saturating_sub(before.ran_ns);
        Ok(spent as f64 / done as f64)
    })?
}

#[derive(Default)]
struct FloorStage {
    decoder: AudioDecoder,
    detector: VoiceDetector,
    samples: Vec<f32>,
    frame: Vec<i16>,
}

impl FloorStage {
    fn packet(&mut self, payload: &[u8]) -> Result<()> {
        self.decoder
            .decode(0, payload, &mut self.samples)
            .context("a payload of our own was refused")?;
        for sample in self.samples.drain(..) {
            self.frame.push((sample * 32_768.0) as i16);
            if let Some(frame) = self.frame.first_chunk::<FRAME>() {
                black_box(self.detector.score(frame));
                self.frame.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_costs_something() {
        let spent = measure(BenchPayload::Speech, Duration::from_millis(1), None).unwrap();
        assert!(spent > 0.0, "{spent}");
    }
}
