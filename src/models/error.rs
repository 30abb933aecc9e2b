//! Why a model could not be fetched, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use url::Url;

use crate::speech::model::ModelError;

/// Why a model is not here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// Something else has the name.
    #[error("{path} is there and is not what is published: {reason}; move it away first")]
    InTheWay {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else is fetching the model.
    #[error("{0} is in use: another download of the same model runs; wait for it to end")]
    Busy(PathBuf),
    /// The server cannot be asked.
    #[error("cannot fetch {url}: {reason}")]
    Request {
        /// From where.
        url: Url,
        /// Why.
        reason: String,
    },
    /// The server does not have the file, or does not give it.
    #[error("{url} answers {status}; {}", advice(*status))]
    Refused {
        /// From where.
        url: Url,
        /// What it said.
        status: StatusCode,
    },
    /// The hub does not say what the model consists of.
    #[error(
        "{url} does not list the files of a model: {reason}; see whether MODELS_HUB_URL names a hub"
    )]
    Listing {
        /// From where.
        url: Url,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The file is not the published one.
    #[error(
        "{url} has {announced} bytes, where the published file has {wanted}; what is here of it was kept"
    )]
    Size {
        /// From where.
        url: Url,
        /// So many bytes, by the server's account.
        announced: u64,
        /// So many there should be.
        wanted: u64,
    },
    /// The server sent more than it said.
    #[error("{url} sent more than the {total} bytes that there should be; all of it was removed")]
    TooLong {
        /// From where.
        url: Url,
        /// So many there should be.
        total: u64,
    },
    /// The connection broke off.
    #[error(
        "the download of {url} broke off after {done} bytes: {reason}; the same command goes on from there"
    )]
    BrokenOff {
        /// From where.
        url: Url,
        /// So many bytes are here.
        done: u64,
        /// Why.
        reason: String,
    },
    /// The file came whole, and is not the published one.
    #[error(
        "what came from {url} has the {kind} {found}, the published file has {wanted}; it was removed"
    )]
    Hash {
        /// From where.
        url: Box<Url>,
        /// Which hash.
        kind: &'static str,
        /// Of what came.
        found: String,
        /// As published.
        wanted: String,
    },
    /// The model came whole, and is none.
    #[error("what came is of no use and was removed: {0}")]
    NoModel(ModelError),
    /// The model cannot be kept.
    #[error(
        "cannot write {path}: {source}; once that is mended, the same command goes on with what is here"
    )]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A failure of the disk at that path.
pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> PullError {
    let path = path.to_owned();
    move |source| PullError::Disk { path, source }
}

/// What to do where a server answers so.
fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            "it wants to be asked less: the same command goes on in some minutes"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            "it does not have the file, or not for everybody: see MODELS_URL and MODELS_HUB_URL"
        }
        status if status.is_server_error() => "the same command may succeed later",
        _ => "see MODELS_URL and MODELS_HUB_URL",
    }
}
