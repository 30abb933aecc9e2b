//! The table of settings: what the program reads, what the documentation says.

use std::fmt::Write as _;

/// Names the TOML file; cannot stand in it.
pub(super) const CONFIG_FILE: &str = "ASTERSCRIBE_CONFIG";

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Name in the environment and in `.env`; the TOML key is the same in lower case.
    pub name: &'static str,
    /// Value that holds where the setting is absent.
    pub preset: SettingPreset,
    /// Accepted values, in words.
    pub allowed: &'static str,
    /// Effect of the setting, in words.
    pub meaning: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
    group: &'static str,
}

/// The value that holds where nothing is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingPreset {
    /// A value, as it would be written.
    Value(&'static str),
    /// No value, or one that is found out at start: in words.
    Words(&'static str),
}

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The settings as Markdown: the text of `docs/settings.md`.
pub fn settings_markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            push(
                &mut text,
                format_args!(
                    "\n## {group}\n\n| Name | Default | Allowed | Meaning |\n|---|---|---|---|\n"
                ),
            );
        }
        let Setting {
            name,
            allowed,
            meaning,
            ..
        } = setting;
        let preset = match setting.preset {
            SettingPreset::Value("") => "none".to_owned(),
            SettingPreset::Value(value) => format!("`{value}`"),
            SettingPreset::Words(words) => words.to_owned(),
        };
        push(
            &mut text,
            format_args!("| `{name}` | {preset} | {allowed} | {meaning} |\n"),
        );
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes everything");
}

const INTRODUCTION: &str = "\
# Settings

A setting is taken from the first of these that has it:

1. the process environment;
2. `.env` in the working directory (`NAME=value` lines; put values with spaces, `#` or `$` in single quotes);
3. the TOML file that `--config FILE` or `ASTERSCRIBE_CONFIG` names (keys are the names below in lower case; an
   unknown key is an error; a list may be given as an array);
4. the default.

An empty value counts as absent. Settings are read once, at start. Wrong ones stop the start, and all of them are
reported together: name, value, origin, and what is allowed. Values of secrets are never shown, in errors or in the log.
";

const HTTP: &str = "REST API";
const RTP: &str = "RTP";
const ASTERISK: &str = "Asterisk";
const SPEECH: &str = "Speech";
const STORE: &str = "Calls and store";
const CAPTURE: &str = "Captures";
const PLAY: &str = "Audio to calls";
const OTHER: &str = "Log and files";

const fn plain(
    group: &'static str,
    name: &'static str,
    preset: SettingPreset,
    allowed: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        name,
        preset,
        allowed,
        meaning,
        secret: false,
        group,
    }
}

const fn secret(
    group: &'static str,
    name: &'static str,
    allowed: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        name,
        preset: NONE,
        allowed,
        meaning,
        secret: true,
        group,
    }
}

const NONE: SettingPreset = SettingPreset::Words("none");

const fn preset(value: &'static str) -> SettingPreset {
    SettingPreset::Value(value)
}

