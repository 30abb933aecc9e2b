//! Which failures of Redis pass by themselves.

use ::redis::RedisError;

use super::super::StoreError;

/// Answers that mean "not now": Redis starts, fails over, is full, is busy with
/// a script, or cannot write its own file.
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
/// The same in a sentence: as Redis before 7 reports an error from inside a
/// script, and the one refusal that has no code of its own.
const PASSING_TEXT: &[&str] = &[
    "-OOM ",
    "-MISCONF ",
    "-READONLY ",
    "max number of clients reached",
];

pub(super) fn classify(address: &str, error: &RedisError) -> StoreError {
    let text = format!("Redis at {address}: {error}");
    if error.is_io_error() || refused_for_now(error) {
        StoreError::Unavailable(text)
    } else {
        StoreError::Broken(text)
    }
}

fn refused_for_now(error: &RedisError) -> bool {
    // Of several commands in one round trip, the first refusal decides.
    let first = error
        .clone()
        .into_server_errors()
        .and_then(|errors| errors.first().map(|(_, e)| e.clone()));
    let Some(refusal) = first else {
        return false;
    };
    let details = refusal.details().unwrap_or_default();
    PASSING.contains(&refusal.code()) || PASSING_TEXT.iter().any(|text| details.contains(text))
}

#[cfg(test)]
mod tests {
    use ::redis::ErrorKind;
    use ::redis::make_extension_error;

    use super::*;

    fn is_passing(error: &RedisError) -> bool {
        matches!(classify("here:1", error), StoreError::Unavailable(_))
    }

    #[test]
    fn what_passes_is_unavailable_and_what_stays_is_broken() {
        for code in PASSING {
            assert!(
                is_passing(&make_extension_error(
                    (*code).to_owned(),
                    Some("later".into())
                )),
                "{code}"
            );
        }
        for code in [
            "WRONGTYPE",
            "NOAUTH",
            "WRONGPASS",
            "NOPERM",
            "LATE",
            "CROSSSLOT",
        ] {
            assert!(
                !is_passing(&make_extension_error(code.to_owned(), Some("no".into()))),
                "{code}"
            );
        }
        let old_oom =
            "Error running script (call to f_1): @user_script:3: -OOM command not allowed";
        assert!(is_passing(&make_extension_error(
            "ERR".into(),
            Some(old_oom.into())
        )));
        assert!(is_passing(&make_extension_error(
            "ERR".into(),
            Some("max number of clients reached".into())
        )));
        assert!(!is_passing(&make_extension_error(
            "ERR".into(),
            Some("unknown command".into())
        )));
        assert!(is_passing(
            &std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()
        ));
        assert!(is_passing(
            &std::io::Error::from(std::io::ErrorKind::TimedOut).into()
        ));
        assert!(!is_passing(&(ErrorKind::Parse, "not RESP").into()));
    }
}
