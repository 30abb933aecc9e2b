//! Inputs and outputs of a session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use asterscribe_call::{
    AudioAccount, CallEvent, DtmfDigit, GapReason, Leg, LegSounds, LegStats, MediaFinding,
    MediaQuality, PartialLine, TranscriptLine,
};
use asterscribe_speech::{DecodeOptions, Recognition, SAMPLES_PER_MS};

use super::JobId;

/// Number of a leg in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegIndex(pub(super) usize);

impl LegIndex {
    /// Its place among the session's legs, from 0.
    pub fn place(self) -> usize {
        self.0
    }

    /// No leg of any session.
    pub const NONE: Self = Self(usize::MAX);
}

/// An input of a call's session.
#[derive(Debug)]
pub enum SessionInput<'a> {
    /// A datagram from the leg's source.
    Datagram {
        /// The leg; one that the session does not have is ignored.
        leg: LegIndex,
        /// The UDP payload.
        bytes: &'a [u8],
    },
    /// RTP comes from a source that was not named, while nothing comes from the leg's own.
    Elsewhere {
        /// The leg; one that the session does not have is ignored.
        leg: LegIndex,
        /// Source of the packets.
        from: SocketAddr,
        /// Source that was named for the leg.
        named: SocketAddr,
        /// Packets from that source within the last half second.
        packets: u64,
    },
    /// The kernel dropped so many datagrams of the socket that the call's legs share.
    KernelDrops(u64),
    /// The kernel dropped datagrams of the socket that the leg has to itself.
    OwnKernelDrops {
        /// The leg; one that the session does not have is ignored.
        leg: LegIndex,
        /// Number of datagrams.
        count: u64,
    },
    /// The time that [`SessionOutput::Wait`] named has come. Any other time is allowed, too.
    Timer,
    /// A job was answered.
    Recognised {
        /// Number of the job, as [`SessionOutput::Transcribe`] gave it.
        job: JobId,
        /// Recognised text, or why there is none.
        result: Result<Recognition, UnheardReason>,
    },
    /// Answer to [`SessionOutput::Draft`]: a partial was recognised, or will not be.
    Drafted {
        /// The leg.
        leg: LegIndex,
        /// Number, as [`SessionOutput::Draft`] gave it.
        revision: u32,
        /// Recognised text; `None`: not recognised.
        result: Option<Recognition>,
    },
    /// Another party may be speaking on a leg, after hold or a transfer: a language that was
    /// detected is no longer taken for granted.
    PartyMayDiffer {
        /// The leg; `None`: any of them. One that the session does not have is ignored.
        leg: Option<LegIndex>,
        /// Reason in words.
        why: &'a str,
    },
    /// The party of a leg has put the other on hold, or taken it off: its audio meanwhile is
    /// accounted for and not recognised.
    Hold {
        /// The leg; one that the session does not have is ignored.
        leg: LegIndex,
        /// Whether the hold begins.
        is_on: bool,
    },
    /// The call is over: no datagram will follow.
    Hangup,
}

/// Reason why a job has no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnheardReason {
    /// The audio stays without text, for this reason.
    Gap(GapReason),
    /// The job waited too long. Its samples are returned, so that they can be recognised later.
    Late(Vec<i16>),
}

impl From<GapReason> for UnheardReason {
    fn from(reason: GapReason) -> Self {
        Self::Gap(reason)
    }
}

/// Speech kept for the second pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterSpeech {
    /// Name of the second pass's model.
    pub model: Arc<str>,
    /// 16 kHz mono PCM.
    pub samples: Vec<i16>,
}

/// A line whose audio is to be recognised later: for its words, or in the second pass.
#[derive(Debug, Clone, PartialEq)]
pub struct DeferredLine {
    /// The line, with the gap [`GapReason::Spooled`] or with words.
    pub line: TranscriptLine,
    /// Number of its samples that arrived, at 16 kHz.
    pub audio: u64,
    /// Samples to be recognised: 16 kHz mono PCM.
    pub samples: Vec<i16>,
    /// Options of decoding.
    pub choices: Arc<DecodeOptions>,
    /// Model of the line's second pass, once it has words; `None`: it has no second pass.
    pub second_pass: Option<Arc<str>>,
}

/// An output of a call's session.
#[derive(Debug, PartialEq)]
pub enum SessionOutput {
    /// Nothing to do until this time, or until the next input if there is none.
    Wait(Option<Instant>),
    /// Recognise this utterance and answer with [`SessionInput::Recognised`].
    Transcribe {
        /// Number to be given back with the answer.
        job: JobId,
        /// Leg whose party spoke.
        leg: LegIndex,
        /// Samples: 16 kHz mono PCM.
        samples: Vec<i16>,
        /// Options of decoding.
        choices: Arc<DecodeOptions>,
    },
    /// Recognise this beginning of an utterance, if there is time, and answer with
    /// [`SessionInput::Drafted`].
    Draft {
        /// Leg whose party speaks.
        leg: LegIndex,
        /// Number to be given back with the answer.
        revision: u32,
        /// Samples so far: 16 kHz mono PCM.
        samples: Vec<i16>,
        /// Options of decoding.
        choices: Arc<DecodeOptions>,
    },
    /// Partial: the text of a sentence that is still being spoken.
    Partial(PartialLine),
    /// A line of the transcript, in order.
    Line(TranscriptLine),
    /// A line whose audio is to be recognised later: keep the samples.
    Deferred(Box<DeferredLine>),
    /// Event of a leg's media.
    Event(CallEvent),
    /// A party pressed a key, by its packets (RFC 4733).
    Digit(DtmfDigit),
    /// Figures of the legs, after a change.
    Stats(Vec<LegSnapshot>),
    /// Every line has been given out; nothing follows.
    Closed(Vec<LegSnapshot>),
}

/// Figures of a leg at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct LegSnapshot {
    /// Label of the leg.
    pub leg: Leg,
    /// Packet counters.
    pub stats: LegStats,
    /// Account of its audio: every sample by its outcome.
    pub audio: AudioAccount,
    /// Quality of its reception; `None` before the first packet with audio.
    pub quality: Option<MediaQuality>,
    /// Findings of the media doctor, past and present.
    pub findings: Vec<MediaFinding>,
    /// Language that it is taken to speak, Whisper's code, once it was detected.
    pub language: Option<String>,
    /// Sounds on it that are not speech, such as tones and music.
    pub sounds: LegSounds,
}

impl LegSnapshot {
    /// Snapshot of a leg from which nothing has come.
    pub fn new(leg: Leg) -> Self {
        Self {
            leg,
            stats: LegStats::default(),
            audio: AudioAccount::default(),
            quality: None,
            findings: Vec::new(),
            language: None,
            sounds: LegSounds::default(),
        }
    }

    /// Moves its times to a call clock that began `ms` milliseconds earlier.
    pub fn shift(&mut self, ms: u64) {
        self.audio.start += ms * SAMPLES_PER_MS;
        self.sounds.shift(ms);
        for finding in &mut self.findings {
            finding.since_ms += ms;
            finding.until_ms = finding.until_ms.map(|until| until + ms);
        }
    }
}
