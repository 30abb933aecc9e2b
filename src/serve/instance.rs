//! One running server for each `NODE_NAME` on a store. What an earlier process left open is settled by the
//! next one of its name; two that run at the same time under one name would settle each other's calls. So a
//! server claims its name in the store, and settles nothing while another has it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use asterscribe_clock as clock;
use asterscribe_store::{CallStore, StoreError};
use uuid::Uuid;

use crate::calls::CallManager;
use crate::config::Settings;

/// Time that a claim lasts if it is not renewed: after that the server may be dead.
const LEASE: Duration = Duration::from_secs(6);

/// Lease of a claim that is given up: it runs out at once.
const NOTHING: Duration = Duration::from_millis(1);

/// Time between two renewals, and between two attempts.
const AGAIN: Duration = Duration::from_secs(2);

/// Time for the store to take the release of the name.
const RELEASED_WITHIN: Duration = Duration::from_millis(500);

/// The claim of this server to its name.
pub(super) struct NodeInstance {
    store: Arc<dyn CallStore>,
    node: String,
    /// Identity of this process, which no other has.
    mark: String,
    /// Lock beside an SQLite file, all users of which are on this machine.
    lock: Option<NameLock>,
}

/// The owner of the name.
#[derive(Debug, PartialEq, Eq)]
enum NameOwner {
    /// This server.
    Us,
    /// Another server; `surely` says whether it runs for certain, or may be dead.
    Other { surely: bool },
}

impl NodeInstance {
    pub(super) fn new(settings: &Settings, store: Arc<dyn CallStore>) -> Self {
        let node = settings.node_name.clone();
        let is_file = settings.redis_url.is_none();
        let lock = is_file.then(|| NameLock::beside(&settings.sqlite_path, &node));
        Self {
            store,
            node,
            mark: mark(),
            lock,
        }
    }

    /// Tries once to claim the name.
    async fn claim(&self) -> Result<NameOwner, StoreError> {
        if let Some(lock) = &self.lock {
            return Ok(lock.take());
        }
        match self.claim_in_store().await {
            Err(StoreError::Broken(reason)) => {
                // It refuses for good; without a claim is how servers did before.
                tracing::warn!(reason, "NODE_NAME cannot be claimed in the store");
                Ok(NameOwner::Us)
            }
            claimed => claimed,
        }
    }

    async fn claim_in_store(&self) -> Result<NameOwner, StoreError> {
        let claim = |in_place_of| self.store.claim(&self.node, &self.mark, in_place_of, LEASE);
        let Some(other) = claim(None).await? else {
            return Ok(NameOwner::Us);
        };
        let runs = still_runs(&other);
        if runs == Some(false) && claim(Some(other.as_str())).await?.is_none() {
            return Ok(NameOwner::Us);
        }
        let surely = runs == Some(true);
        Ok(NameOwner::Other { surely })
    }

