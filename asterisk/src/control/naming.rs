//! Ids of what we make in Asterisk, and how ours are told from everybody else's.
//!
//! Every id of ours has one of these forms, in which `app` is our application, to the last
//! character, and `nonce` ten hexadecimal digits that a start of the process has to itself:
//!
//! - `{app}-{nonce}-{number}-bridge`, `…-media`, `…-snoop`: what a leg is made of;
//! - `{app}-{nonce}-{32 hexadecimal digits}`: a call that we placed;
//! - `{app}-call-{UUID}`: the same, in the release before.
//!
//! They are read from their end, so no name of an application can be taken for the beginning
//! of another's: the ids of `pbx-test` are none of `pbx`.

/// Hexadecimal digits of a nonce.
const NONCE: usize = 10;
/// Hexadecimal digits that tell a placed call from all others.
const UNIQUE: usize = 32;
/// Lengths of the groups of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// Makes and recognises the ids of this application's objects in Asterisk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectNaming {
    app: String,
    nonce: String,
}

/// An id of one of the forms above, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnId {
    /// Kind of the object that the id names: a leg's bridge, media channel or snoop, or a call's
    /// channel.
    pub kind: OwnKind,
    /// Process that made the object.
    pub maker: ObjectMaker,
}

/// The kind of object that an id of our form names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKind {
    /// A leg's bridge.
    Bridge,
    /// A leg's media channel.
    Media,
    /// A channel that spies on a tapped one.
    Snoop,
    /// The channel of a call that was placed.
    Call,
}

/// Which process of our application made something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectMaker {
    /// This process.
    Us,
    /// Another process: an earlier start, or the one that this process took over from.
    Another,
    /// A process of the release before, whose call ids carry no nonce.
    Unknown,
}

impl ObjectNaming {
    /// Names for an application and a start of the process.
    pub fn new(app: impl Into<String>, nonce: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            nonce: nonce.into(),
        }
    }

    /// Whether a text can be a nonce.
    pub fn is_nonce(text: &str) -> bool {
        is_hex(text, NONCE)
    }

    /// The id of part of a leg.
    pub fn part(&self, number: u64, kind: OwnKind) -> String {
        let Self { app, nonce } = self;
        let part = match kind {
            OwnKind::Bridge => "bridge",
            OwnKind::Media => "media",
            OwnKind::Snoop => "snoop",
            OwnKind::Call => return self.call(u128::from(number)),
        };
        format!("{app}-{nonce}-{number}-{part}")
    }

    /// The id of a call to be placed; `unique` is never used again.
    pub fn call(&self, unique: u128) -> String {
        let Self { app, nonce } = self;
        format!("{app}-{nonce}-{unique:032x}")
    }

    /// The id of something that is never made, to be asked for in vain.
    pub fn nothing(&self) -> String {
        self.part(0, OwnKind::Media)
    }

    /// Kind and maker of the object that `id` names; `None` unless the id has one of the forms
    /// above and names exactly this application.
    pub fn read(&self, id: &str) -> Option<OwnId> {
        let rest = id.strip_prefix(self.app.as_str())?.strip_prefix('-')?;
        let words: Vec<&str> = rest.split('-').collect();
        let maker = |nonce: &str| {
            if nonce == self.nonce {
                ObjectMaker::Us
            } else {
                ObjectMaker::Another
            }
        };
        let (kind, maker) = match words.as_slice() {
            [nonce, number, part] if Self::is_nonce(nonce) && is_number(number) => {
                let kind = match *part {
                    "bridge" => OwnKind::Bridge,
                    "media" => OwnKind::Media,
                    "snoop" => OwnKind::Snoop,
                    _ => return None,
                };
                (kind, maker(nonce))
            }
            [nonce, unique] if Self::is_nonce(nonce) && is_hex(unique, UNIQUE) => {
                (OwnKind::Call, maker(nonce))
            }
            ["call", uuid @ ..] if is_uuid(uuid) => (OwnKind::Call, ObjectMaker::Unknown),
            _ => return None,
        };
        Some(OwnId { kind, maker })
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == digits && text.bytes().all(is_digit)
}

