//! Classification of Redis's errors: which pass by themselves.

use ::redis::RedisError;

use super::super::StoreError;

/// Error codes that mean "not now": Redis starts, fails over, is full, is busy with a script, or
/// cannot write its own file.
const PASSING: &[&str] = &[
    "LOADING",
    "READONLY",
    "OOM",
    "MISCONF",
    "BUSY",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "UNKILLABLE",
];
/// Error codes that mean "not you": a password that was changed, rights that were taken.
const DENIED: &[&str] = &["NOAUTH", "WRONGPASS", "NOPERM", "DENIED"];
/// Texts of such errors, where Redis gives no code: refusals that have none, and errors inside a
/// script before Redis 7.
const PASSING_TEXT: &[&str] = &["max number of clients reached"];
const DENIED_TEXT: &[&str] = &[
    "ACL failure in script",
    "The user executing the script can't",
    "invalid password",
    "invalid username-password pair",
    "operation not permitted",
];

/// The stage of a request at which it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedisStage {
    /// Login, on a new connection.
    Setup,
    /// Commands, after the login.
    Commands,
}

/// The meaning of a refusal by a server that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RedisRefusal {
    ForNow,
    OfUs,
    OfThis,
}

pub(super) fn classify(address: &str, stage: RedisStage, error: &RedisError) -> StoreError {
    let text = format!("Redis at {address}: {error}");
    if error.is_io_error() {
        return StoreError::Unavailable(text);
    }
    match refusal(error) {
        Some(RedisRefusal::ForNow) => StoreError::Unavailable(text),
        Some(RedisRefusal::OfUs) => StoreError::Denied(text),
        // Whatever it says: it is nothing that was to be written.
        Some(RedisRefusal::OfThis) if stage == RedisStage::Setup => StoreError::Denied(text),
        Some(RedisRefusal::OfThis) | None => StoreError::Broken(text),
    }
}

/// Whether another connection may be answered better: the name may lead to another server by
/// now, and whoever has changed our password changes nothing for connections that are open.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    matches!(
        refusal(error),
        Some(RedisRefusal::ForNow | RedisRefusal::OfUs)
    )
}

fn refusal(error: &RedisError) -> Option<RedisRefusal> {
    // Of several commands in one round trip, the first refusal decides.
    let refusal = error
        .clone()
        .into_server_errors()
        .and_then(|errors| errors.first().map(|(_, e)| e.clone()))?;
    let (code, details) = (refusal.code(), refusal.details().unwrap_or_default());
    let says = |codes: &[&str], texts: &[&str]| {
        codes.contains(&code)
            || codes
                .iter()
                .any(|code| details.contains(&format!("-{code} ")))
            || texts.iter().any(|text| details.contains(text))
    };
    Some(if says(PASSING, PASSING_TEXT) {
        RedisRefusal::ForNow
    } else if says(DENIED, DENIED_TEXT) {
        RedisRefusal::OfUs
    } else {
        RedisRefusal::OfThis
    })
}

#[cfg(test)]
mod tests {
    use ::redis::ErrorKind;

    use ::redis::make_extension_error;

    use super::*;

    fn told(code: &str, details: &str) -> RedisError {
        make_extension_error(code.to_owned(), Some(details.into()))
    }

    fn classified(error: &RedisError) -> StoreError {
        classify("here:1", RedisStage::Commands, error)
    }

    fn is_passing(error: &RedisError) -> bool {
        matches!(classified(error), StoreError::Unavailable(_))
    }

    fn is_denied(error: &RedisError) -> bool {
        matches!(classified(error), StoreError::Denied(_))
    }

    #[test]
    fn what_passes_is_unavailable_and_what_stays_is_broken() {
        for code in PASSING {
            assert!(is_passing(&told(code, "later")), "{code}");
            let old =
                format!("Error running script (call to f_1): @user_script:3: -{code} not now");
            assert!(is_passing(&told("ERR", &old)), "{old}");
        }
        for code in ["WRONGTYPE", "LATE", "CROSSSLOT", "ERR"] {
            let error = told(code, "no");
            let answer = classified(&error);
            assert!(
                matches!(answer, StoreError::Broken(_)),
                "{code}: {answer:?}"
            );
            assert!(!ends_connection(&error), "{code}");
            // Of a server that does not let us in, it is nothing about a write.
            let answer = classify("here:1", RedisStage::Setup, &error);
            assert!(
                matches!(answer, StoreError::Denied(_)),
                "{code}: {answer:?}"
            );
        }
        assert!(is_passing(&told("ERR", "max number of clients reached")));
        for kind in [
            std::io::ErrorKind::ConnectionRefused,
            std::io::ErrorKind::TimedOut,
        ] {
            let error = std::io::Error::from(kind).into();
            assert!(is_passing(&error));
            assert!(!ends_connection(&error));
        }
        assert!(!is_passing(&(ErrorKind::Parse, "not RESP").into()));
    }

    #[test]
    fn who_is_not_let_in_or_may_not_write_can_be_let_in_later() {
        for code in DENIED {
            assert!(is_denied(&told(code, "no")), "{code}");
        }
        for text in [
            "The user executing the script can't run this command or subcommand script: 1",
            "ACL failure in script: User app has no permissions to run the 'set' command script: 1",
            "Error running script (call to f_1): @user_script:3: -NOPERM this user has no permissions",
            "invalid password",
            "invalid username-password pair or user is disabled.",
        ] {
            let error = told("ERR", text);
            assert!(is_denied(&error), "{text}");
            assert!(ends_connection(&error), "{text}");
        }
    }

    #[test]
    fn a_server_that_is_not_the_one_to_write_to_is_left() {
        for code in [
            "READONLY",
            "MASTERDOWN",
            "LOADING",
            "CLUSTERDOWN",
            "MISCONF",
        ] {
            assert!(ends_connection(&told(code, "no")), "{code}");
        }
    }
}
