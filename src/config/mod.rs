//! The settings: the only place where the environment and configuration files
//! are read. Everything else is handed typed values.
//!
//! A value comes from the first of these that has it: the process environment,
//! `.env` in the working directory, the TOML file, the default. An empty value
//! counts as absent, in every layer: that is what compose files and shells
//! leave behind for a variable nobody set.
//!
//! All wrong settings are reported together, see [`SettingsError`].

mod parse;
mod problem;
mod reader;
mod slips;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod types;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use asterscribe_call::Language;
use asterscribe_codecs::MediaFormat;
use asterscribe_recognition::ladder::ContextMargins;
use asterscribe_store::{RetentionTimes, SpoolKey};
use url::Url;

pub use self::problem::{SettingProblem, SettingsError};
use self::reader::SettingsReader;
pub use self::source::{SettingsLayer, SettingsSource};
pub use self::table::{SETTINGS, Setting, SettingPreset, settings_markdown};
pub use self::types::{
    AdvertisedAddress, CaptureRule, CorsOrigins, EndpointTemplate, LogFormat, ModelChoice,
    NetworkList, PortRange, RateLimits, RtpMode, Secret, VadSettings,
};

/// All settings, checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Address and port on which the REST API listens.
    pub http_bind: SocketAddr,
    /// Token that a client must present as `Authorization: Bearer …` (RFC 6750); `None`: the API is
    /// open to this machine.
    pub api_token: Option<Secret>,
    /// Web pages that may use the API from a browser.
    pub cors: CorsOrigins,
    /// Requests that each client may make per second or minute.
    pub http_rates: RateLimits,
    /// Connections that one address may have open.
    pub http_connections_per_address: usize,
    /// First RTP socket; thread `k` uses this port plus `k`.
    pub rtp_bind: SocketAddr,
    /// Address that peers are to send RTP to. `None`: that of [`Self::rtp_bind`] or, if it is
    /// unspecified, one that the server finds out itself.
    pub rtp_advertise: Option<AdvertisedAddress>,
    /// Threads (and sockets) that receive RTP, 1 to 64.
    pub rtp_threads: usize,
    /// Ports that registered legs have to themselves; `None`: they share the threads' sockets.
    pub rtp_own_ports: Option<PortRange>,
    /// The Asterisk to attach to, if any.
    pub ari: Option<AriSettings>,
    /// Format that Asterisk is asked to send, such as `ulaw`.
    pub media_format: MediaFormat,
    /// Template that makes an Asterisk endpoint of a destination.
    pub originate_endpoint: EndpointTemplate,
    /// The speech model.
    pub model: ModelChoice,
    /// Folder in which models are looked for by name.
    pub models_dir: PathBuf,
    /// Base URL from which ggml files of models are downloaded.
    pub models_url: Url,
    /// Base URL from which ACFT weights are downloaded.
    pub models_acft_url: Url,
    /// Hub from which CTranslate2 folders of models are downloaded.
    pub models_hub_url: Url,
    /// Language of the calls, or its detection.
    pub language: Language,
    /// Recognition threads.
    pub stt_workers: usize,
    /// Utterances that may wait for a recognition thread.
    pub stt_queue: usize,
    /// Command that starts a recognition process; `None`: this program.
    pub stt_program: Option<Vec<String>>,
    /// Margins of the encoder's context for each try at an utterance; `None`: those measured for
    /// the model.
    pub context_margins: Option<ContextMargins>,
    /// Whether transcripts show sentences that are still being spoken.
    pub partial_results: bool,
    /// Settings of the voice detector and the segmenter.
    pub vad: VadSettings,
    /// Calls that may be open at the same time.
    pub max_concurrent_calls: usize,
    /// A registered call from which no RTP comes for this long is over.
    pub media_idle: Duration,
    /// Name of this server in the records of a shared store.
    pub node_name: String,
    /// The SQLite file; used unless [`Self::redis_url`] is set.
    pub sqlite_path: PathBuf,
    /// Redis, where it is the store. A secret because it may carry a password.
    pub redis_url: Option<Secret>,
    /// Spool for speech that recognition has no time for; `None`: such speech is not kept.
    pub spool: Option<SpoolSettings>,
    /// Model of the second pass; `None`: calls are recognised once.
    pub second_pass: Option<ModelChoice>,
    /// Times for which calls and transcripts are kept.
    pub retention: RetentionTimes,
    /// Settings of captures; `None`: calls cannot be captured.
    pub capture: Option<CaptureSettings>,
    /// Folder of sound files that may be played to calls; `None`: none may by name.
    pub play_dir: Option<PathBuf>,
    /// Upper bound on the size of a sound file, bytes.
    pub play_max_bytes: usize,
    /// Networks that sounds may be sent to, beside loopback and Asterisk.
    pub play_targets: NetworkList,
    /// Shape of the log.
    pub log_format: LogFormat,
    /// `tracing` filter directives.
    pub log_filter: String,
    /// Settings that are legal but probably not meant, in words, for the log at start.
    pub warnings: Vec<String>,
}

