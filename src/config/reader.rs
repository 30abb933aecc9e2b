//! Takes values out of the sources, gathers what is wrong with them, and checks
//! what concerns several settings at once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use asterscribe_call::Language;

use super::parse;
use super::problem::{SettingProblem, SettingsError, shown};
use super::slips;
use super::source::SettingsSource;
use super::table::{self, Setting, SettingPreset};
use super::types::{CorsOrigins, ModelChoice, PortRange, RateLimits, Secret, VadSettings};
use super::{AriSettings, CaptureSettings, Settings, SpoolSettings};
use crate::capture;

/// A token shorter than this can be guessed over a network in reasonable time.
const MIN_TOKEN_CHARS: usize = 16;

const MIN_RATE: NonZeroU32 = NonZeroU32::MIN;
const MAX_RATE: NonZeroU32 = match NonZeroU32::new(1_000_000) {
    Some(rate) => rate,
    None => MIN_RATE,
};

pub(super) struct SettingsReader<'a> {
    sources: &'a [&'a dyn SettingsSource],
    problems: Vec<SettingProblem>,
    warnings: Vec<String>,
}

/// The text of a setting as a source has it.
struct RawValue<'a> {
    text: String,
    origin: &'a str,
    /// Position of its source; 0 is the strongest.
    rank: usize,
}

