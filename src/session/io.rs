//! What goes into a session and what comes out of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::JobId;
use crate::call::{
    AudioAccount, CallEvent, DtmfDigit, GapReason, Leg, LegSounds, LegStats, MediaFinding,
    MediaQuality, PartialLine, TranscriptLine,
};
use crate::speech::{DecodeOptions, Recognition, SAMPLES_PER_MS};

/// A leg of one session.
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
    /// RTP comes from a source that nobody named, while the leg hears nothing.
    Elsewhere {
        /// The leg; one that the session does not have is ignored.
        leg: LegIndex,
        /// The stranger.
        from: SocketAddr,
        /// Whom the leg waits for.
        named: SocketAddr,
        /// The stranger's packets within the last half second.
        packets: u64,
    },
    /// The kernel dropped that many datagrams of the socket that the call's legs share.
    KernelDrops(u64),
    /// The kernel dropped that many datagrams of the socket that the leg has to itself.
    OwnKernelDrops {
        /// The leg; one that the session does not have is ignored.
        leg: LegIndex,
        /// Datagrams.
        count: u64,
    },
    /// The time that [`SessionOutput::Wait`] named has come, or any other.
    Timer,
    /// A job was answered.
    Recognised {
        /// The job.
        job: JobId,
        /// The words, or why there are none.
        result: Result<Recognition, UnheardReason>,
    },
    /// What was asked for by [`SessionOutput::Draft`] is there, or will not be.
    Drafted {
        /// The leg.
        leg: LegIndex,
        /// As it was asked for.
        revision: u32,
        /// The words.
        result: Option<Recognition>,
    },
    /// Somebody else may speak on a leg from now on, after hold or a transfer: a language that
    /// was detected is not taken for granted any more.
    PartyMayDiffer {
        /// The leg; `None`: any of them. One that the session does not have is ignored.
        leg: Option<LegIndex>,
        /// Why, in words.
        why: &'a str,
    },
    /// The party of a leg has put the other on hold, or taken it off: what comes from it
    /// meanwhile is accounted for and not recognised.
    Hold {
        /// The leg; one that the session does not have is ignored.
        leg: LegIndex,
        /// On, or off.
        is_on: bool,
    },
    /// The call is over: no datagram will follow.
    Hangup,
}

/// Why a job has no words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnheardReason {
    /// It never will.
    Gap(GapReason),
    /// Nobody had the time for it. Here are its samples again: they may be kept for later.
    Late(Vec<i16>),
}

impl From<GapReason> for UnheardReason {
    fn from(reason: GapReason) -> Self {
        Self::Gap(reason)
    }
}

/// Speech that is to be heard once more, later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterSpeech {
    /// Name of the model that shall hear it.
    pub model: Arc<str>,
    /// 16 kHz mono PCM.
    pub samples: Vec<i16>,
}

/// A line with speech that is to be recognised later: for its words, or for better ones.
#[derive(Debug, Clone, PartialEq)]
pub struct DeferredLine {
    /// With the gap [`GapReason::Spooled`], or with words.
    pub line: TranscriptLine,
    /// How much of it is audio, in 16 kHz samples.
    pub audio: u64,
    /// What is to be recognised.
    pub samples: Vec<i16>,
    /// How.
    pub choices: Arc<DecodeOptions>,
    /// The model by which it is heard once more when it has words; `None`: it is not.
    pub second_pass: Option<Arc<str>>,
}

/// An output of a call's session.
#[derive(Debug, PartialEq)]
pub enum SessionOutput {
    /// Nothing until this time, or until the next input if there is none.
    Wait(Option<Instant>),
    /// Recognise this and answer with [`SessionInput::Recognised`].
    Transcribe {
        /// To be given back with the answer.
        job: JobId,
        /// Who spoke.
        leg: LegIndex,
        /// The audio.
        samples: Vec<i16>,
        /// How.
        choices: Arc<DecodeOptions>,
    },
    /// Recognise this, if there is time, and answer with [`SessionInput::Drafted`].
    Draft {
        /// Who speaks.
        leg: LegIndex,
        /// To be given back with the answer.
        revision: u32,
        /// The audio so far.
        samples: Vec<i16>,
        /// How.
        choices: Arc<DecodeOptions>,
    },
    /// What a party has said so far.
    Partial(PartialLine),
    /// A line of the transcript, in order.
    Line(TranscriptLine),
    /// A line with speech that is to be recognised later: keep the samples.
    Deferred(Box<DeferredLine>),
    /// Something happened to a leg's media.
    Event(CallEvent),
    /// A party pressed a key, by its packets (RFC 4733).
    Digit(DtmfDigit),
    /// The legs' counters have changed.
    Stats(Vec<LegSnapshot>),
    /// All lines are out; the session has nothing more to say.
    Closed(Vec<LegSnapshot>),
}

/// A leg as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct LegSnapshot {
    /// The label.
    pub leg: Leg,
    /// The counters.
    pub stats: LegStats,
    /// What became of its audio.
    pub audio: AudioAccount,
    /// How well its packets arrive.
    pub quality: Option<MediaQuality>,
    /// What is or was wrong with it.
    pub findings: Vec<MediaFinding>,
    /// Whisper's code of the language that it is taken to speak, once that was detected.
    pub language: Option<String>,
    /// What was heard of it that is no speech.
    pub sounds: LegSounds,
}

impl LegSnapshot {
    /// A leg of which nothing has been heard.
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

    /// Its times, as of a call clock that began so much earlier.
    pub fn shift(&mut self, ms: u64) {
        self.audio.start += ms * SAMPLES_PER_MS;
        self.sounds.shift(ms);
        for finding in &mut self.findings {
            finding.since_ms += ms;
            finding.until_ms = finding.until_ms.map(|until| until + ms);
        }
    }
}
