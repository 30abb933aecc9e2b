//! Sounds played to calls: which leg is sent to, and the sound made ready for it.

mod folder;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asterscribe_call::{CallId, CallOrigin, CallPlayback, Leg, PlaybackState, SoundName};
use asterscribe_codecs::{MediaFormat, SendFormat};
use tokio::sync::Semaphore;

use self::folder::FileRefused;
use super::CallManager;
use super::registry::{CallPhase, CallRegistry};
use crate::media::{PlayOrder, PlayRefused};
use crate::play::{EncodedClip, MAX_QUEUED_LENGTH, SoundBudget, UnplayableSound};
use crate::service::{PlayRequest, ServiceError, SoundSource};

/// Bytes of encoded sound that may wait or play, all calls together: some two hours of G.711.
const MAX_SOUND: usize = 64 << 20;

/// Sounds that are read and encoded at the same time; others wait.
const READERS: usize = 2;

/// The sources from which a sound is made ready.
#[derive(Debug)]
pub(super) struct SoundSources {
    folder: Option<PathBuf>,
    max_bytes: usize,
    budget: SoundBudget,
    readers: Arc<Semaphore>,
    next: AtomicU64,
}

impl SoundSources {
    pub(super) fn new(folder: Option<PathBuf>, max_bytes: usize) -> Self {
        Self {
            folder,
            max_bytes,
            budget: SoundBudget::new(MAX_SOUND),
            readers: Arc::new(Semaphore::new(READERS)),
            next: AtomicU64::new(1),
        }
    }

    /// Reads and encodes a sound on a blocking thread.
    async fn clip(
        &self,
        sound: SoundSource,
        format: SendFormat,
    ) -> Result<EncodedClip, ServiceError> {
        let stopping = || ServiceError::Busy("the server is stopping".to_owned());
        let reader = Arc::clone(&self.readers).acquire_owned().await;
        let reader = reader.map_err(|_| stopping())?;
        let (folder, max_bytes) = (self.folder.clone(), self.max_bytes);
        let budget = self.budget.clone();
        let work = move || {
            // Until the work is done, whoever still waits for it.
            let _reader = reader;
            let file = match sound {
                SoundSource::Upload { wav, .. } => wav,
                SoundSource::File(name) => read(folder, &name, max_bytes)?,
            };
            EncodedClip::from_wav(&file, format, MAX_QUEUED_LENGTH, &budget).map_err(unplayable)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "preparing a sound failed; this is a fault of the server");
            Err(ServiceError::Unprocessable(
                "the sound cannot be read".to_owned(),
            ))
        })
    }
}

fn read(folder: Option<PathBuf>, name: &SoundName, limit: usize) -> Result<Vec<u8>, ServiceError> {
    let unset = || {
        let text = "PLAY_DIR is not set: files cannot be named here, only sent along";
        ServiceError::Unprocessable(text.to_owned())
    };
    let folder = folder.ok_or_else(unset)?;
    folder::read(&folder, name, limit).map_err(|refused| match refused {
        FileRefused::Unknown => ServiceError::UnknownFile(name.clone()),
        FileRefused::TooLarge { .. } | FileRefused::Io(_) => {
            ServiceError::Unprocessable(format!("{name}: {refused}"))
        }
    })
}

fn unplayable(reason: UnplayableSound) -> ServiceError {
    match reason {
        UnplayableSound::NoRoom => ServiceError::Busy(reason.to_string()),
        _ => ServiceError::Unprocessable(reason.to_string()),
    }
}

impl CallManager {
    pub(super) async fn play_sound(
        &self,
        call: &CallId,
        request: PlayRequest,
    ) -> Result<CallPlayback, ServiceError> {
        let PlayRequest { sound, leg, format } = request;
        let found = self.registry(|registry| listener(registry, call, leg));
        let PlayListener {
            leg,
            format: own,
            registered,
        } = match found {
            Some(found) => found?,
            None => return Err(self.not_here(call).await),
        };
        if let Some(target) = registered {
            self.check_target(target).await?;
        }
        let format = match format {
            Some(name) => name
                .parse()
                .map_err(|error| ServiceError::Unprocessable(format!("{error}")))?,
            None => own.map_or(SendFormat::Ulaw, SendFormat::towards),
        };
        let name = match &sound {
            SoundSource::File(name) | SoundSource::Upload { name, .. } => name.to_string(),
        };
        let clip = self.sounds.clip(sound, format).await?;
        let playback = CallPlayback {
            id: self.sounds.next.fetch_add(1, Ordering::Relaxed),
            leg,
            name,
            state: PlaybackState::Queued,
            played_ms: 0,
            length_ms: u64::try_from(clip.length().as_millis()).unwrap_or(u64::MAX),
            format: format.to_string(),
        };
        self.order_playback(call, playback, clip).await
    }

