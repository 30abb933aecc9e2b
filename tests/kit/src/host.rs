//! The machine: its clock, its environment and the kit's folders. The only
//! place that reads the clock, reads a variable or waits for a state.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How often a condition is looked at: short against what is waited for
/// (hundreds of milliseconds), long against what looking costs.
const POLL: Duration = Duration::from_millis(10);

/// Polls `condition` until it holds; false if it does not by `deadline`. It is
/// looked at once more at the deadline, so a slow machine is no false alarm.
#[must_use]
pub fn wait_until(deadline: Instant, mut condition: impl FnMut() -> bool) -> bool {
    poll_until(deadline, || condition().then_some(())).is_some()
}

/// Polls `look` until it yields something; `None` if it does not by `deadline`.
#[must_use]
pub fn poll_until<T>(deadline: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        let last = now() >= deadline;
        let found = look();
        if found.is_some() || last {
            return found;
        }
        thread::sleep(POLL);
    }
}

/// Waits for a moment to come: for pacing what is sent, never for a state.
pub fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(now()));
}

/// The wall clock, to compare with times that a server tells.
#[expect(
    clippy::disallowed_methods,
    reason = "the kit drives real processes in real time; this is its one look at the wall clock"
)]
pub fn wall_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the kit drives real processes in real time; this is its one clock read"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, as time since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "captures carry wall-clock time; this is the kit's one read of it"
)]
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("the machine's clock is set to a time after 1970")
}

/// A variable of the environment; unset and empty are the same.
#[expect(
    clippy::disallowed_methods,
    reason = "the kit's one look at the environment"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where installed software is kept between runs: `ASTERSCRIBE_CACHE`, else
/// `.cache` in the workspace (ignored by git).
pub fn cache_dir() -> PathBuf {
    variable("ASTERSCRIBE_CACHE").map_or_else(|| workspace_dir().join(".cache"), PathBuf::from)
}

/// The root of the workspace this kit was built in.
pub fn workspace_dir() -> PathBuf {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    kit.ancestors()
        .nth(2)
        .expect("the kit lies two folders below the workspace's root")
        .to_owned()
}

/// The first executable of that name in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A random name for one use: letters and digits only, so it needs no escaping anywhere.
pub fn random_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_only_at_the_deadline_is_still_seen() {
        let mut looks = 0;
        assert!(wait_until(now(), || {
            looks += 1;
            true
        }));
        assert_eq!(looks, 1);
    }

    #[test]
    fn a_condition_that_never_holds_ends_at_the_deadline() {
        let deadline = now() + Duration::from_millis(30);
        assert!(!wait_until(deadline, || false));
        assert!(now() >= deadline);
    }

    #[test]
    fn the_workspace_is_found() {
        assert!(workspace_dir().join("clippy.toml").is_file());
    }
}
