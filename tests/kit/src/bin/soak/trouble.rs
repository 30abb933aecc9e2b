//! Trouble in a run: channels hung up, processes killed, by chance that is the same each time.

use asterscribe_testkit::Result;
use asterscribe_testkit::asterisk::Instance;
use asterscribe_testkit::chance::Chance;
use asterscribe_testkit::server::Server;

/// Looks a hang-up comes after, in the mean: with five looks a second, one in 0.6 s.
const HANG_UP: u64 = 3;
/// Looks a kill of the server comes after, in the mean: half a minute.
const KILL: u64 = 150;
/// Looks an orderly restart of the server comes after, in the mean: a minute.
const RESTART: u64 = 300;
/// Looks a kill of Asterisk comes after, in the mean: five minutes.
const KILL_ASTERISK: u64 = 1500;

/// Trouble of all kinds so far.
#[derive(Debug)]
pub(crate) struct Trouble {
    chance: Chance,
    /// Channels hung up by somebody else.
    pub(crate) hung_up: u64,
    /// Times that the server was killed.
    pub(crate) killed: u64,
    /// Times that the server was restarted in order.
    pub(crate) restarted: u64,
    /// Times that Asterisk was killed.
    pub(crate) asterisk_killed: u64,
}

impl Trouble {
    /// No trouble so far.
    pub(crate) fn new() -> Self {
        Self {
            chance: Chance(11),
            hung_up: 0,
            killed: 0,
            restarted: 0,
            asterisk_killed: 0,
        }
    }

    /// Makes trouble in this look, or none.
    pub(crate) fn make(&mut self, asterisk: &mut Instance, server: &mut Server) -> Result<()> {
        if self.happens(HANG_UP) {
            self.hang_up(asterisk)?;
        }
        if self.happens(KILL) {
            server.kill9()?;
            server.restart()?;
            self.killed += 1;
        }
        if self.happens(RESTART) {
            server.restart()?;
            self.restarted += 1;
        }
        if self.happens(KILL_ASTERISK) {
            asterisk.kill9()?;
            asterisk.restart()?;
            self.asterisk_killed += 1;
        }
        Ok(())
    }

    fn happens(&mut self, once_in: u64) -> bool {
        self.chance.next_u64().is_multiple_of(once_in)
    }

    /// Hangs up any channel: a caller's, a Snoop's or one of the media.
    fn hang_up(&mut self, asterisk: &Instance) -> Result<()> {
        let channels = asterisk.channels()?;
        if channels.is_empty() {
            return Ok(());
        }
        let number = self.chance.next_u64() % channels.len() as u64;
        let chosen = usize::try_from(number).expect("less than the number of channels");
        // It may have ended meanwhile, which is an answer as well.
        asterisk.ari(
            "DELETE",
            &format!("/channels/{}", channels[chosen]),
            &[],
            None,
        )?;
        self.hung_up += 1;
        Ok(())
    }
}