    async fn order_playback(
        &self,
        call: &CallId,
        playback: CallPlayback,
        clip: EncodedClip,
    ) -> Result<CallPlayback, ServiceError> {
        let over = || ServiceError::Conflict(format!("call {call} is over"));
        let (thread, media) = self.running(call).ok_or_else(over)?;
        let order = PlayOrder {
            leg: playback.leg.clone(),
            id: playback.id,
            clip,
        };
        // Entered first, so that what is told of it finds it.
        self.registry(|registry| registry.playback_queued(call, playback.clone()));
        let refused = thread.play(media, order).await.err();
        let Some(refused) = refused else {
            return Ok(playback);
        };
        self.registry(|registry| registry.playback_refused(call, playback.id));
        Err(match refused {
            PlayRefused::NotOpen => over(),
            PlayRefused::Overloaded => ServiceError::Busy(refused.to_string()),
            PlayRefused::NoSource(_) | PlayRefused::Full(_) => {
                ServiceError::Conflict(refused.to_string())
            }
        })
    }

    pub(super) async fn stop_sound(
        &self,
        call: &CallId,
        id: Option<u64>,
    ) -> Result<Vec<CallPlayback>, ServiceError> {
        let open = |registry: &mut CallRegistry| match registry.phase(call)?.0 {
            CallPhase::Open => registry
                .find(call)
                .map(|entry| entry.record.playing.clone()),
            CallPhase::Ending | CallPhase::Over => None,
        };
        let Some(mut playing) = self.registry(open) else {
            return Err(self.not_here(call).await);
        };
        if let Some(id) = id {
            playing.retain(|playback| playback.id == id);
            if playing.is_empty() {
                return Err(ServiceError::UnknownPlayback(id));
            }
        }
        if let Some((thread, media)) = self.running(call)
            && !playing.is_empty()
        {
            let full = || ServiceError::Busy(PlayRefused::Overloaded.to_string());
            thread.stop_play(media, id).then_some(()).ok_or_else(full)?;
        }
        Ok(playing)
    }

    /// Reason why a call that does not go on here cannot be played to.
    async fn not_here(&self, call: &CallId) -> ServiceError {
        let over = ServiceError::Conflict(format!("call {call} is over"));
        if self.registry(|registry| registry.find(call).is_some()) {
            return over;
        }
        match self.stored(call).await {
            Ok(record) if record.status.is_open() => self.elsewhere(&record),
            Ok(_) => over,
            Err(error) => error,
        }
    }
}

/// Leg that a sound is played to.
struct PlayListener {
    leg: Leg,
    /// Format that the leg sends, in which the sound is sent, too.
    format: Option<MediaFormat>,
    /// Address of a registered leg; `None` if Asterisk named the source.
    registered: Option<SocketAddr>,
}

/// Leg that a sound is played to; `None` if the call does not go on here.
fn listener(
    registry: &CallRegistry,
    call: &CallId,
    wanted: Option<Leg>,
) -> Option<Result<PlayListener, ServiceError>> {
    let (CallPhase::Open, origin) = registry.phase(call)? else {
        return None;
    };
    if origin == CallOrigin::Tap {
        let text =
            "nobody would hear it: the call is tapped, and what is sent to a tap reaches no party";
        return Some(Err(ServiceError::Conflict(text.to_owned())));
    }
    let legs = &registry.find(call)?.record.legs;
    let legs: Vec<_> = legs.iter().filter(|leg| leg.source.is_some()).collect();
    let names = || {
        let names: Vec<_> = legs.iter().map(|leg| leg.leg.as_str()).collect();
        names.join(", ")
    };
    let found = match (&wanted, legs.as_slice()) {
        (_, []) => Err(ServiceError::Conflict(format!(
            "call {call} has no media yet"
        ))),
        (None, [only]) => Ok(*only),
        (None, _) => Err(ServiceError::Unprocessable(format!(
            "say which leg shall hear it: {}",
            names()
        ))),
        (Some(wanted), all) => {
            let found = all.iter().find(|leg| leg.leg == *wanted);
            let unknown = || format!("the call has no leg {wanted}; it has {}", names());
            found
                .copied()
                .ok_or_else(|| ServiceError::Unprocessable(unknown()))
        }
    };
    Some(found.map(|leg| {
        let source = leg
            .source
            .as_deref()
            .filter(|_| origin == CallOrigin::Media);
        PlayListener {
            leg: leg.leg.clone(),
            format: leg.format.as_deref().and_then(|name| name.parse().ok()),
            registered: source.and_then(|source| source.parse().ok()),
        }
    }))
}
