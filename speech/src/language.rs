//! Evidence of a language: thresholds that a session and an engine judge by alike.

/// Confidence below which an utterance speaks against the language that it was recognised in.
/// Of telephone prompts (base) 60 % of the Spanish and 95 % of the French and Italian ones are
/// below it as English; in their own language none of the English ones and a sixth of the Spanish.
pub const DOUBTFUL_CONFIDENCE: f32 = 0.7;

/// Least probability of a language, among those that are possible, that is believed. Whisper is
/// nearly always above it for the right one after some seconds of speech, and mostly below it for
/// a wrong one.
pub const LEAST_LANGUAGE_PROBABILITY: f32 = 0.8;

/// Least length of an utterance, milliseconds, that tells of a language: less is a yes, a no or a
/// name.
pub const LEAST_LANGUAGE_MS: u64 = 1_500;
