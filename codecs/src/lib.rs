//! Decoder of the RTP payloads that Asterisk sends, to 16 kHz mono samples.
//!
//! ```
//! use asterscribe_codecs::AudioDecoder;
//!
//! let mut decoder = AudioDecoder::new();
//! let mut audio = Vec::new(); // 16 kHz, mono, full scale = 1.0
//! let decoded = decoder.decode(0, &[0xff; 160], &mut audio)?; // 20 ms of PCMU
//! let made_up = decoder.conceal(320, None, &mut audio); // 20 ms that were lost
//! decoder.flush(&mut audio);
//! assert_eq!((decoded.samples_in, audio.len()), (160, 640));
//! assert_eq!(made_up, 0); // It was silence that was lost.
//! # Ok::<(), asterscribe_codecs::DecodeError>(())
//! ```
//!
//! The parts, in the order a packet meets them:
//!
//! - [`PayloadKind`] says what a payload type carries. The packet's own number
//!   decides, never the [`MediaFormat`] that was asked for: Asterisk 16 answers
//!   a request for `slin` with PCMU, and a transfer may change codecs mid-call.
//! - [`Codec`] and its [`PayloadDecoder`] turn bytes into samples at the codec's own
//!   [`SampleRate`], which is not its [`RtpClockRate`].
//! - [`LossConcealer`] fills what was lost with what was likely.
//! - [`Resampler`] brings any rate to [`SampleRate::OUTPUT`], aligned in time.
//! - [`AudioDecoder`] is all of these for one direction of one call.
//!
//! A new codec is a variant of [`Codec`], a payload type in [`PayloadKind`], a
//! module with its [`PayloadDecoder`] and, if Asterisk is to be asked for it, a name
//! in [`MediaFormat`]; nothing outside this crate changes.
//!
//! Bad bytes are errors. The crate panics on none.

mod audio;
mod codec;
mod conceal;
mod encode;
mod format;
#[doc(hidden)]
pub mod fuzz;
pub mod g711;
pub mod g722;
mod gsm;
mod l16;
mod opus;
mod payload;
mod rate;
mod resample;
#[cfg(test)]
mod testdata;

pub use audio::{AudioDecoder, DecodedPacket};
pub use codec::{Codec, DecodeError, PayloadDecoder};
pub use conceal::{LinearSample, LossConcealer};
pub use encode::{FRAME_MS, NotSendable, SendFormat, StreamEncoder};
pub use format::{MediaFormat, UnusableFormat};
pub use payload::PayloadKind;
pub use rate::{RtpClockRate, SampleRate};
pub use resample::{Resampler, UnsupportedRates};
