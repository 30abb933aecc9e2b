//! SIPp, unpacked from Debian into the cache: callers who speak SIP and RTP.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;

use crate::debian::{self, Bundle, Unpacked};
use crate::process::Process;
use crate::{Error, Result};

const SIPP: Bundle = Bundle {
    name: "sipp",
    suite: None,
    package: "sip-tester",
    short_list: &[],
    program: "usr/bin/sipp",
    plugins: ("", &[]),
};

/// Scenario of a call: INVITE, so many milliseconds of a file's µ-law, BYE. A BYE or an error of
/// the other side ends it as well.
const SCENARIO: &str = include_str!("sipp/caller.xml");

/// An installed SIPp.
#[derive(Debug, Clone)]
pub struct Sipp(Unpacked);

/// Callers on their way.
#[derive(Debug)]
pub struct Callers {
    process: Process,
}

/// Plan of the callers.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Address at which Asterisk listens for SIP.
    pub asterisk: SocketAddr,
    /// Extension that is dialled.
    pub extension: &'a str,
    /// File of bare µ-law at 8,000 Hz, spoken from its beginning.
    pub speech: &'a Path,
    /// Calls altogether.
    pub calls: u32,
    /// Calls that begin in a second.
    pub rate: u32,
    /// Time from the answer to the caller's BYE, milliseconds.
    pub length_ms: u32,
}

/// Installs SIPp into the cache, or finds it there.
///
/// # Errors
/// [`Error::Unavailable`] where this machine has no Debian archive to take it from.
pub fn install() -> Result<Sipp> {
    debian::provide(&SIPP).map(Sipp)
}

impl Sipp {
    /// Starts the callers; `folder` gets their scenario and log. Caller N is the number N.
    ///
    /// # Errors
    /// The folder cannot be written, or SIPp cannot be started.
    pub fn call(&self, folder: &Path, plan: &Plan<'_>) -> Result<Callers> {
        let scenario = folder.join("caller.xml");
        let text = SCENARIO
            .replace("SPEECH", &plan.speech.display().to_string())
            .replace("LENGTH", &plan.length_ms.to_string());
        fs::write(&scenario, text).map_err(Error::io("cannot write SIPp's scenario"))?;
        let mut command = self.0.command(SIPP.program);
        command
            .arg(plan.asterisk.to_string())
            .arg("-sf")
            .arg(&scenario)
            .args(["-s", plan.extension])
            .args(["-m", &plan.calls.to_string()])
            .args(["-r", &plan.rate.to_string()])
            // More would only mean that calls do not end.
            .args(["-l", "200"])
            .args(["-i", "127.0.0.1", "-mi", "127.0.0.1"])
            .args(["-timeout_error", "-recv_timeout", "20000", "-nostdin"])
            // It draws a screen where it has a terminal's name.
            .env("TERM", "dumb")
            .current_dir(folder);
        let process = Process::spawn("sipp", command, &folder.join("sipp.log"))?;
        Ok(Callers { process })
    }
}

impl Callers {
    /// Exit status of SIPp, once the last call is over; one failed call makes it a failure.
    ///
    /// # Errors
    /// The process cannot be asked.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.process.exit_status()
    }

    /// The end of what SIPp printed.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// A file as the bare µ-law that SIPp sends.
///
/// # Errors
/// The file cannot be written.
pub fn write_ulaw(file: &Path, samples: &[i16]) -> Result<()> {
    let bytes: Vec<u8> = samples.iter().map(|sample| ulaw(*sample)).collect();
    fs::write(file, bytes).map_err(Error::io(format!("cannot write {}", file.display())))
}

/// Octet of µ-law for a sample (ITU-T G.711).
fn ulaw(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let exponent = (24 - magnitude.leading_zeros()).cast_signed();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let code = sign | (exponent << 4) | mantissa;
    !u8::try_from(code).expect("a sign, three bits of exponent and four of mantissa")
}

#[cfg(test)]
mod tests {
    use super::ulaw;

    #[test]
    fn samples_have_the_codes_of_the_recommendation() {
        for (sample, code) in [
            (0, 0xFF),
            (-1, 0x7F),
            (i16::MAX, 0x80),
            (i16::MIN, 0x00),
            (1000, 0xCE),
            (-1000, 0x4E),
        ] {
            assert_eq!(ulaw(sample), code, "{sample}");
        }
    }
}
