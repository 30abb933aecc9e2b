//! Fetches a file of a model, going on where an earlier attempt broke off.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, redirect};
use url::{Host, Url};

use super::catalogue::published;
use super::part::Part;
use crate::config::ModelChoice;
use crate::speech::model::{self, Candidate, Model, ModelError};

/// Time for a connection to come up, and between two pieces of the file.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const READ_PATIENCE: Duration = Duration::from_secs(60);

/// Redirects from one place to the next.
const MAX_REDIRECTS: usize = 10;

/// A file whose size nobody knows is not followed further than this.
const MOST: u64 = 16 << 30;

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// From where.
    pub url: Url,
    /// What it shall be called here.
    pub path: PathBuf,
    /// Its size, if it is known.
    pub bytes: Option<u64>,
    /// Its SHA-256, if it is known, hexadecimal.
    pub sha256: Option<String>,
}

/// What became of it.
#[derive(Debug)]
pub enum Pulled {
    /// It was here already.
    Present(Model),
    /// It was fetched.
    Fetched(Model),
}

/// Why it is not here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// Another file has its name.
    #[error("{path} is there and is not the published file: {reason}; move it away first")]
    InTheWay {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else is fetching it.
    #[error("{0} is in use: another download of the same model runs")]
    Busy(PathBuf),
    /// The server cannot be asked.
    #[error("cannot fetch {url}: {reason}")]
    Request {
        /// From where.
        url: Url,
        /// Why.
        reason: String,
    },
    /// The server does not have it, or does not give it.
    #[error("{url} answers {status}")]
    Refused {
        /// From where.
        url: Url,
        /// What it said.
        status: StatusCode,
    },
    /// It is not what is published.
    #[error("{url} has {announced} bytes, where the published model has {wanted}")]
    Size {
        /// From where.
        url: Url,
        /// So many bytes, by the server's account.
        announced: u64,
        /// So many there should be.
        wanted: u64,
    },
    /// The server sent more than it said.
    #[error("{url} sent more than the {total} bytes that there should be")]
    TooLong {
        /// From where.
        url: Url,
        /// So many there should be.
        total: u64,
    },
    /// The connection broke off.
    #[error(
        "the download broke off after {done} bytes: {reason}; the same command goes on from there"
    )]
    BrokenOff {
        /// So many bytes are here.
        done: u64,
        /// Why.
        reason: String,
    },
    /// It came whole, and is not what is published.
    #[error("what came has the SHA-256 {found}, the published model has {wanted}; it was removed")]
    Hash {
        /// Of what came.
        found: String,
        /// As published.
        wanted: String,
    },
    /// It came whole, and is no model.
    #[error("what came is of no use and was removed: {0}")]
    NoModel(ModelError),
    /// It cannot be kept.
    #[error("cannot write {path}: {source}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Wanted {
    /// The model that `WHISPER_MODEL_SIZE` may name so, from the folder `base`; `None` for
    /// any other name.
    pub fn named(name: &str, base: &Url, folder: &Path) -> Option<Self> {
        let path = ModelChoice::named(folder, name)?.path()?.to_owned();
        let file = path.file_name()?.to_str()?;
        let known = published(stem(file)?);
        let mut url = base.clone();
        let mut segments = url.path_segments_mut().ok()?;
        segments.pop_if_empty().push(file);
        drop(segments);
        Some(Self {
            url,
            bytes: known.map(|known| known.bytes),
            sha256: known.map(|known| known.sha256.to_owned()),
            path,
        })
    }
}

/// The NAME in `ggml-NAME.bin`.
pub(super) fn stem(file: &str) -> Option<&str> {
    file.strip_prefix("ggml-")?.strip_suffix(".bin")
}

