//! Body of a row in the spool: a head in JSON about the utterance, and its samples, packed without
//! loss; sealed with XChaCha20-Poly1305 where there is a key.

use asterscribe_call::{CallId, Leg};
use asterscribe_speech::{DecodeOptions, SAMPLE_RATE, packed};
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use super::{SpoolId, SpoolableSpeech};

/// Most samples of an utterance: twice Whisper's window.
const MAX_SAMPLES: usize = SAMPLE_RATE as usize * 60;

/// First byte of a body in the clear.
const PLAIN: u8 = 0;
/// First byte of a body that is sealed: a nonce and the ciphertext follow.
const SEALED: u8 = 1;

/// Key that encrypts the spool, 256 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SpoolKey([u8; 32]);

impl SpoolKey {
    /// Parses a key of 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|n| u8::try_from(n).ok())
        };
        let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        let bytes: Option<Vec<_>> = pairs.iter().map(byte).collect();
        Some(Self(bytes?.try_into().ok()?))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.0))
    }
}

impl std::fmt::Debug for SpoolKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Reason why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnreadableRow {
    #[error("it is encrypted and SPOOL_KEY is not set")]
    NoKey,
    #[error("SPOOL_KEY is another than it was encrypted with, or it is damaged")]
    WrongKey,
    #[error("it is damaged")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct BodyHead {
    leg: Leg,
    samples: usize,
    choices: DecodeOptions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second_pass: Option<String>,
}

/// Encodes the body of a row; `None` where there is no randomness or the head cannot be written.
pub(super) fn encode(
    id: SpoolId,
    speech: &SpoolableSpeech,
    key: Option<&SpoolKey>,
) -> Option<Vec<u8>> {
    let head = BodyHead {
        leg: speech.leg.clone(),
        samples: speech.samples.len(),
        choices: speech.choices.clone(),
        second_pass: speech.second_pass.clone(),
    };
    let mut plain = serde_json::to_vec(&head).ok()?;
    // JSON on one line holds no such byte.
    plain.push(b'\n');
    plain.extend(packed::pack(&speech.samples));
    let Some(key) = key else {
        plain.insert(0, PLAIN);
        return Some(plain);
    };
    let nonce = XNonce::try_generate().ok()?;
    let sealed = key
        .cipher()
        .encrypt(&nonce, at(&plain, &place(id, &speech.call, speech.audio)))
        .ok()?;
    let mut body = vec![SEALED];
    body.extend(nonce);
    body.extend(sealed);
    Some(body)
}

/// Decodes the body of a row, as [`encode`] made it.
pub(super) fn decode(
    id: SpoolId,
    (call, audio): (CallId, u64),
    body: &[u8],
    key: Option<&SpoolKey>,
) -> Result<SpoolableSpeech, UnreadableRow> {
    let opened;
    let plain = match body.split_first() {
        Some((&PLAIN, plain)) => plain,
        Some((&SEALED, sealed)) => {
            let key = key.ok_or(UnreadableRow::NoKey)?;
            let (nonce, sealed) = sealed
                .split_first_chunk::<24>()
                .ok_or(UnreadableRow::Damaged)?;
            let nonce = XNonce::from(*nonce);
            let place = place(id, &call, audio);
            let plain = key.cipher().decrypt(&nonce, at(sealed, &place));
            opened = plain.map_err(|_| UnreadableRow::WrongKey)?;
            &opened
        }
        _ => return Err(UnreadableRow::Damaged),
    };
    let mut parts = plain.splitn(2, |&byte| byte == b'\n');
    let (head, samples) = (parts.next().unwrap_or_default(), parts.next());
    let head: BodyHead = serde_json::from_slice(head).map_err(|_| UnreadableRow::Damaged)?;
    let whole = samples.filter(|_| (1..=MAX_SAMPLES).contains(&head.samples));
    let samples = whole.and_then(|bytes| packed::unpack(bytes, head.samples));
    let samples = samples.ok_or(UnreadableRow::Damaged)?;
    Ok(SpoolableSpeech {
        call,
        leg: head.leg,
        audio: audio.min(samples.len() as u64),
        samples,
        choices: head.choices,
        second_pass: head.second_pass,
    })
}

/// AEAD payload of a body. The place is authenticated with it, so a row that was put in another's
/// place does not open.
fn at<'a>(bytes: &'a [u8], place: &'a str) -> Payload<'a, 'a> {
    Payload {
        msg: bytes,
        aad: place.as_bytes(),
    }
}

fn place(id: SpoolId, call: &CallId, audio: u64) -> String {
    format!("{}/{call}/{audio}", id.0)
}