impl<'a> SettingsReader<'a> {
    pub(super) fn new(sources: &'a [&'a dyn SettingsSource]) -> Self {
        Self {
            sources,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn finish(self, settings: Settings) -> Result<Settings, SettingsError> {
        if self.problems.is_empty() {
            Ok(Settings {
                warnings: self.warnings,
                ..settings
            })
        } else {
            Err(SettingsError::new(self.problems))
        }
    }

    /// A setting with a default. A wrong value is noted and the default taken,
    /// so that the rest can be checked too.
    pub(super) fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(name, &parse).unwrap_or_else(|| {
            let SettingPreset::Value(default) = setting(name).preset else {
                unreachable!("{name} has a default value")
            };
            parse(default).expect("the table's defaults are valid")
        })
    }

    /// A setting that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let raw = self.raw(name)?;
        match parse(raw.text.trim()) {
            Ok(value) => Some(value),
            Err(reason) => {
                let allowed = setting(name).allowed;
                self.refuse(name, format!("{reason}; allowed: {allowed}"));
                None
            }
        }
    }

    /// Thread `k` uses port + `k`: all of them must exist. Port 0 lets the system choose each.
    pub(super) fn check_port_range(&mut self, name: &str, port: Option<u16>, threads: usize) {
        let Some(port) = port.filter(|port| *port != 0) else {
            return;
        };
        if usize::from(port) + threads - 1 > usize::from(u16::MAX) {
            self.refuse(
                name,
                format!("RTP_THREADS={threads} needs the ports from {port} on; they end at 65535"),
            );
        }
    }

    /// Legs' own ports must leave the threads theirs.
    pub(super) fn check_own_ports(&mut self, own: Option<PortRange>, first: u16, threads: usize) {
        let Some(own) = own.filter(|_| first != 0) else {
            return;
        };
        let shared = (first..=u16::MAX).take(threads);
        if let Some(port) = shared.into_iter().find(|&port| own.contains(port)) {
            self.refuse(
                "RTP_PORTS",
                format!("holds {port}, which RTP_BIND takes for a thread"),
            );
        }
    }

    pub(super) fn api_token(&mut self) -> Option<Secret> {
        let current = self.optional("API_AUTH_TOKEN", parse::token);
        let old = self.optional("WEBSOCKET_AUTH_TOKEN", parse::token);
        match (current, old) {
            (Some(current), Some(old)) if current != old => {
                let message =
                    "differs from WEBSOCKET_AUTH_TOKEN, its old name; set one of them only";
                self.refuse("API_AUTH_TOKEN", message);
                None
            }
            (Some(token), _) => {
                if token.expose().len() < MIN_TOKEN_CHARS {
                    let allowed = setting("API_AUTH_TOKEN").allowed;
                    self.refuse("API_AUTH_TOKEN", format!("too short; allowed: {allowed}"));
                }
                Some(token)
            }
            (None, Some(token)) => {
                // Whoever comes from the predecessor may have a short one: it keeps working.
                if token.expose().len() < MIN_TOKEN_CHARS {
                    self.warnings.push(format!(
                        "WEBSOCKET_AUTH_TOKEN is shorter than {MIN_TOKEN_CHARS} characters and can be guessed; \
                         choose a longer one and set it as API_AUTH_TOKEN"
                    ));
                }
                Some(token)
            }
            (None, None) => None,
        }
    }

    /// Without a token nothing but programs on this machine may reach the API:
    /// no other machine, and no web page that a browser on this machine shows.
    pub(super) fn check_exposure(
        &mut self,
        http_bind: SocketAddr,
        has_token: bool,
        cors: &CorsOrigins,
    ) {
        // A wrong token has been reported already; "no token" would mislead.
        let token_is_wrong = self
            .problems
            .iter()
            .any(|problem| problem.name.ends_with("AUTH_TOKEN"));
        if has_token || token_is_wrong {
            return;
        }
        if !http_bind.ip().to_canonical().is_loopback() {
            self.refuse(
                "HTTP_BIND",
                "without API_AUTH_TOKEN everybody who reaches this address could read every call; \
                 set API_AUTH_TOKEN, or bind to 127.0.0.1",
            );
        }
        if *cors == CorsOrigins::Any {
            self.refuse(
                "CORS_ORIGINS",
                "without API_AUTH_TOKEN every web page open on this machine could read every call; \
                 set API_AUTH_TOKEN, or name the origins",
            );
        }
    }

    /// A filter that would silence the log by mistake is made one that does not.
    pub(super) fn log_filter(&mut self) -> String {
        let given = self.value("RUST_LOG", parse::log_filter);
        match slips::log_filter(&given) {
            None => given,
            Some((filter, told)) => {
                self.warnings.push(told);
                filter
            }
        }
    }

    pub(super) fn http_rates(&mut self) -> RateLimits {
        let mut rate = |name| self.value(name, |text| parse::number(text, MIN_RATE..=MAX_RATE));
        RateLimits {
            per_token: rate("HTTP_RATE"),
            per_stranger: rate("HTTP_STRANGER_RATE"),
            wrong_tokens: rate("HTTP_WRONG_TOKENS"),
        }
    }

    pub(super) fn ari(&mut self) -> Option<AriSettings> {
        let url = self.optional("ASTERISK_ARI_URL", parse::http_url);
        let user = self.optional("ASTERISK_ARI_USER", parse::ari_user);
        let password = self.optional("ASTERISK_ARI_PASSWORD", parse::password);
        let app = self.value("ASTERISK_APP", parse::app_name);
        let ca_file = self.optional("ASTERISK_CA_FILE", parse::path);
        let url = url?;
        for (name, missing) in [
            ("ASTERISK_ARI_USER", user.is_none()),
            ("ASTERISK_ARI_PASSWORD", password.is_none()),
        ] {
            if missing && self.raw(name).is_none() {
                self.refuse(
                    name,
                    "must be set with ASTERISK_ARI_URL; there is no default",
                );
            }
        }
        Some(AriSettings {
            url,
            user: user?,
            password: password?,
            app,
            ca_file,
        })
    }

    pub(super) fn spool(&mut self, sqlite: &Path) -> Option<SpoolSettings> {
        let path = self.optional("SPOOL_PATH", parse::path);
        let max_bytes = self.value("SPOOL_MAX_BYTES", |text| {
            parse::number(text, 1 << 16..=1 << 40)
        });
        let key = self.optional("SPOOL_KEY", parse::spool_key);
        let path = path.unwrap_or_else(|| beside(sqlite));
        if path == sqlite {
            self.refuse(
                "SPOOL_PATH",
                "is SQLITE_PATH's file; the spool needs its own",
            );
        }
        (path != Path::new("off")).then_some(SpoolSettings {
            path,
            max_bytes,
            key,
        })
    }

    pub(super) fn second_pass(
        &mut self,
        dir: &Path,
        language: Language,
        is_kept: bool,
    ) -> Option<ModelChoice> {
        const NAME: &str = "SECOND_PASS_MODEL";
        let name = self.optional(NAME, parse::model_name)?;
        let choice = ModelChoice::in_folder(dir, name);
        if !is_kept {
            self.refuse(NAME, "speech is kept for it in SPOOL_PATH, which is off");
        }
        if let Err(reason) = choice.check_language(language) {
            self.refuse(NAME, format!("{reason}, and WHISPER_LANGUAGE is another"));
        }
        if is_kept && self.raw("SPOOL_KEY").is_none() {
            self.warnings.push(format!(
                "{NAME} is set and SPOOL_KEY is not: all that is said is on the disk, unencrypted, until it has been heard once more"
            ));
        }
        Some(choice)
    }

    pub(super) fn capture(&mut self) -> Option<CaptureSettings> {
        const MOST: u64 = 1 << 40;
        let bytes = |text: &str| parse::number(text, capture::MIN_BYTES..=MOST);
        let dir = self.optional("CAPTURE_DIR", parse::path);
        let rule = self.value("CAPTURE_RULE", parse::capture_rule);
        let max_bytes = self.value("CAPTURE_MAX_BYTES", bytes);
        let total_bytes = self.value("CAPTURE_TOTAL_BYTES", bytes);
        if total_bytes < max_bytes {
            self.refuse(
                "CAPTURE_TOTAL_BYTES",
                "less than CAPTURE_MAX_BYTES: no call could be captured",
            );
        }
        if dir.is_none() && !rule.is_off() && self.raw("CAPTURE_DIR").is_none() {
            self.refuse(
                "CAPTURE_DIR",
                "must be set for CAPTURE_RULE to capture calls",
            );
        }
        Some(CaptureSettings {
            dir: dir?,
            rule,
            max_bytes,
            total_bytes,
        })
    }

    pub(super) fn vad(&mut self) -> VadSettings {
        let millis = |range: RangeInclusive<u64>| {
            move |text: &str| parse::number(text, range.clone()).map(Duration::from_millis)
        };
        let vad = VadSettings {
            enter_score: self.value("VAD_ENTER_SCORE", parse::score),
            leave_score: self.value("VAD_LEAVE_SCORE", parse::score),
            pre_roll: self.value("VAD_PRE_ROLL_MS", millis(0..=1_000)),
            hang_over: self.value("VAD_HANG_OVER_MS", millis(100..=5_000)),
            post_roll: self.value("VAD_POST_ROLL_MS", millis(0..=5_000)),
            min_speech: self.value("VAD_MIN_SPEECH_MS", millis(16..=2_000)),
            max_utterance: self.value("VAD_MAX_UTTERANCE_SECS", |text| {
                parse::number(text, 5..=29).map(Duration::from_secs)
            }),
            sounds: self.value("VAD_SOUNDS", parse::on_off),
        };
        if vad.leave_score > vad.enter_score {
            self.refuse(
                "VAD_LEAVE_SCORE",
                "above VAD_ENTER_SCORE: what begins an utterance would end it",
            );
        }
        if vad.post_roll > vad.hang_over {
            self.refuse(
                "VAD_POST_ROLL_MS",
                "more than VAD_HANG_OVER_MS, of which it is a part",
            );
        }
        vad
    }

    /// The stronger source wins; within one source a path wins over a size.
    pub(super) fn model(&mut self, dir: &Path, language: Language) -> ModelChoice {
        let file = self.optional("WHISPER_MODEL", parse::path);
        let size = self.optional("WHISPER_MODEL_SIZE", parse::model_name);
        let file_wins = self.rank("WHISPER_MODEL") <= self.rank("WHISPER_MODEL_SIZE");
        let choice = match (file, size) {
            (Some(path), None) => ModelChoice::File { path },
            (Some(path), Some(_)) if file_wins => {
                self.warnings
                    .push("WHISPER_MODEL is set, so WHISPER_MODEL_SIZE is ignored".to_owned());
                ModelChoice::File { path }
            }
            (None, Some(name)) => ModelChoice::in_folder(dir, name),
            (Some(_), Some(name)) => {
                self.warnings.push(
                    "WHISPER_MODEL_SIZE comes from a stronger source; WHISPER_MODEL is ignored"
                        .to_owned(),
                );
                ModelChoice::in_folder(dir, name)
            }
            (None, None) => ModelChoice::Demo,
        };
        if let Err(reason) = choice.check_language(language) {
            self.refuse(
                "WHISPER_LANGUAGE",
                format!("{reason}; take one without .en, or en here"),
            );
        }
        choice
    }

    fn refuse(&mut self, name: &str, message: impl Into<String>) {
        let raw = self.raw(name);
        let setting = setting(name);
        let (value, origin) = match (&raw, setting.preset) {
            (Some(raw), _) => (Some(raw.text.as_str()), raw.origin),
            (None, SettingPreset::Value(default)) => (Some(default), "default"),
            (None, _) => (None, "not set"),
        };
        let origin = origin.to_owned();
        let value = value.filter(|_| !setting.secret).map(shown);
        self.problems.push(SettingProblem {
            name: name.to_owned(),
            value,
            origin,
            message: message.into(),
        });
    }

    fn raw(&self, name: &str) -> Option<RawValue<'a>> {
        self.sources.iter().enumerate().find_map(|(rank, source)| {
            let text = source.get(setting(name).name)?;
            Some(RawValue {
                text,
                origin: source.label(),
                rank,
            })
        })
    }

    fn rank(&self, name: &str) -> usize {
        self.raw(name).map_or(usize::MAX, |raw| raw.rank)
    }
}

fn setting(name: &str) -> &'static Setting {
    table::find(name).expect("every setting that is read is in the table")
}

/// Path of the spool beside an SQLite file: `calls.db` gives `calls-spool.db`.
fn beside(sqlite: &Path) -> PathBuf {
    let mut name = OsString::from(sqlite.file_stem().unwrap_or_default());
    name.push("-spool");
    let mut beside = sqlite.with_file_name(name);
    if let Some(extension) = sqlite.extension() {
        // Not set_extension: the name may hold another dot.
        beside.as_mut_os_string().push(".");
        beside.as_mut_os_string().push(extension);
    }
    beside
}