/// Fetches a model and checks it. Nothing but the whole and right file gets its name.
///
/// # Errors
/// It is not here. What came of it is kept for the next attempt, unless it is wrong.
pub async fn pull(
    wanted: &Wanted,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<Pulled, PullError> {
    if let Some(model) = present(wanted)? {
        return Ok(Pulled::Present(model));
    }
    let mut part = Part::open(&wanted.path)?;
    if let Err(error) = fetch(wanted, &mut part, progress).await {
        if part.length() == 0 {
            part.discard()?;
        }
        return Err(error);
    }
    if let Err(wrong) = verify(wanted, part.path()) {
        part.discard()?;
        return Err(wrong);
    }
    part.finish(&wanted.path)?;
    let model = Model::open(&wanted.path).map_err(PullError::NoModel)?;
    Ok(Pulled::Fetched(model))
}

/// The file, if it is here and the one that is wanted.
fn present(wanted: &Wanted) -> Result<Option<Model>, PullError> {
    if !wanted.path.exists() {
        return Ok(None);
    }
    let in_the_way = |reason| PullError::InTheWay {
        path: wanted.path.clone(),
        reason,
    };
    let model = Model::open(&wanted.path).map_err(|error| in_the_way(error.to_string()))?;
    match &wanted.sha256 {
        Some(sha256) if *sha256 != model.sha256 => {
            Err(in_the_way(format!("its SHA-256 is {}", model.sha256)))
        }
        _ => Ok(Some(model)),
    }
}

/// Whether what came is right: the hash first, which says more than the structure.
fn verify(wanted: &Wanted, path: &Path) -> Result<(), PullError> {
    if let Some(sha256) = &wanted.sha256 {
        let found = File::open(path).and_then(|mut file| model::hash(&mut file));
        let found = found.map_err(|source| PullError::Disk {
            path: path.to_owned(),
            source,
        })?;
        if found != *sha256 {
            return Err(PullError::Hash {
                found,
                wanted: sha256.clone(),
            });
        }
    }
    Candidate::open(path).map_err(PullError::NoModel)?;
    Ok(())
}

async fn fetch(
    wanted: &Wanted,
    part: &mut Part,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<(), PullError> {
    if part.length() > 0 && Some(part.length()) == wanted.bytes {
        return Ok(());
    }
    let client = client(&wanted.url).map_err(|error| unanswered(wanted, &error))?;
    let (mut response, total) = match begin(&client, wanted, part).await? {
        Some(begun) => begun,
        // What is here is of no use to this server: all of it, then.
        None => {
            part.begin(None)?;
            begin(&client, wanted, part)
                .await?
                .ok_or_else(|| PullError::Request {
                    url: wanted.url.clone(),
                    reason: "it answers with a part that was not asked for".to_owned(),
                })?
        }
    };
    let most = total.unwrap_or(MOST);
    progress(part.length(), total);
    let broken_off = |done, reason| PullError::BrokenOff { done, reason };
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| broken_off(part.length(), causes(&error)))?;
        let Some(chunk) = chunk else { break };
        if part.length() + chunk.len() as u64 > most {
            part.begin(None)?;
            return Err(PullError::TooLong {
                url: wanted.url.clone(),
                total: most,
            });
        }
        part.append(&chunk)?;
        progress(part.length(), total);
    }
    match total {
        Some(total) if part.length() < total => Err(broken_off(
            part.length(),
            format!("the server ended it, where {total} bytes were to come"),
        )),
        _ => Ok(()),
    }
}

/// Asks for what is missing; the answer, and how long the whole file will be. `None` if the
/// answer does not continue what is here.
async fn begin(
    client: &Client,
    wanted: &Wanted,
    part: &mut Part,
) -> Result<Option<(Response, Option<u64>)>, PullError> {
    let mut request = client.get(wanted.url.clone());
    let tag = part.tag().filter(|_| part.length() > 0).map(str::to_owned);
    if let Some(tag) = &tag {
        request = request
            .header(RANGE, format!("bytes={}-", part.length()))
            .header(IF_RANGE, tag);
    }
    let response = request.send().await;
    let response = response.map_err(|error| unanswered(wanted, &error))?;
    let total = match response.status() {
        StatusCode::OK => {
            part.begin(strong_tag(&response).as_deref())?;
            response.content_length().or(wanted.bytes)
        }
        StatusCode::PARTIAL_CONTENT if tag.is_some() => {
            let same = strong_tag(&response).is_none_or(|now| Some(now) == tag);
            match content_range(&response) {
                Some((first, total)) if same && first == part.length() => Some(total),
                _ => return Ok(None),
            }
        }
        // It has no more than what is here.
        StatusCode::RANGE_NOT_SATISFIABLE if tag.is_some() => return Ok(None),
        status => {
            return Err(PullError::Refused {
                url: wanted.url.clone(),
                status,
            });
        }
    };
    match (total, wanted.bytes) {
        (Some(announced), Some(size)) if announced != size => Err(PullError::Size {
            url: wanted.url.clone(),
            announced,
            wanted: size,
        }),
        _ => Ok(Some((response, total))),
    }
}

/// The tag of the version that is sent, if it stands for every byte (RFC 9110 section 8.8.1).
fn strong_tag(response: &Response) -> Option<String> {
    let tag = response.headers().get(ETAG)?.to_str().ok()?;
    tag.starts_with('"').then(|| tag.to_owned())
}

/// Where a part begins, and how long the whole is (RFC 9110 section 14.4).
fn content_range(response: &Response) -> Option<(u64, u64)> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()?))
}

fn client(url: &Url) -> Result<Client, reqwest::Error> {
    let follow =
        redirect::Policy::custom(
            |attempt| match may_follow(attempt.previous(), attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(reason) => attempt.error(reason),
            },
        );
    let mut builder = Client::builder()
        .user_agent(concat!("asterscribe/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_PATIENCE)
        .read_timeout(READ_PATIENCE)
        .redirect(follow);
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    if is_here {
        // No proxy leads to this machine.
        builder = builder.no_proxy();
    }
    builder.build()
}

/// Whether a redirect is followed: not out of https, and not for ever.
pub(super) fn may_follow(previous: &[Url], next: &Url) -> Result<(), String> {
    let was_secret = previous.iter().any(|url| url.scheme() == "https");
    if was_secret && next.scheme() != "https" {
        return Err(format!("it redirects from https to {next}"));
    }
    if previous.len() > MAX_REDIRECTS {
        return Err(format!("it redirects more than {MAX_REDIRECTS} times"));
    }
    Ok(())
}

fn unanswered(wanted: &Wanted, error: &reqwest::Error) -> PullError {
    PullError::Request {
        url: wanted.url.clone(),
        reason: causes(error),
    }
}

/// An error and what is behind it; the outermost alone says little.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() {
        error.to_string()
    } else {
        text
    }
}