/// As a counter is written: no sign, no zeros in front.
fn is_number(text: &str) -> bool {
    text.parse::<u64>()
        .is_ok_and(|number| number.to_string() == text)
}

fn is_uuid(groups: &[&str]) -> bool {
    groups.len() == UUID.len()
        && groups
            .iter()
            .zip(UUID)
            .all(|(group, digits)| is_hex(group, digits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(app: &str, id: &str) -> Option<OwnId> {
        ObjectNaming::new(app, "00000000a1").read(id)
    }

    #[test]
    fn what_we_name_is_read_back() {
        for app in ["asterscribe", "a", "a-b", "a_b-"] {
            let naming = ObjectNaming::new(app, "00000000a1");
            for kind in [OwnKind::Bridge, OwnKind::Media, OwnKind::Snoop] {
                let id = naming.part(7, kind);
                let maker = ObjectMaker::Us;
                assert_eq!(naming.read(&id), Some(OwnId { kind, maker }), "{id}");
                let successor = ObjectNaming::new(app, "00000000a2").read(&id);
                let maker = ObjectMaker::Another;
                assert_eq!(successor, Some(OwnId { kind, maker }), "{id}");
            }
            let call = naming.call(u128::MAX);
            let kind = OwnKind::Call;
            let maker = ObjectMaker::Us;
            assert_eq!(naming.read(&call), Some(OwnId { kind, maker }));
        }
    }

    #[test]
    fn calls_placed_by_the_release_before_are_known() {
        let id = "asterscribe-call-67e55044-10b1-426f-9247-bb680e5fe0c8";
        let kind = OwnKind::Call;
        let maker = ObjectMaker::Unknown;
        assert_eq!(read("asterscribe", id), Some(OwnId { kind, maker }));
    }

    #[test]
    fn another_applications_ids_and_peoples_are_none_of_ours() {
        for (app, id) in [
            ("asterscribe", "asterscribe-test-0123456789-3-media"),
            ("asterscribe", "asterscribe-test-call-5b0e"),
            ("asterscribe", "asterscribe-desk-1"),
            ("asterscribe", "asterscribe-desk-1-media"),
            ("asterscribe", "asterscribe-1"),
            ("asterscribe", "asterscribe-"),
            ("asterscribe", "asterscribe"),
            ("asterscribe", "asterscribe-call-5b0e"),
            ("asterscribe", "asterscribe-0123456789-media"),
            ("asterscribe", "asterscribe-0123456789-03-media"),
            ("asterscribe", "asterscribe-0123456789-3-media-2"),
            ("asterscribe", "asterscribe-0123456789-3-media;2"),
            ("asterscribe", "asterscribe-0123ABCDEF-3-media"),
            ("asterscribe", "Asterscribe-0123456789-3-media"),
            ("a", "a-b-0123456789-3-media"),
            ("a", "a-0123456789-0123456789-3-media"),
            (
                "a",
                "a-0123456789-call-67e55044-10b1-426f-9247-bb680e5fe0c8",
            ),
            ("a-b", "a-0123456789-3-media"),
        ] {
            assert_eq!(read(app, id), None, "{id} for {app}");
        }
    }

    proptest! {
        #[test]
        fn an_id_belongs_to_one_application(app in "[a-f0-9-]{1,14}", other in "[a-f0-9-]{1,14}", nonce in "[0-9a-f]{10}", n in any::<u64>()) {
            prop_assume!(app != other);
            let theirs = ObjectNaming::new(other.as_str(), nonce.as_str());
            let ours = ObjectNaming::new(app.as_str(), nonce.as_str());
            for id in [theirs.part(n, OwnKind::Media), theirs.call(u128::from(n))] {
                prop_assert_eq!(ours.read(&id), None, "{}", id);
            }
        }
    }
}
