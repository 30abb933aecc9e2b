//! Estimate of how many calls this machine holds with the model in use: made when a model has been
//! loaded, and shown in the log, in `/health` and in `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};

use asterscribe_codecs::{AudioDecoder, g711};
use asterscribe_recognition::capacity::MachineCapacity;
use asterscribe_recognition::workers::WorkerStarter;

use super::CallManager;
use crate::play::wav::WavFile;

/// Two sentences of 2 s each: together they are what `tiny.en` and `base` recognise at the first
/// try, at about the cost of a mean utterance.
const SENTENCES: [&[u8]; 2] = [
    include_bytes!("../../fixtures/prompts/call-back.wav"),
    include_bytes!("../../fixtures/prompts/check-internet.wav"),
];

/// Samples between them (0.1 s).
const BREATH: usize = 800;

/// Samples of a packet, 20 ms at 8 kHz.
const PACKET: usize = 160;

/// Payload type of µ-law (RFC 3551).
const ULAW: u8 = 0;

/// The estimate, and the revision of the model that it holds for.
#[derive(Debug, Clone, Default)]
pub(super) struct CapacityBoard(Arc<Mutex<Option<(String, MachineCapacity)>>>);

impl CapacityBoard {
    /// Makes the estimate for the model in use and logs it. Blocks for some utterances of each
    /// worker; the demo model is left out.
    pub(super) fn update(&self, recogniser: &Arc<WorkerStarter>, max_calls: usize) {
        let model = recogniser.model();
        if model.is_demo() {
            self.set(None);
            return;
        }
        let capacity = match measure(recogniser) {
            Ok(capacity) => capacity,
            Err(error) => {
                tracing::warn!(error, "cannot measure how many calls this machine holds");
                self.set(None);
                return;
            }
        };
        // Another model may have taken over meanwhile, and will be measured itself.
        if recogniser.model().revision() != model.revision() {
            return;
        }
        let told = describe(capacity, &model.name);
        if capacity.calls() < max_calls as f64 {
            tracing::warn!(
                max_calls,
                "{told}; beyond that lines come late, partial results end first"
            );
        } else {
            tracing::info!("{told}");
        }
        self.set(Some((model.revision(), capacity)));
    }

    /// A model took over while there were calls: measuring would hold them up, and they would
    /// be measured along with it.
    pub(super) fn leave_unknown(&self) {
        tracing::info!("not measuring how many calls this machine holds while calls are open");
        self.set(None);
    }

    fn set(&self, known: Option<(String, MachineCapacity)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn get(&self, revision: &str) -> Option<MachineCapacity> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, capacity) = known.as_ref()?;
        (of == revision).then_some(*capacity)
    }
}

impl CallManager {
    /// Finds out how many calls the model in use allows, on a thread of its own.
    pub(crate) fn estimate_capacity(&self) {
        let (board, recogniser) = (
            self.recognition.capacity.clone(),
            Arc::clone(&self.recognition.recogniser),
        );
        let max_calls = self.config.max_calls;
        tokio::task::spawn_blocking(move || board.update(&recogniser, max_calls));
    }

    /// The estimate for the model in use, if there is one.
    pub(super) fn capacity(&self) -> Option<MachineCapacity> {
        self.recognition
            .capacity
            .get(&self.recognition.recogniser.model().revision())
    }

    /// The estimate in words, and whether it is less than one call.
    pub(super) fn capacity_told(&self) -> Option<(String, bool)> {
        let capacity = self.capacity()?;
        let told = describe(capacity, &self.recognition.recogniser.model().name);
        Some((told, capacity.calls() < 1.0))
    }
}

/// How many calls the workers hold. Blocks for some utterances of each.
///
/// # Errors
/// A worker failed.
pub(crate) fn measure(recogniser: &Arc<WorkerStarter>) -> Result<MachineCapacity, String> {
    let measured = MachineCapacity::measure(recogniser, &sample()?);
    measured.map_err(|error| error.to_string())
}

fn describe(capacity: MachineCapacity, model: &str) -> String {
    let calls = capacity.calls();
    if calls < 1.0 {
        format!("this machine does not hold one call of two parties with {model}")
    } else {
        format!("this machine holds about {calls:.0} calls of two parties with {model}")
    }
}

/// The sample as it sounds behind a telephone, 16 kHz.
fn sample() -> Result<Vec<i16>, String> {
    let mut samples: Vec<i16> = Vec::new();
    for sentence in SENTENCES {
        let wav = WavFile::parse(sentence).map_err(|error| error.to_string())?;
        let spoken = wav.samples().collect::<Result<Vec<_>, _>>();
        samples.extend(spoken.map_err(|error| error.to_string())?);
        samples.resize(samples.len() + BREATH, 0);
    }
    let coded: Vec<u8> = samples.into_iter().map(g711::encode_ulaw).collect();
    let (mut decoder, mut audio) = (AudioDecoder::default(), Vec::new());
    for packet in coded.chunks(PACKET) {
        let decoded = decoder.decode(ULAW, packet, &mut audio);
        decoded.map_err(|error| error.to_string())?;
    }
    decoder.flush(&mut audio);
    let sample = |sample: &f32| (sample * 32_768.0).round() as i16;
    Ok(audio.iter().map(sample).collect())
}