/// Spool for speech that recognition has no time for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// SQLite file of the spool.
    pub path: PathBuf,
    /// Bytes that the spool may take.
    pub max_bytes: u64,
    /// Key by which the rows are encrypted; `None`: they are not.
    pub key: Option<SpoolKey>,
}

/// How calls are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSettings {
    /// Where captures are kept.
    pub dir: PathBuf,
    /// Calls that are captured without being asked for.
    pub rule: CaptureRule,
    /// Bytes of one capture.
    pub max_bytes: u64,
    /// Bytes of all captures together.
    pub total_bytes: u64,
}

/// How to reach Asterisk's REST interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AriSettings {
    /// Base URL, `http` or `https`, without credentials; with or without `/ari`.
    pub url: Url,
    /// User of `ari.conf`.
    pub user: String,
    /// Password of that user.
    pub password: Secret,
    /// Name of the Stasis application.
    pub app: String,
    /// PEM file of CA certificates that are trusted beside the system's, for `https`.
    pub ca_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the process environment, `.env` and the TOML file (`config_file`,
    /// else the one that `ASTERSCRIBE_CONFIG` names), and loads the settings.
    ///
    /// # Errors
    /// Everything that is wrong in any of them, together.
    pub fn from_process(config_file: Option<&Path>) -> Result<Self, SettingsError> {
        let (environment, mut problems) = source::environment();
        let (dotenv, dotenv_problems) = source::dotenv(Path::new(".env"));
        problems.extend(dotenv_problems);

        let named = || {
            [&environment, &dotenv]
                .into_iter()
                .find_map(|layer| layer.get(table::CONFIG_FILE))
        };
        let file = config_file
            .map(Path::to_owned)
            .or_else(|| named().map(|path| PathBuf::from(path.trim())));
        let toml = file.map(|path| source::toml_file(&path));
        let mut sources: Vec<&dyn SettingsSource> = vec![&environment, &dotenv];
        if let Some((layer, toml_problems)) = &toml {
            problems.extend(toml_problems.iter().cloned());
            sources.push(layer);
        }

        let mut slips = slips::misspelt(&dotenv, ".env");
        slips.extend(slips::misspelt(&source::environment_names(), "environment"));
        match Self::load(&sources) {
            Ok(mut settings) if problems.is_empty() => {
                settings.warnings.extend(slips);
                Ok(settings)
            }
            Ok(_) => Err(SettingsError::new(problems)),
            Err(error) => Err(SettingsError::new(
                problems.into_iter().chain(error.problems).collect(),
            )),
        }
    }

    /// Loads the settings from `sources`, the strongest first.
    ///
    /// # Errors
    /// Every wrong setting, together.
    pub fn load(sources: &[&dyn SettingsSource]) -> Result<Self, SettingsError> {
        let mut reader = SettingsReader::new(sources);
        let settings = Self::read(&mut reader);
        reader.finish(settings)
    }

    fn read(reader: &mut SettingsReader<'_>) -> Self {
        let rtp_bind = reader.value("RTP_BIND", parse::bind_address);
        let rtp_threads = reader.value("RTP_THREADS", |text| parse::number(text, 1..=64));
        let rtp_advertise = reader.optional("RTP_ADVERTISE", parse::advertise);
        reader.check_port_range("RTP_BIND", Some(rtp_bind.port()), rtp_threads);
        reader.check_port_range(
            "RTP_ADVERTISE",
            rtp_advertise.and_then(|a| a.port),
            rtp_threads,
        );
        let rtp_mode = reader.value("RTP_MODE", parse::rtp_mode);
        let rtp_ports = reader.value("RTP_PORTS", parse::port_range);
        let rtp_own_ports = (rtp_mode == RtpMode::PerCall).then_some(rtp_ports);
        reader.check_own_ports(rtp_own_ports, rtp_bind.port(), rtp_threads);

        let http_bind = reader.value("HTTP_BIND", parse::bind_address);
        let api_token = reader.api_token();
        let cors = reader.value("CORS_ORIGINS", parse::cors_origins);
        reader.check_exposure(http_bind, api_token.is_some(), &cors);

        let language = reader.value("WHISPER_LANGUAGE", parse::language);
        let sqlite_path = reader.value("SQLITE_PATH", parse::path);
        let models_dir = reader.value("WHISPER_MODELS_DIR", parse::path);
        let model = reader.model(&models_dir, language);
        let spool = reader.spool(&sqlite_path);
        let second_pass = reader.second_pass(&models_dir, language, spool.is_some());
        Self {
            http_bind,
            api_token,
            cors,
            http_rates: reader.http_rates(),
            http_connections_per_address: reader.value("HTTP_CONNECTIONS_PER_ADDRESS", |text| {
                parse::number(text, 1..=100_000)
            }),
            rtp_bind,
            rtp_advertise,
            rtp_threads,
            rtp_own_ports,
            ari: reader.ari(),
            media_format: reader.value("MEDIA_FORMAT", parse::media_format),
            originate_endpoint: reader.value("ORIGINATE_ENDPOINT", parse::endpoint_template),
            model,
            models_dir,
            models_url: reader.value("MODELS_URL", parse::http_url),
            models_acft_url: reader.value("MODELS_ACFT_URL", parse::http_url),
            models_hub_url: reader.value("MODELS_HUB_URL", parse::http_url),
            language,
            stt_workers: reader
                .optional("STT_WORKERS", |text| parse::number(text, 1..=256))
                .unwrap_or_else(default_stt_workers),
            stt_queue: reader.value("STT_QUEUE", |text| parse::number(text, 1..=100_000)),
            stt_program: reader.optional("STT_PROGRAM", parse::words),
            context_margins: reader.value("WHISPER_CONTEXT", parse::context_margins),
            partial_results: reader.value("PARTIAL_RESULTS", parse::on_off),
            vad: reader.vad(),
            max_concurrent_calls: reader.value("MAX_CONCURRENT_CALLS", |text| {
                parse::number(text, 1..=100_000)
            }),
            media_idle: reader.value("MEDIA_IDLE_SECS", |text| {
                parse::number(text, 5..=86_400).map(Duration::from_secs)
            }),
            node_name: reader
                .optional("NODE_NAME", parse::node_name)
                .unwrap_or_else(source::host_name),
            spool,
            second_pass,
            sqlite_path,
            redis_url: reader.optional("REDIS_URL", parse::redis_url),
            retention: RetentionTimes {
                call: reader.value("CALL_RETENTION_SECS", retention),
                transcript: reader.value("TRANSCRIPT_RETENTION_SECS", retention),
            },
            capture: reader.capture(),
            play_dir: reader.optional("PLAY_DIR", parse::path),
            play_max_bytes: reader
                .value("PLAY_MAX_BYTES", |text| parse::number(text, 1024..=1 << 30)),
            play_targets: reader.value("PLAY_TARGETS", parse::networks),
            log_format: reader.value("LOG_FORMAT", parse::log_format),
            log_filter: reader.log_filter(),
            warnings: Vec::new(),
        }
    }
}

/// Ten years: beyond it a mistake is likelier than a wish.
const MAX_RETENTION_SECS: u64 = 315_360_000;

fn retention(text: &str) -> Result<Duration, String> {
    parse::number(text, 1..=MAX_RETENTION_SECS).map(Duration::from_secs)
}

/// One core is left to the media path and the API.
fn default_stt_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}