    /// Claims the name at start: whether it is ours. Waits for the claim of a server to run out that may be dead.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn claim_at_start(&self) -> Result<bool, StoreError> {
        let deadline = clock::now() + LEASE + AGAIN;
        loop {
            match self.claim().await? {
                NameOwner::Us => return Ok(true),
                NameOwner::Other { surely: true } => return Ok(false),
                NameOwner::Other { surely: false } if clock::now() > deadline => return Ok(false),
                NameOwner::Other { surely: false } => tokio::time::sleep(AGAIN / 4).await,
            }
        }
    }

    /// Keeps the claim, or tries to get it; what an earlier process left is settled once the name is ours.
    pub(super) async fn keep(self: Arc<Self>, manager: Arc<CallManager>, mut is_settled: bool) {
        loop {
            // While the store is away nobody else can claim it either.
            if let Ok(owner) = self.claim().await {
                let is_ours = owner == NameOwner::Us;
                manager.has_rival(!is_ours);
                if is_ours && !is_settled {
                    is_settled = true;
                    let manager = Arc::clone(&manager);
                    tokio::spawn(async move { manager.settle_later().await });
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Gives the name back, so that the next server of that name need not wait.
    pub(super) async fn release(&self) {
        if self.lock.is_some() {
            return;
        }
        let released = self.store.claim(&self.node, &self.mark, None, NOTHING);
        // It runs out by itself.
        let _late = tokio::time::timeout(RELEASED_WITHIN, released).await;
    }
}

/// A file that is locked for as long as this process has it open.
struct NameLock {
    path: PathBuf,
    held: Mutex<Option<File>>,
}

impl NameLock {
    fn beside(file: &Path, node: &str) -> Self {
        let mut path = file.to_owned().into_os_string();
        path.push(format!("-{node}.lock"));
        Self {
            path: path.into(),
            held: Mutex::default(),
        }
    }

    fn take(&self) -> NameOwner {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return NameOwner::Us;
        }
        let mut options = File::options();
        let opened = options.create(true).append(true).open(&self.path);
        let locked = opened.map(|file| (file.try_lock(), file));
        match locked {
            Ok((Ok(()), file)) => {
                *held = Some(file);
                NameOwner::Us
            }
            Ok((Err(TryLockError::WouldBlock), _)) => NameOwner::Other { surely: true },
            // Where nothing can be locked is how servers did before.
            Ok((Err(TryLockError::Error(error)), _)) | Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "NODE_NAME cannot be claimed");
                NameOwner::Us
            }
        }
    }
}

/// Identity of this process: boot id, PID namespace, process id, start time and a random UUID,
/// separated by spaces.
fn mark() -> String {
    let here = here().unwrap_or_else(|_| "- -".to_owned());
    let process = std::process::id();
    let started = started(process).unwrap_or_else(|| "-".to_owned());
    format!("{here} {process} {started} {}", Uuid::new_v4())
}

/// Boot id and PID namespace: processes with both in common can see each other.
fn here() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{} {}", boot.trim(), namespace.display()))
}

/// Start time of a process, in clock ticks since boot, as `/proc/PID/stat` has it.
fn started(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind its name, which may hold anything: field 3, and field 22 is the start.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether the process of a mark still runs; `None` if it cannot be seen from here.
fn still_runs(mark: &str) -> Option<bool> {
    let words: Vec<_> = mark.split(' ').collect();
    let [boot, namespace, process, start, _] = words.as_slice() else {
        return None;
    };
    if here().ok()? != format!("{boot} {namespace}") {
        return None;
    }
    Some(started(process.parse().ok()?).as_deref() == Some(*start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_whether_its_process_still_runs() {
        let ours = mark();
        assert_eq!(still_runs(&ours), Some(true));
        assert_ne!(ours, mark(), "each is another");
        let words: Vec<_> = ours.split(' ').collect();
        let with = |n: usize, word: &str| {
            let mut words = words.clone();
            words[n] = word;
            words.join(" ")
        };
        // Another process has its number by now, or none has.
        assert_eq!(still_runs(&with(3, "1")), Some(false));
        assert_eq!(still_runs(&with(2, "4194305")), Some(false));
        // Another machine, or another container.
        assert_eq!(still_runs(&with(0, "another")), None);
        assert_eq!(still_runs(&with(1, "pid:[1]")), None);
        assert_eq!(still_runs("what nobody wrote"), None);
    }

    #[test]
    fn a_name_beside_a_file_is_one_servers_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.db");
        let of = |node: &str| NameLock::beside(&file, node);
        let (first, second) = (of("one"), of("one"));
        assert_eq!(first.take(), NameOwner::Us);
        assert_eq!(first.take(), NameOwner::Us, "it stays so");
        assert_eq!(second.take(), NameOwner::Other { surely: true });
        assert_eq!(of("two").take(), NameOwner::Us, "another name is another's");
        drop(first);
        assert_eq!(second.take(), NameOwner::Us);
    }
}
