//! Contents of a repository on a Hugging Face hub: its newest commit, and the files of that commit
//! with their sizes and hashes.
//!
//! `GET /api/models/REPOSITORY/revision/main` has the commit in `sha`, `GET
//! /api/models/REPOSITORY/tree/COMMIT` the list of files; `oid` is Git's name of a file, and a
//! large one has in `lfs` its SHA-256. Nothing of an answer is believed that the rest of this
//! program would have to trust: names are those of an allow-list, sizes are bounded.

use asterscribe_recognition::model::{MAX_TEXT, REQUIRED_FILES, VOCABULARIES, WEIGHTS};
use reqwest::Client;
use serde::Deserialize;
use url::Url;

use super::error::PullError;
use super::fetch::{MOST, read_short};
use super::hash::FileHash;

/// Most bytes of an answer; real ones have some thousands.
const MAX_ANSWER: usize = 1 << 20;

/// Most files of a repository; real ones have ten.
const MAX_FILES: usize = 1000;

/// The branch that is published.
const BRANCH: &str = "main";

/// A repository of a hub.
#[derive(Debug, Clone, Copy)]
pub(super) struct HubRepository<'a> {
    /// Address of the hub.
    pub(super) hub: &'a Url,
    /// `OWNER/NAME`.
    pub(super) name: &'a str,
}

/// A file of a repository that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubFile {
    pub(super) name: &'static str,
    pub(super) bytes: u64,
    pub(super) hash: FileHash,
}

impl HubRepository<'_> {
    /// The newest commit.
    ///
    /// # Errors
    /// The hub does not say.
    pub(super) async fn newest_commit(&self, client: &Client) -> Result<String, PullError> {
        let url = self.address(&["api", "models"], &["revision", BRANCH]);
        let answer = read_short(client, &url, MAX_ANSWER).await?;
        parse_commit(&answer).map_err(|reason| PullError::Listing { url, reason })
    }

    /// The files of a commit that are wanted, the weights last.
    ///
    /// # Errors
    /// The hub does not say, or a file is missing.
    pub(super) async fn files(
        &self,
        client: &Client,
        commit: &str,
    ) -> Result<Vec<HubFile>, PullError> {
        let url = self.address(&["api", "models"], &["tree", commit]);
        let answer = read_short(client, &url, MAX_ANSWER).await?;
        parse_files(&answer).map_err(|reason| PullError::Listing { url, reason })
    }

    /// Address of a file of a commit.
    pub(super) fn file_url(&self, commit: &str, name: &str) -> Url {
        self.address(&[], &["resolve", commit, name])
    }

    fn address(&self, before: &[&str], after: &[&str]) -> Url {
        let mut url = self.hub.clone();
        // The setting takes http and https only, which have a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(before);
            segments.extend(self.name.split('/')).extend(after);
        }
        url
    }
}

#[derive(Deserialize)]
struct HubRevision {
    sha: String,
}

#[derive(Deserialize)]
struct HubEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: u64,
}

fn parse_commit(answer: &[u8]) -> Result<String, String> {
    let revision: HubRevision = parse(answer)?;
    if !is_hex(&revision.sha, 40) {
        return Err("its sha is no commit".to_owned());
    }
    Ok(revision.sha)
}

fn parse_files(answer: &[u8]) -> Result<Vec<HubFile>, String> {
    let entries: Vec<HubEntry> = parse(answer)?;
    if entries.len() > MAX_FILES {
        return Err(format!("it has more than {MAX_FILES} files"));
    }
    if let Some(entry) = entries.iter().find(|entry| !is_inside(&entry.path)) {
        return Err(format!("it names the path {:?}", shortened(&entry.path)));
    }
    let required = REQUIRED_FILES.into_iter().map(|name| {
        let file = find(&entries, name)?;
        file.ok_or_else(|| format!("it has no {name}"))
    });
    let mut files = required.collect::<Result<Vec<_>, _>>()?;
    for name in VOCABULARIES {
        if let Some(file) = find(&entries, name)? {
            files.push(file);
            break;
        }
    }
    if files.len() == REQUIRED_FILES.len() {
        return Err(format!("it has neither {}", VOCABULARIES.join(" nor ")));
    }
    files.sort_by_key(|file| file.name == WEIGHTS);
    Ok(files)
}

/// The file of exactly that name.
fn find(entries: &[HubEntry], name: &'static str) -> Result<Option<HubFile>, String> {
    let mut named = entries.iter().filter(|entry| entry.path == name);
    let Some(entry) = named.next() else {
        return Ok(None);
    };
    if named.next().is_some() {
        return Err(format!("it names {name} twice"));
    }
    if entry.kind != "file" {
        return Err(format!("its {name} is no file"));
    }
    let most = if name == WEIGHTS { MOST } else { MAX_TEXT };
    if entry.size > most {
        let size = entry.size;
        return Err(format!(
            "its {name} has {size} bytes, more than any model's"
        ));
    }
    let hash = match &entry.lfs {
        Some(lfs) if lfs.size != entry.size => {
            let (size, other) = (entry.size, lfs.size);
            return Err(format!("its {name} has {size} bytes, and {other} as well"));
        }
        Some(lfs) if is_hex(&lfs.oid, 64) => FileHash::Sha256(lfs.oid.clone()),
        None if is_hex(&entry.oid, 40) => FileHash::GitBlob(entry.oid.clone()),
        _ => return Err(format!("the hash of its {name} is none")),
    };
    Ok(Some(HubFile {
        name,
        bytes: entry.size,
        hash,
    }))
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(answer).map_err(|error| {
        // The error quotes what it does not understand, at any length.
        shortened(&error.to_string()).to_owned()
    })
}

fn shortened(text: &str) -> &str {
    const MOST_SHOWN: usize = 200;
    let end = text.char_indices().nth(MOST_SHOWN).map(|(at, _)| at);
    &text[..end.unwrap_or(text.len())]
}

fn is_hex(text: &str, length: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == length && text.bytes().all(is_digit)
}

/// Whether a path stays in its repository, as every path that Git keeps does.
fn is_inside(path: &str) -> bool {
    path.split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}

#[cfg(test)]
mod tests;
