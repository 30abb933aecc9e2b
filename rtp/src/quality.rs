//! How good a leg's media is, told from its packets: loss and its bursts, and
//! what the E-model (ITU-T G.107) makes of them. The drift of the sender's
//! clock is in [`ClockDrift`], the jitter in [`RtpReceiver`](crate::RtpReceiver).

mod drift;

pub use drift::{ClockDrift, DriftPacket};

/// Losses and the bursts they come in, of the ordered stream. Late packets are
/// lost ones here: nobody hears them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LossBursts {
    received: u64,
    lost: u64,
    bursts: u64,
    in_burst: bool,
}

impl LossBursts {
    /// A packet was released.
    pub fn packet(&mut self) {
        self.received += 1;
        self.in_burst = false;
    }

    /// So many in a row were given up.
    pub fn lost(&mut self, count: u64) {
        self.lost += count;
        if count > 0 && !self.in_burst {
            self.bursts += 1;
            self.in_burst = true;
        }
    }

    /// Packets released.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets lost.
    pub fn lost_packets(&self) -> u64 {
        self.lost
    }

    /// Share of the packets sent that was lost, 0 to 1.
    pub fn loss(&self) -> f32 {
        let sent = self.lost + self.received;
        if sent == 0 {
            return 0.0;
        }
        (self.lost as f64 / sent as f64) as f32
    }

    /// BurstR (ITU-T G.107 section 7.4): mean length of the bursts over the mean
    /// length that random loss of the same share has, `1 / (1 - loss)`. 1 without
    /// loss and for random loss, more for bursts, less for losses evenly spread.
    pub fn burst_ratio(&self) -> f32 {
        if self.bursts == 0 || self.received == 0 {
            return 1.0;
        }
        let mean = self.lost as f64 / self.bursts as f64;
        let kept = self.received as f64 / (self.lost + self.received) as f64;
        (mean * kept) as f32
    }
}

/// The cost of a codec in quality, and how it stands losses (ITU-T G.113 appendix I).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodecImpairment {
    /// Ie: equipment impairment factor without loss.
    pub equipment: f32,
    /// Bpl: packet-loss robustness factor.
    pub robustness: f32,
}

impl CodecImpairment {
    /// G.711, and linear samples of 8 kHz, without concealment (G.113 appendix I).
    pub const G711: Self = Self::new(0.0, 4.3);
    /// G.711 with concealment as of G.711 appendix I (G.113 appendix I).
    pub const G711_CONCEALED: Self = Self::new(0.0, 25.1);
    /// G.729A with silence suppression (G.113 appendix I). No decoder of ours
    /// needs it: it is the codec whose figures are published at every loss.
    #[cfg(test)]
    const G729A: Self = Self::new(11.0, 19.0);
    /// GSM full rate. Ie is of G.113 appendix I; Bpl is an assumption, that of
    /// the enhanced full rate.
    pub const GSM: Self = Self::new(20.0, 10.0);
    /// G.722 and wider linear samples without concealment. An assumption: rated
    /// on the narrow-band scale, where they cost nothing, and as G.711 under loss.
    pub const WIDEBAND: Self = Self::G711;
    /// Wide band with concealment; the same assumption.
    pub const WIDEBAND_CONCEALED: Self = Self::G711_CONCEALED;
    /// Opus with its own concealment and error correction. An assumption.
    pub const OPUS: Self = Self::new(0.0, 25.1);

    const fn new(equipment: f32, robustness: f32) -> Self {
        Self {
            equipment,
            robustness,
        }
    }
}

/// R without any impairment by delay or codec, all other parameters at their
/// defaults (ITU-T G.107 table 3).
const BEST_R: f32 = 93.2;

/// Transmission rating R (ITU-T G.107), 0 to 93.2, of a codec under loss (0 to
/// 1) with this BurstR. The delay is not known here and counts nothing.
pub fn r_factor(codec: CodecImpairment, loss: f32, burst_ratio: f32) -> f32 {
    let percent = 100.0 * loss.clamp(0.0, 1.0);
    // The model is not defined for loss that is more even than random.
    let bursts = burst_ratio.max(1.0);
    let CodecImpairment {
        equipment,
        robustness,
    } = codec;
    let effective = equipment + (95.0 - equipment) * percent / (percent / bursts + robustness);
    (BEST_R - effective).max(0.0)
}

/// Mean opinion score that goes with R (ITU-T G.107 annex B), 1 to 4.5.
pub fn mos(r: f32) -> f32 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        // Just above 0 the curve dips below 1.
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests;