/// Every setting, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    plain(
        HTTP,
        "HTTP_BIND",
        preset("127.0.0.1:8000"),
        "IP:PORT, such as 127.0.0.1:8000 or [::1]:8000",
        "Where the REST API listens. An address beyond loopback needs `API_AUTH_TOKEN`, else the server does not start.",
    ),
    secret(
        HTTP,
        "API_AUTH_TOKEN",
        "16 to 512 visible ASCII characters without spaces",
        "What clients must send as `Authorization: Bearer …`. Without it, only programs on this machine are served, \
         and web pages not at all.",
    ),
    secret(
        HTTP,
        "WEBSOCKET_AUTH_TOKEN",
        "1 to 512 visible ASCII characters without spaces",
        "Old name of `API_AUTH_TOKEN`. A token shorter than 16 characters keeps working under this name, with a \
         warning. If both names are set they must agree.",
    ),
    plain(
        HTTP,
        "CORS_ORIGINS",
        preset(""),
        "origins such as https://example.org separated by commas, or * with API_AUTH_TOKEN",
        "Web pages that may use the API from a browser, compared exactly. `*` lets every page try, and so needs a \
         token: without one, any page open on this machine could read every call. Cookies are never used.",
    ),
    plain(
        HTTP,
        "HTTP_RATE",
        preset("10000"),
        "a whole number from 1 to 1000000",
        "Requests a second that are answered to whoever has the token; without one, to each address. More get 429 with `Retry-After`.",
    ),
    plain(
        HTTP,
        "HTTP_STRANGER_RATE",
        preset("100"),
        "a whole number from 1 to 1000000",
        "Requests a second that are looked at from an address that does not have the right token, `GET /health` among them. Behind a reverse proxy all \
         such clients have its address; who has the token is not held back by them.",
    ),
    plain(
        HTTP,
        "HTTP_WRONG_TOKENS",
        preset("120"),
        "a whole number from 1 to 1000000",
        "Wrong tokens a minute from an address; more get 429.",
    ),
    plain(
        HTTP,
        "HTTP_CONNECTIONS_PER_ADDRESS",
        preset("512"),
        "a whole number from 1 to 100000",
        "Connections of one address, an IPv6 network of 64 bits being one. For one more, that one of them is put out which keeps the server waiting for the \
         longest; all addresses together have 1,024.",
    ),
    plain(
        RTP,
        "RTP_BIND",
        preset("127.0.0.1:40000"),
        "IP:PORT",
        "UDP address that receives RTP. Port 0 lets the system choose.",
    ),
    plain(
        RTP,
        "RTP_ADVERTISE",
        SettingPreset::Words("the bound address"),
        "IP or IP:PORT that senders can reach",
        "Where Asterisk and other senders are told to send, if that differs from `RTP_BIND` (containers, NAT).",
    ),
    plain(
        RTP,
        "RTP_THREADS",
        preset("1"),
        "a whole number from 1 to 64",
        "Threads that receive RTP. Thread `k` (from 0) uses the port of `RTP_BIND` plus `k`.",
    ),
    plain(
        RTP,
        "RTP_MODE",
        preset("shared"),
        "shared, per-call",
        "`shared`: all legs of a thread are heard at its port and told apart by their source. `per-call`: each leg, of a call \
         of Asterisk or registered through `POST /api/call/{id}/media`, gets a port of `RTP_PORTS` to itself.",
    ),
    plain(
        RTP,
        "RTP_PORTS",
        preset("42000-45999"),
        "FIRST-LAST, from 1024 to 65535",
        "With `RTP_MODE=per-call`: the UDP ports, of the address of `RTP_BIND`, whose even ones are given to legs: \
         one to a call, two to a tap. With too few left, a caller goes on in the dialplan, and what the API is asked for is \
         refused with 503. A port rests 10 s before it is used again. An address translator must leave them as they are.",
    ),
    plain(
        ASTERISK,
        "ASTERISK_ARI_URL",
        NONE,
        "an http or https URL without user, password or query",
        "Asterisk's HTTP server, such as `http://127.0.0.1:8088`. Without it the server runs without Asterisk.",
    ),
    plain(
        ASTERISK,
        "ASTERISK_ARI_USER",
        NONE,
        "a user of ari.conf, without a colon",
        "Required with `ASTERISK_ARI_URL`.",
    ),
    secret(
        ASTERISK,
        "ASTERISK_ARI_PASSWORD",
        "the user's password",
        "Required with `ASTERISK_ARI_URL`.",
    ),
    plain(
        ASTERISK,
        "ASTERISK_CA_FILE",
        NONE,
        "path of a file of certificates in PEM",
        "CAs that are believed for an `https` `ASTERISK_ARI_URL`, beside the system's. Asterisk's own script makes certificates of version 1, which nobody \
         checks any more: [how to make one](../deploy/asterisk/README.md#tls).",
    ),
    plain(
        ASTERISK,
        "ASTERISK_APP",
        preset("asterscribe"),
        "1 to 32 of A-Z a-z 0-9 _ -",
        "Name of the Stasis application, as the dialplan's `Stasis()` gives it.",
    ),
    plain(
        ASTERISK,
        "MEDIA_FORMAT",
        preset("ulaw"),
        "ulaw, alaw, gsm, g722, opus, slin, slin12, slin16, slin24, slin32, slin44, slin48 or slin96",
        "The format that Asterisk is asked to send. `g722` and `opus` are wide band in no more bandwidth than `ulaw`; `g722`, `gsm` and `opus` need Asterisk's codec module of that name. From `slin44` on packets are longer than an Ethernet frame.",
    ),
    plain(
        ASTERISK,
        "ORIGINATE_ENDPOINT",
        preset("PJSIP/{destination}"),
        "TECHNOLOGY/… with {destination} once",
        "What `POST /api/call/initiate` dials, such as `PJSIP/{destination}@trunk`.",
    ),
    plain(
        SPEECH,
        "WHISPER_MODEL",
        SettingPreset::Words("the bundled demo model"),
        "path of a ggml file",
        "The speech model. Wins over `WHISPER_MODEL_SIZE`, unless that comes from a stronger source.",
    ),
    plain(
        SPEECH,
        "WHISPER_MODEL_SIZE",
        NONE,
        "tiny, tiny.en, base, base.en, small, small.en, medium, medium.en, large, large-v1, large-v2, large-v3, \
         large-v3-turbo or turbo, of the first six also with -acft; optionally with -q5_0, -q5_1 or -q8_0",
        "The speech model by name: the folder `faster-whisper-NAME` in `WHISPER_MODELS_DIR`, for CTranslate2, or else the file `ggml-NAME.bin`, for whisper.cpp. `large` is `large-v3`, `turbo` is `large-v3-turbo`.",
    ),
    plain(
        SPEECH,
        "WHISPER_MODELS_DIR",
        preset("models"),
        "path of a folder",
        "Where models are looked for by name.",
    ),
    plain(
        SPEECH,
        "MODELS_URL",
        preset("https://huggingface.co/ggerganov/whisper.cpp/resolve/main"),
        "an http or https URL without user, password or query",
        "The folder from which `asterscribe models pull` downloads `ggml-NAME.bin`. The server itself downloads nothing.",
    ),
    plain(
        SPEECH,
        "MODELS_HUB_URL",
        preset("https://huggingface.co"),
        "an http or https URL without user, password or query",
        "The hub from which `asterscribe models pull` downloads the folders `faster-whisper-NAME`: Hugging Face's, or a mirror with its API.",
    ),
    plain(
        SPEECH,
        "MODELS_ACFT_URL",
        preset("https://voiceinput.futo.org/VoiceInput"),
        "an http or https URL without user, password or query",
        "The folder from which `asterscribe models pull` downloads the models with `-acft` in their names.",
    ),
    plain(
        SPEECH,
        "WHISPER_LANGUAGE",
        preset("en"),
        "a language code of Whisper's, such as en or de, several such as en,de, or auto",
        "What is spoken, where a call says nothing else ([api.md](api.md)). With several, or `auto`, Whisper decides, \
         for each utterance of a party until one leaves no doubt.",
    ),
    plain(
        SPEECH,
        "STT_WORKERS",
        SettingPreset::Words("number of cores less one, at least 1"),
        "a whole number from 1 to 256",
        "Utterances recognised at the same time. Each has a process to itself, or, with a model of more than 300 MiB, a thread of one.",
    ),
    plain(
        SPEECH,
        "STT_QUEUE",
        preset("64"),
        "a whole number from 1 to 100000",
        "Utterances that may wait for recognition in memory; beyond it they wait on the disk (`SPOOL_PATH`).",
    ),
    plain(
        SPEECH,
        "STT_PROGRAM",
        SettingPreset::Words("this program"),
        "a command and its arguments, separated by spaces",
        "What is started as a recognition process, such as `nice -n 5 asterscribe recognise`. It must end in this program's `recognise`.",
    ),
    plain(
        SPEECH,
        "WHISPER_CONTEXT",
        preset("auto"),
        "auto, whole, or up to four numbers from 0 to 1500, rising, separated by commas; before them, sentinel+ and a number",
        "How much of Whisper's window the encoder computes: the utterance and so many positions of 20 ms behind it, then more where the result looks \
         broken, at last the whole window of 30 s. `sentinel+64`: in English the first try has a spoken word behind the utterance, and 64 positions behind \
         that; not with whisper.cpp. `auto`: what was measured for the model; `whole`: the whole window at once ([models.md](models.md)).",
    ),
    plain(
        SPEECH,
        "PARTIAL_RESULTS",
        preset("on"),
        "on, off",
        "Whether the transcript shows what a party has said so far of its sentence, where the call says nothing else. They take at most a tenth of the \
         workers' time, and none when anything else waits.",
    ),
    plain(
        SPEECH,
        "SECOND_PASS_MODEL",
        NONE,
        "a name, as WHISPER_MODEL_SIZE has it: tiny.en, large-v3-turbo-q5_0 …",
        "The model by which a call is heard once more when it is over, where the call says nothing else; none: it is not. Needs `SPOOL_PATH`, of which such \
         speech may take half. It is loaded when there is something for it and nobody waits for live text, works at the lowest priority, and is gone half a minute after.",
    ),
    plain(
        SPEECH,
        "VAD_ENTER_SCORE",
        preset("0.5"),
        "a number from 0.05 to 0.95",
        "Score of the voice detector from which 16 ms count as voice while nobody speaks. Lower takes noise for speech, higher loses weak beginnings: \
         [segmentation.md](segmentation.md) has the figures for these settings.",
    ),
    plain(
        SPEECH,
        "VAD_LEAVE_SCORE",
        preset("0.35"),
        "a number from 0.05 to 0.95, not above VAD_ENTER_SCORE",
        "Score below which they count as silence while somebody speaks. So does whatever is no louder than the line's own noise.",
    ),
    plain(
        SPEECH,
        "VAD_PRE_ROLL_MS",
        preset("240"),
        "a whole number from 0 to 1000",
        "Milliseconds that an utterance keeps of what was before its voice.",
    ),
    plain(
        SPEECH,
        "VAD_HANG_OVER_MS",
        preset("500"),
        "a whole number from 100 to 5000",
        "Milliseconds of silence that end an utterance. Every line comes that much after its last word.",
    ),
    plain(
        SPEECH,
        "VAD_POST_ROLL_MS",
        preset("300"),
        "a whole number from 0 to 5000, not above VAD_HANG_OVER_MS",
        "Milliseconds of that silence that stay in the utterance.",
    ),
    plain(
        SPEECH,
        "VAD_MIN_SPEECH_MS",
        preset("80"),
        "a whole number from 16 to 2000",
        "Milliseconds of voice that an utterance must hold to be recognised.",
    ),
    plain(
        SPEECH,
        "VAD_MAX_UTTERANCE_SECS",
        preset("28"),
        "a whole number from 5 to 29",
        "An utterance is cut before it gets longer, at the quietest place of its last 4 s. Whisper hears 30 s at once.",
    ),
    plain(
        SPEECH,
        "VAD_SOUNDS",
        preset("on"),
        "on, off",
        "Whether ringback, busy and other tones, keys pressed in band and music are kept from recognition, and listed as `sounds` of the leg instead.",
    ),
    plain(
        STORE,
        "MAX_CONCURRENT_CALLS",
        preset("100"),
        "a whole number from 1 to 100000",
        "Calls that may be open at the same time; beyond it new ones are refused.",
    ),
    plain(
        STORE,
        "MEDIA_IDLE_SECS",
        preset("120"),
        "a whole number from 5 to 86400",
        "A call registered through `POST /api/call/{id}/media` ends when no RTP came for this long.",
    ),
    plain(
        STORE,
        "NODE_NAME",
        SettingPreset::Words("the host's name"),
        "1 to 64 characters out of A-Z a-z 0-9 . _ -",
        "Name of this server in the records, where several share a store. Keep it over restarts: a server settles what it left open under its own name. Of two that run at the same time each needs its own; with one name neither settles anything, and `/health` says so.",
    ),
    plain(
        STORE,
        "SQLITE_PATH",
        preset("asterscribe.db"),
        "path of a file",
        "The store, unless `REDIS_URL` is set.",
    ),
    plain(
        STORE,
        "SPOOL_PATH",
        SettingPreset::Words("`SQLITE_PATH` with `-spool` in its name"),
        "path of a file, or off",
        "Where speech waits that nobody had time for within 15 s: it is recognised when there is, also after its call and after a \
         restart. And where all speech of calls is kept that are heard once more (`SECOND_PASS_MODEL`), until they have been. One server's alone. Without it what waits 50 s becomes a gap.",
    ),
    plain(
        STORE,
        "SPOOL_MAX_BYTES",
        preset("1073741824"),
        "a whole number from 65536 to 1099511627776",
        "Bytes of all speech that waits, half of it at most for a second pass; beyond it what nobody has time for becomes a gap. A second of speech takes 9 to 20 kB, by codec and loudness: 1 GiB holds 15 to 33 hours of it.",
    ),
    secret(
        STORE,
        "SPOOL_KEY",
        "64 hexadecimal digits",
        "Encrypts the speech that is on the disk (XChaCha20-Poly1305). What was kept with another key waits until that is set again; what was kept without one is recognised all the same.",
    ),
    secret(
        STORE,
        "REDIS_URL",
        "a redis:// or rediss:// URL",
        "Redis as the store. Secret because it may hold a password.",
    ),
    plain(
        STORE,
        "CALL_RETENTION_SECS",
        preset("86400"),
        "a whole number from 1 to 315360000",
        "How long a call's record and digits are kept, in seconds.",
    ),
    plain(
        STORE,
        "TRANSCRIPT_RETENTION_SECS",
        preset("604800"),
        "a whole number from 1 to 315360000",
        "How long a call's transcript is kept, in seconds.",
    ),
    plain(
        CAPTURE,
        "CAPTURE_DIR",
        NONE,
        "path of a folder",
        "Where captures of calls are kept; made if it does not exist. Without it no call is captured. They hold what was \
         said: only this server's user can read them, and they are removed after `CALL_RETENTION_SECS`.",
    ),
    plain(
        CAPTURE,
        "CAPTURE_RULE",
        preset("off"),
        "off, all, or some of stasis, initiated, tap, media separated by commas",
        "Calls that are captured without being asked for, by how they came. `off`: those that \
         `POST /api/call/{id}/capture` names, and no other.",
    ),
    plain(
        CAPTURE,
        "CAPTURE_MAX_BYTES",
        preset("67108864"),
        "a whole number from 262144 to 1099511627776",
        "Bytes of one capture. Beyond it the oldest packets go; 64 MiB hold 45 minutes of two ulaw legs, and at least half of that stays.",
    ),
    plain(
        CAPTURE,
        "CAPTURE_TOTAL_BYTES",
        preset("1073741824"),
        "a whole number from 262144 to 1099511627776, not below CAPTURE_MAX_BYTES",
        "Bytes of all captures together. The oldest go when a new one needs room; one that runs keeps its own.",
    ),
    plain(
        PLAY,
        "PLAY_DIR",
        NONE,
        "path of a folder",
        "WAV files that `POST /api/call/{id}/play` may name. Without it, sounds can only be sent along.",
    ),
    plain(
        PLAY,
        "PLAY_MAX_BYTES",
        preset("10485760"),
        "a whole number from 1024 to 1073741824",
        "How large a sound file may be, sent along or named.",
    ),
    plain(
        PLAY,
        "PLAY_TARGETS",
        preset(""),
        "addresses such as 192.0.2.7 or networks such as 10.0.0.0/8, separated by commas",
        "To which sources of `POST /api/call/{id}/media` sounds may be sent, beside loopback and the hosts of `ASTERISK_ARI_URL`. \
         What Asterisk itself names as a source may always be; a port of this server never.",
    ),
    plain(
        OTHER,
        "LOG_FORMAT",
        preset("text"),
        "text or json",
        "Shape of the log, which goes to standard error.",
    ),
    plain(
        OTHER,
        "RUST_LOG",
        preset("info"),
        "filter directives such as info,asterscribe=debug",
        "What is logged.",
    ),
    plain(
        OTHER,
        CONFIG_FILE,
        NONE,
        "path of a TOML file",
        "The configuration file; `--config FILE` wins over it.",
    ),
];
