//! Fetches one file over HTTP, going on where an earlier attempt broke off.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, redirect};
use url::{Host, Url};

use super::error::PullError;
use super::part::PartialFile;

/// Time for a connection to come up, and between two pieces of the file.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const READ_PATIENCE: Duration = Duration::from_secs(60);

/// Redirects from one place to the next.
const MAX_REDIRECTS: usize = 10;

/// A file whose size nobody knows is not followed further than this.
pub(super) const MOST: u64 = 16 << 30;

/// The listener of a download: who hears how many bytes are here, of how many if that is known.
pub(super) type ProgressListener<'a> = &'a mut (dyn FnMut(u64, Option<u64>) + Send);

/// Fetches what is missing of a file, of that size if it is known.
///
/// # Errors
/// The file is not whole. What came of it stays in `part`, unless it is of no use.
pub(super) async fn fetch(
    client: &Client,
    url: &Url,
    bytes: Option<u64>,
    part: &mut PartialFile,
    progress: ProgressListener<'_>,
) -> Result<(), PullError> {
    if part.length() > 0 && Some(part.length()) == bytes {
        return Ok(());
    }
    let (mut response, total) = match begin(client, url, bytes, part).await? {
        Some(begun) => begun,
        // What is here is of no use to this server: all of it, then.
        None => {
            part.begin(None)?;
            begin(client, url, bytes, part)
                .await?
                .ok_or_else(|| PullError::Request {
                    url: url.clone(),
                    reason: "it answers with a part that was not asked for".to_owned(),
                })?
        }
    };
    let most = total.unwrap_or(MOST);
    progress(part.length(), total);
    let broken_off = |done, reason| PullError::BrokenOff {
        url: url.clone(),
        done,
        reason,
    };
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| broken_off(part.length(), causes(&error)))?;
        let Some(chunk) = chunk else { break };
        if part.length() + chunk.len() as u64 > most {
            part.begin(None)?;
            return Err(PullError::TooLong {
                url: url.clone(),
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
    url: &Url,
    bytes: Option<u64>,
    part: &mut PartialFile,
) -> Result<Option<(Response, Option<u64>)>, PullError> {
    let mut request = client.get(url.clone());
    let tag = part.tag().filter(|_| part.length() > 0).map(str::to_owned);
    if let Some(tag) = &tag {
        request = request
            .header(RANGE, format!("bytes={}-", part.length()))
            .header(IF_RANGE, tag);
    }
    let response = request.send().await;
    let response = response.map_err(|error| unanswered(url, &error))?;
    let (begins_anew, total) = match response.status() {
        StatusCode::OK => (true, response.content_length().or(bytes)),
        StatusCode::PARTIAL_CONTENT if tag.is_some() => {
            let same = strong_tag(&response).is_none_or(|now| Some(now) == tag);
            match content_range(&response) {
                Some((first, total)) if same && first == part.length() => (false, Some(total)),
                _ => return Ok(None),
            }
        }
        // It has no more than what is here.
        StatusCode::RANGE_NOT_SATISFIABLE if tag.is_some() => return Ok(None),
        status => {
            return Err(PullError::Refused {
                url: url.clone(),
                status,
            });
        }
    };
    if let (Some(announced), Some(wanted)) = (total, bytes)
        && announced != wanted
    {
        return Err(PullError::Size {
            url: url.clone(),
            announced,
            wanted,
        });
    }
    // Only now: a page of some proxy's in the place of the file costs nothing of what is here.
    if begins_anew {
        part.begin(strong_tag(&response).as_deref())?;
    }
    Ok(Some((response, total)))
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

/// Reads a short answer whole: at most so many bytes, within [`READ_PATIENCE`] in all.
///
/// # Errors
/// There is no such answer; [`PullError::Listing`] if it is longer.
pub(super) async fn read_short(
    client: &Client,
    url: &Url,
    most: usize,
) -> Result<Vec<u8>, PullError> {
    let response = client.get(url.clone()).timeout(READ_PATIENCE).send().await;
    let mut response = response.map_err(|error| unanswered(url, &error))?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(PullError::Refused {
            url: url.clone(),
            status,
        });
    }
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| unanswered(url, &error))? else {
            return Ok(body);
        };
        if body.len() + chunk.len() > most {
            return Err(PullError::Listing {
                url: url.clone(),
                reason: format!("the answer has more than {most} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
}

/// A client for the server of that address.
///
/// # Errors
/// There are no certificates to trust, for example.
pub(super) fn client(url: &Url) -> Result<Client, PullError> {
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
    builder.build().map_err(|error| unanswered(url, &error))
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

fn unanswered(url: &Url, error: &reqwest::Error) -> PullError {
    PullError::Request {
        url: url.clone(),
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
