//! From text to values. Errors say what is wrong with the text, without
//! quoting it (it may be secret); what is allowed stands in the table.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use asterscribe_call as call;
use asterscribe_call::Language;
use asterscribe_codecs::MediaFormat;
use asterscribe_recognition::ladder::ContextMargins;
use asterscribe_store::SpoolKey;
use tracing_subscriber::EnvFilter;
use url::{Origin, Url};

use super::problem::shown;
use super::slips;
use super::types::{
    AddressNetwork, AdvertisedAddress, CaptureRule, CorsOrigins, EndpointTemplate, LogFormat,
    NetworkList, PortRange, RtpMode, Secret,
};

type ParsedValue<T> = Result<T, String>;

pub(super) fn number<T>(text: &str, range: RangeInclusive<T>) -> ParsedValue<T>
where
    T: FromStr + PartialOrd + Display,
{
    let number: T = text.parse().map_err(|_| "not such a number".to_owned())?;
    match () {
        () if number < *range.start() => Err("too small".to_owned()),
        () if number > *range.end() => Err("too big".to_owned()),
        () => Ok(number),
    }
}

/// A score of the voice detector, short of never and always.
pub(super) fn score(text: &str) -> ParsedValue<f32> {
    let score: f32 = number(text, 0.05..=0.95)?;
    if score.is_nan() {
        return Err("not such a number".to_owned());
    }
    Ok(score)
}

pub(super) fn bind_address(text: &str) -> ParsedValue<SocketAddr> {
    let address: SocketAddr = text.parse().map_err(|_| "not IP:PORT".to_owned())?;
    if address.ip().is_multicast() {
        return Err("a multicast address".to_owned());
    }
    Ok(address)
}

pub(super) fn advertise(text: &str) -> ParsedValue<AdvertisedAddress> {
    let advertise = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(address), _) => AdvertisedAddress {
            ip: address.ip(),
            port: Some(address.port()),
        },
        (_, Ok(ip)) => AdvertisedAddress { ip, port: None },
        _ => return Err("neither IP nor IP:PORT".to_owned()),
    };
    if advertise.ip.is_unspecified() || advertise.ip.is_multicast() {
        return Err("nobody can send to that address".to_owned());
    }
    if advertise.port == Some(0) {
        return Err("nobody can send to port 0".to_owned());
    }
    Ok(advertise)
}

pub(super) fn rtp_mode(text: &str) -> ParsedValue<RtpMode> {
    match text {
        "shared" => Ok(RtpMode::Shared),
        "per-call" => Ok(RtpMode::PerCall),
        _ => Err("neither of them".to_owned()),
    }
}

pub(super) fn port_range(text: &str) -> ParsedValue<PortRange> {
    let (first, last) = text.split_once('-').ok_or("not FIRST-LAST")?;
    let first = number(first.trim(), 1024..=u16::MAX)?;
    let last = number(last.trim(), 1024..=u16::MAX)?;
    let range = PortRange { first, last };
    match range.even().next() {
        Some(_) => Ok(range),
        None if first > last => Err("ends before it begins".to_owned()),
        None => Err("has no even port".to_owned()),
    }
}

/// A bearer token: visible ASCII, because it travels in a header (RFC 6750 §2.1).
pub(super) fn token(text: &str) -> ParsedValue<Secret> {
    if text.len() > 512 {
        return Err("too long".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has spaces or characters beyond ASCII".to_owned());
    }
    password(text)
}

/// A secret that is no placeholder from the documentation.
pub(super) fn password(text: &str) -> ParsedValue<Secret> {
    if slips::is_placeholder(text) {
        return Err("a placeholder, not a secret: make one with openssl rand -hex 24".to_owned());
    }
    Ok(Secret::new(text))
}

pub(super) fn cors_origins(text: &str) -> ParsedValue<CorsOrigins> {
    let entries: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .collect();
    match entries.as_slice() {
        ["*"] => Ok(CorsOrigins::Any),
        list if list.contains(&"*") => Err("* beside other origins".to_owned()),
        list if list.len() > 64 => Err("more than 64 origins".to_owned()),
        list => list
            .iter()
            .map(|entry| origin(entry))
            .collect::<ParsedValue<_>>()
            .map(CorsOrigins::List),
    }
}

/// An origin in the form that browsers send: lower case, no default port (RFC 6454 §6.2).
fn origin(text: &str) -> ParsedValue<String> {
    let url = Url::parse(text).map_err(|error| format!("{} is no origin: {error}", shown(text)))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    match url.origin() {
        Origin::Tuple(scheme, ..)
            if bare && anonymous && matches!(scheme.as_str(), "http" | "https") =>
        {
            Ok(url.origin().ascii_serialization())
        }
        _ => Err(format!("{} is not just scheme, host and port", shown(text))),
    }
}

/// A list of addresses and networks.
pub(super) fn networks(text: &str) -> ParsedValue<NetworkList> {
    let entries = text.split(',').map(str::trim);
    let entries: Vec<_> = entries.filter(|entry| !entry.is_empty()).collect();
    if entries.len() > 256 {
        return Err("more than 256 of them".to_owned());
    }
    let networks = entries.into_iter().map(network);
    networks.collect::<ParsedValue<_>>().map(NetworkList)
}

fn network(text: &str) -> ParsedValue<AddressNetwork> {
    let none = || format!("{} is neither IP nor IP/BITS", shown(text));
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| none())?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), |bits| number(bits, 0..=most));
    Ok(AddressNetwork {
        ip,
        bits: bits.map_err(|_| none())?,
    })
}

