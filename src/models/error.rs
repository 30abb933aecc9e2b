//! Errors of fetching a model, each with advice.

use std::io;
use std::path::{Path, PathBuf};

use asterscribe_recognition::model::ModelError;
use reqwest::StatusCode;
use url::Url;

/// Reason why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// A file or folder that is no model has the name.
    #[error("{path} is there and is not what is published: {reason}; move it away first")]
    InTheWay {
        /// Path of the file or folder.
        path: PathBuf,
        /// Reason why it is not taken for the model.
        reason: String,
    },
    /// Another process is fetching the model; the path is that of the partial file or folder.
    #[error("{0} is in use: another download of the same model runs; wait for it to end")]
    Busy(PathBuf),
    /// The server cannot be reached.
    #[error("cannot fetch {url}: {reason}")]
    Request {
        /// Address that was asked.
        url: Url,
        /// Reason, in words.
        reason: String,
    },
    /// The server does not have the file, or does not give it.
    #[error("{url} answers {status}; {}", advice(*status))]
    Refused {
        /// Address that was asked.
        url: Url,
        /// Status of the server's answer.
        status: StatusCode,
    },
    /// The hub does not say what the model consists of.
    #[error(
        "{url} does not list the files of a model: {reason}; see whether MODELS_HUB_URL names a hub"
    )]
    Listing {
        /// Address that was asked.
        url: Url,
        /// Fault in the hub's answer.
        reason: String,
    },
    /// The file is not the published one.
    #[error(
        "{url} has {announced} bytes, where the published file has {wanted}; what is here of it was kept"
    )]
    Size {
        /// Address of the file.
        url: Url,
        /// Bytes that the server announced.
        announced: u64,
        /// Bytes of the published file.
        wanted: u64,
    },
    /// The server sent more bytes than it announced.
    #[error("{url} sent more than the {total} bytes that there should be; all of it was removed")]
    TooLong {
        /// Address of the file.
        url: Url,
        /// Bytes that were announced.
        total: u64,
    },
    /// The connection broke off.
    #[error(
        "the download of {url} broke off after {done} bytes: {reason}; the same command goes on from there"
    )]
    BrokenOff {
        /// Address of the file.
        url: Url,
        /// Bytes that are here.
        done: u64,
        /// Reason, in words.
        reason: String,
    },
    /// The file is complete and is not the published one.
    #[error(
        "what came from {url} has the {kind} {found}, the published file has {wanted}; it was removed"
    )]
    Hash {
        /// Address of the file.
        url: Box<Url>,
        /// Kind of the hash, such as SHA-256.
        kind: &'static str,
        /// Hash of the file that came.
        found: String,
        /// Hash of the published file.
        wanted: String,
    },
    /// The file or folder is complete and is no usable model.
    #[error("what came is of no use and was removed: {0}")]
    NoModel(ModelError),
    /// The disk does not take the model.
    #[error(
        "cannot write {path}: {source}; once that is mended, the same command goes on with what is here"
    )]
    Disk {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
}

/// Makes an error of the disk at that path.
pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> PullError {
    let path = path.to_owned();
    move |source| PullError::Disk { path, source }
}

/// Advice for a server that answers with that status.
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
