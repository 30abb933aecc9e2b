//! The types of settings that need one of their own.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use asterscribe_call::{CallOrigin, Language};

use super::parse;

/// A password, a token, or a URL that may carry one. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Address that peers are to send RTP to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvertisedAddress {
    /// IP address that peers can reach.
    pub ip: IpAddr,
    /// Port of thread 0 as peers see it; `None`: the bound one.
    pub port: Option<u16>,
}

/// UDP ports, of which the even ones are for RTP (RFC 3550 section 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl PortRange {
    /// Even ports of the range, lowest first: those for RTP.
    pub fn even(self) -> impl Iterator<Item = u16> {
        (self.first..=self.last).filter(|port| port % 2 == 0)
    }

    /// Whether the port is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// Ports to which RTP comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtpMode {
    /// All legs of a thread share its port.
    Shared,
    /// Each registered leg has a port of its own.
    PerCall,
}

/// Origins of web pages that a browser lets use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Exactly these, in the form browsers send (`https://example.org`); may be empty.
    List(Vec<String>),
    /// Every one (`*`); only together with a token.
    Any,
}

impl CorsOrigins {
    /// Whether a page of that origin may use the API.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::List(origins) => origins.iter().any(|allowed| allowed == origin),
            Self::Any => true,
        }
    }
}

/// The rates that each client of the REST API may reach; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests a second with the token; without one, from an address that may ask everything.
    pub per_token: NonZeroU32,
    /// Requests a second from an address without the right token.
    pub per_stranger: NonZeroU32,
    /// Wrong tokens a minute from an address.
    pub wrong_tokens: NonZeroU32,
}

impl Default for RateLimits {
    fn default() -> Self {
        let some = |count| NonZeroU32::new(count).expect("none of these is 0");
        Self {
            per_token: some(10_000),
            per_stranger: some(100),
            wrong_tokens: some(120),
        }
    }
}

/// Addresses, by networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkList(pub(super) Vec<AddressNetwork>);

/// An address, or all that agree with it in the first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressNetwork {
    pub(super) ip: IpAddr,
    pub(super) bits: u32,
}

impl NetworkList {
    /// Whether an address is in one of the networks.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| match (network.ip, ip) {
            (IpAddr::V4(of), IpAddr::V4(ip)) => {
                let differ = u32::from(of) ^ u32::from(ip);
                differ.leading_zeros() >= network.bits
            }
            (IpAddr::V6(of), IpAddr::V6(ip)) => {
                let differ = u128::from(of) ^ u128::from(ip);
                differ.leading_zeros() >= network.bits
            }
            _ => false,
        })
    }
}

/// The endpoint that `POST /api/call/initiate` dials, with a place for the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointTemplate(pub(super) String);

impl EndpointTemplate {
    /// Text that stands for the destination in the template.
    pub const PLACE: &'static str = "{destination}";

    /// The endpoint for a destination, which the caller has validated.
    pub fn endpoint(&self, destination: &str) -> String {
        self.0.replace(Self::PLACE, destination)
    }
}

impl fmt::Display for EndpointTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The speech model to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelChoice {
    /// The bundled model: a demonstration with a small vocabulary.
    Demo,
    /// `WHISPER_MODEL`.
    File {
        /// A ggml file or a CTranslate2 folder.
        path: PathBuf,
    },
    /// `WHISPER_MODEL_SIZE`.
    Named {
        /// The name as it was given.
        name: String,
        /// CTranslate2 folder of the model, if there is one; else the path where its ggml file is
        /// expected.
        path: PathBuf,
    },
}

impl ModelChoice {
    /// The model of a name that `WHISPER_MODEL_SIZE` may have, in that folder; `None` for any
    /// other text.
    pub fn named(dir: &Path, name: &str) -> Option<Self> {
        let name = parse::model_name(name).ok()?;
        Some(Self::in_folder(dir, name))
    }

    pub(super) fn in_folder(dir: &Path, name: String) -> Self {
        let folder = dir.join(parse::model_folder_name(&name));
        let path = if folder.is_dir() {
            folder
        } else {
            dir.join(parse::model_file_name(&name))
        };
        Self::Named { name, path }
    }

    /// Where the ggml file of a model of that name is, or would be; `None` where
    /// `WHISPER_MODEL_SIZE` knows no such name.
    pub fn ggml_file(dir: &Path, name: &str) -> Option<PathBuf> {
        let name = parse::model_name(name).ok()?;
        Some(dir.join(parse::model_file_name(&name)))
    }

    /// Where the CTranslate2 folder of a model of that name is, or would be; `None` where
    /// `WHISPER_MODEL_SIZE` knows no such name.
    pub fn ctranslate2_folder(dir: &Path, name: &str) -> Option<PathBuf> {
        let name = parse::model_name(name).ok()?;
        Some(dir.join(parse::model_folder_name(&name)))
    }

    /// Whether a model of this name can recognise the language, as far as the name tells.
    ///
    /// # Errors
    /// The model knows English only; the error says so in words.
    pub fn check_language(&self, language: Language) -> Result<(), String> {
        match self {
            Self::Named { name, .. } if name.contains(".en") && language.code() != Some("en") => {
                Err(format!("the model {name} knows English only"))
            }
            _ => Ok(()),
        }
    }

    /// The name by which it can be fetched: the one that it was chosen by, or the one in its path.
    pub fn published_name(&self) -> Option<String> {
        if let Self::Named { name, .. } = self {
            return Some(name.clone());
        }
        let file = self.path()?.file_name()?.to_str()?;
        let of_file = file
            .strip_prefix("ggml-")
            .and_then(|rest| rest.strip_suffix(".bin"));
        let name = of_file.or_else(|| file.strip_prefix("faster-whisper-"))?;
        parse::model_name(name).ok()
    }

    /// Name of the setting that chose the model, for messages.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Demo => "the bundled model",
            Self::File { .. } => "WHISPER_MODEL",
            Self::Named { .. } => "WHISPER_MODEL_SIZE",
        }
    }

    /// Name that the model was chosen by; `None` if it was not by `WHISPER_MODEL_SIZE`.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named { name, .. } => Some(name),
            Self::Demo | Self::File { .. } => None,
        }
    }

    /// The file or folder to load; `None` for the bundled model.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Demo => None,
            Self::File { path } | Self::Named { path, .. } => Some(path),
        }
    }
}

/// Settings `VAD_…` of the voice detector and the segmenter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VadSettings {
    /// Score from which a frame counts as voice while silent, 0.05 to 0.95.
    pub enter_score: f32,
    /// Score below which a frame counts as silence while speaking; not above [`Self::enter_score`].
    pub leave_score: f32,
    /// Audio before the first voiced frame that belongs to the utterance.
    pub pre_roll: Duration,
    /// Silence that ends an utterance.
    pub hang_over: Duration,
    /// Part of the hang-over that stays in the utterance; not above the whole of it.
    pub post_roll: Duration,
    /// Least duration of voice that an utterance must hold.
    pub min_speech: Duration,
    /// Length that no utterance exceeds; below Whisper's 30 s.
    pub max_utterance: Duration,
    /// Whether tones, keys and music are kept from recognition.
    pub sounds: bool,
}

/// Calls that are captured without being asked for: those that came in one of these ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureRule(pub(super) Vec<CallOrigin>);

impl CaptureRule {
    /// Whether the rule takes no call at all.
    pub fn is_off(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a call of that origin is captured.
    pub fn takes(&self, origin: CallOrigin) -> bool {
        self.0.contains(&origin)
    }
}

/// Shape of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