pub(super) fn http_url(text: &str) -> ParsedValue<Url> {
    let url = Url::parse(text).map_err(|error| format!("no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user and password have settings of their own".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    Ok(url)
}

pub(super) fn ari_user(text: &str) -> ParsedValue<String> {
    if text.contains(':') || text.chars().any(char::is_control) {
        // RFC 7617 §2: the colon ends the user name.
        return Err("has a colon or a control character".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn app_name(text: &str) -> ParsedValue<String> {
    let fits = (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not such a name".to_owned())
    }
}

pub(super) fn redis_url(text: &str) -> ParsedValue<Secret> {
    let url = Url::parse(text).map_err(|error| format!("no URL: {error}"))?;
    if !matches!(url.scheme(), "redis" | "rediss") {
        return Err("neither redis nor rediss".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    if let Some(text) = url.password() {
        // The URL has what is no ASCII in hexadecimal.
        password(&text.replace("%E2%80%A6", "…"))?;
    }
    Ok(Secret::new(text))
}

pub(super) fn media_format(text: &str) -> ParsedValue<MediaFormat> {
    text.parse::<MediaFormat>()
        .map_err(|error| error.to_string())
}

pub(super) fn node_name(text: &str) -> ParsedValue<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.len() <= 64 && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("has other characters, or is too long".to_owned())
    }
}

pub(super) fn endpoint_template(text: &str) -> ParsedValue<EndpointTemplate> {
    if text.matches(EndpointTemplate::PLACE).count() != 1 {
        return Err(format!(
            "must contain {} exactly once",
            EndpointTemplate::PLACE
        ));
    }
    let around = text.replace(EndpointTemplate::PLACE, "");
    let technology = text
        .split_once('/')
        .map_or("", |(technology, _)| technology);
    if technology.is_empty() || !technology.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("does not begin with a channel technology and a slash".to_owned());
    }
    if text.len() > 256
        || !around
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}'))
    {
        return Err("has braces, spaces or characters beyond ASCII, or is too long".to_owned());
    }
    Ok(EndpointTemplate(text.to_owned()))
}

/// `on` or `off`.
pub(super) fn on_off(text: &str) -> ParsedValue<bool> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("neither on nor off".to_owned()),
    }
}

/// A key of 256 bits, in hexadecimal.
pub(super) fn spool_key(text: &str) -> ParsedValue<SpoolKey> {
    SpoolKey::from_hex(text).ok_or_else(|| "no such key".to_owned())
}

/// `auto` (`None`), or margins of the encoder's context.
pub(super) fn context_margins(text: &str) -> ParsedValue<Option<ContextMargins>> {
    match text {
        "auto" => Ok(None),
        margins => margins.parse().map(Some),
    }
}

/// Command as a list of words, which spaces separate.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

pub(super) fn path(text: &str) -> ParsedValue<PathBuf> {
    if text.contains('\0') {
        return Err("has a NUL".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// The models published for whisper.cpp, some of them fine-tuned for short contexts; `large` and `turbo` are the names that
/// Whisper's own tools give to the newest of their kind.
const MODELS: &str = "tiny tiny.en base base.en small small.en medium medium.en \
    large large-v1 large-v2 large-v3 large-v3-turbo turbo \
    tiny-acft tiny.en-acft base-acft base.en-acft small-acft small.en-acft";

pub(super) fn model_name(text: &str) -> ParsedValue<String> {
    let plain = ["-q5_0", "-q5_1", "-q8_0"]
        .iter()
        .find_map(|suffix| text.strip_suffix(suffix))
        .unwrap_or(text);
    if MODELS.split_whitespace().any(|model| model == plain) {
        Ok(text.to_owned())
    } else {
        Err("not such a model".to_owned())
    }
}

/// Name of the ggml file of a model.
pub(super) fn model_file_name(name: &str) -> String {
    format!("ggml-{}.bin", published_name(name))
}

/// Name of the CTranslate2 folder of a model.
pub(super) fn model_folder_name(name: &str) -> String {
    format!("faster-whisper-{}", published_name(name))
}

/// Name under which a model is published: that of the newest one for `large` and `turbo`.
fn published_name(name: &str) -> String {
    let stands_for = [("large", "large-v3"), ("turbo", "large-v3-turbo")];
    let plain = name.split("-q").next().unwrap_or(name);
    let meant = stands_for.iter().find(|(short, _)| *short == plain);
    meant.map_or_else(
        || name.to_owned(),
        |(short, long)| name.replacen(short, long, 1),
    )
}

pub(super) fn language(text: &str) -> ParsedValue<Language> {
    text.parse()
        .map_err(|error: call::InvalidChoice| error.to_string())
}

pub(super) fn capture_rule(text: &str) -> ParsedValue<CaptureRule> {
    const WAYS: [(&str, call::CallOrigin); 4] = [
        ("stasis", call::CallOrigin::Stasis),
        ("initiated", call::CallOrigin::Initiated),
        ("tap", call::CallOrigin::Tap),
        ("media", call::CallOrigin::Media),
    ];
    let ways: Vec<_> = match text {
        "off" => Vec::new(),
        "all" => WAYS.iter().map(|(_, origin)| *origin).collect(),
        list => list
            .split(',')
            .map(|name| {
                let way = WAYS.iter().find(|(way, _)| *way == name.trim());
                way.map(|(_, origin)| *origin)
                    .ok_or_else(|| format!("no call comes by way of {}", shown(name.trim())))
            })
            .collect::<ParsedValue<_>>()?,
    };
    Ok(CaptureRule(ways))
}

pub(super) fn log_format(text: &str) -> ParsedValue<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("not such a format".to_owned()),
    }
}

pub(super) fn log_filter(text: &str) -> ParsedValue<String> {
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}
