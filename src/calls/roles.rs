//! Who called whom, by what a channel tells of itself. A call may be heard at the calling party's
//! channel as well as at the called one's, and its legs are called by who is who, not by where
//! the call is heard.

use asterscribe_ari::control::VariableValue;
use asterscribe_ari::model::{AriChannel, PartyId};
use asterscribe_call::{CallId, CallIdentity, LegSides};

use super::CallManager;
use super::channel::non_empty;

/// Variable with the linkedid: the id of the channel with which everything began that a channel has
/// part in.
const LINKEDID: &str = "CHANNEL(linkedid)";

/// Variable with the number that was dialled to reach the dialplan.
const DNID: &str = "CALLERID(dnid)";

/// Application data that Asterisk shows for a channel which an application such as `Dial` has
/// called.
const OUTGOING: &str = "(Outgoing Line)";

/// Applications that call others.
const CALLING: [&str; 5] = ["Dial", "FollowMe", "Page", "Queue", "RetryDial"];

/// Extensions that nobody dials: the dialplan's own, and where our recipe sends calls.
const NOT_DIALLED: [&str; 8] = ["a", "e", "h", "i", "o", "s", "t", "transcribe"];

/// The two parties of a call, as its channel knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallParties {
    pub(crate) caller: PartyId,
    pub(crate) called: PartyId,
    /// Number or extension that was called.
    pub(crate) destination: Option<String>,
    pub(crate) sides: LegSides,
}

impl CallParties {
    /// The parties of a channel, by whether it is the called one's.
    pub(crate) fn of(channel: &AriChannel, is_called: bool) -> Self {
        let (own, other) = (channel.caller.clone(), channel.connected.clone());
        let exten = non_empty(&channel.dialplan.exten);
        let exten = exten.filter(|exten| !NOT_DIALLED.contains(&exten.as_str()));
        if is_called {
            Self {
                destination: non_empty(&own.number).or(exten),
                caller: other,
                called: own,
                sides: LegSides::of_callee(),
            }
        } else {
            Self {
                destination: exten,
                caller: own,
                called: other,
                sides: LegSides::of_caller(),
            }
        }
    }

    /// Writes the parties into a call's identity.
    pub(crate) fn enter(self, identity: &mut CallIdentity) {
        identity.caller_name = non_empty(&self.caller.name);
        identity.connected_name = non_empty(&self.called.name);
        identity.connected_number = non_empty(&self.called.number);
        identity.sides = Some(self.sides);
    }
}

/// Whether a channel is the called party's, if what it executes tells.
pub(super) fn is_called(channel: &AriChannel) -> Option<bool> {
    let plan = &channel.dialplan;
    // What is originated may yet call somebody itself: `AppDial2` decides nothing.
    let is_outgoing = matches!(plan.app_name.as_str(), "AppDial" | "AppQueue")
        || plan.app_data == OUTGOING && plan.app_name != "AppDial2";
    // What the far half of a Local channel says is what whoever called it says.
    let is_calling = CALLING.contains(&plan.app_name.as_str()) || channel.name.ends_with(";2");
    match (is_outgoing, is_calling) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// Names of the variables that a channel is asked for beside those of recognition.
pub(super) fn variables() -> [String; 2] {
    [LINKEDID, DNID].map(str::to_owned)
}

impl CallManager {
    /// Takes the answers to [`variables`] for a call's channel, and those for recognition.
    pub(super) fn variables_told(
        &self,
        call: &CallId,
        found: Vec<(String, Result<VariableValue, String>)>,
    ) {
        let (own, others): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|(name, _)| name == LINKEDID || name == DNID);
        let value = |wanted: &str| {
            let mut own = own.iter();
            let (_, value) = own.find(|(name, _)| name == wanted)?;
            // What is not told is not known; nobody depends on it.
            let VariableValue(text) = value.as_ref().ok()?;
            non_empty(text)
        };
        let (linkedid, dnid) = (value(LINKEDID), value(DNID));
        if linkedid.is_some() || dnid.is_some() {
            self.registry(|registry| registry.identify(call, linkedid, dnid));
        }
        if !others.is_empty() {
            self.choose_by_variables(call, others);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str, app: &str, data: &str) -> AriChannel {
        let party = |number: &str| PartyId {
            name: format!("N{number}"),
            number: number.to_owned(),
        };
        let mut channel = AriChannel {
            name: name.to_owned(),
            caller: party("100"),
            connected: party("200"),
            ..AriChannel::default()
        };
        channel.dialplan.app_name = app.to_owned();
        channel.dialplan.app_data = data.to_owned();
        channel.dialplan.exten = "9".to_owned();
        channel
    }

    #[test]
    fn what_a_channel_executes_tells_whether_it_was_called() {
        for (name, app, data, expected) in [
            ("PJSIP/200-00000002", "AppDial", OUTGOING, Some(true)),
            ("PJSIP/200-00000002", "AppQueue", OUTGOING, Some(true)),
            ("PJSIP/200-00000002", "AppDial2", OUTGOING, None),
            ("Local/200@q-00000003;1", "AppDial", OUTGOING, Some(true)),
            ("Local/200@q-00000003;2", "Dial", "PJSIP/200", Some(false)),
            (
                "Local/200@q-00000003;2",
                "Stasis",
                "asterscribe",
                Some(false),
            ),
            ("PJSIP/100-00000001", "Dial", "PJSIP/200", Some(false)),
            ("PJSIP/100-00000001", "Queue", "sales", Some(false)),
            ("PJSIP/100-00000001", "Stasis", "asterscribe", None),
            ("PJSIP/100-00000001", "", "", None),
        ] {
            assert_eq!(
                is_called(&channel(name, app, data)),
                expected,
                "{name} {app}"
            );
        }
    }

    #[test]
    fn the_called_partys_channel_has_the_caller_at_its_other_end() {
        let channel = channel("PJSIP/100-00000001", "AppDial", OUTGOING);
        let called = CallParties::of(&channel, true);
        assert_eq!(
            (called.caller.number, called.called.number),
            ("200".into(), "100".into())
        );
        assert_eq!(called.destination.as_deref(), Some("100"));
        assert_eq!(called.sides, LegSides::of_callee());
        let calling = CallParties::of(&channel, false);
        assert_eq!(
            (calling.caller.number, calling.called.number),
            ("100".into(), "200".into())
        );
        assert_eq!(calling.destination.as_deref(), Some("9"));
        assert_eq!(calling.sides, LegSides::of_caller());
    }

    #[test]
    fn nobody_dials_an_extension_of_the_dialplans_own() {
        for exten in NOT_DIALLED {
            let mut channel = channel("PJSIP/100-00000001", "Stasis", "");
            channel.dialplan.exten = exten.to_owned();
            assert_eq!(
                CallParties::of(&channel, false).destination,
                None,
                "{exten}"
            );
        }
    }
}
