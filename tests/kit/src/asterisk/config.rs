//! The configuration of one instance: as little as makes every format that
//! Asterisk has an encoder for, Local channels, snoops and external media work.

use std::fs;

use super::{Instance, Release};
use crate::{Error, Result, host, scenario};

/// Verified minimum. chan_rtp needs res_rtp_multicast and res_rtp_asterisk needs
/// res_pjproject: without them Asterisk starts, and externalMedia answers 500.
pub(super) const MODULES: [&str; 33] = [
    "res_timing_timerfd",
    "res_sorcery_config",
    "pbx_config",
    "app_dial",
    "app_playback",
    "func_callerid",
    "func_channel",
    "format_wav",
    "codec_ulaw",
    "codec_alaw",
    "codec_g722",
    "codec_gsm",
    "codec_resample",
    "bridge_simple",
    "bridge_softmix",
    "res_http_websocket",
    "res_stasis",
    "res_stasis_answer",
    "res_stasis_playback",
    "res_stasis_recording",
    "res_stasis_snoop",
    "res_stasis_device_state",
    "app_stasis",
    "res_ari",
    "res_ari_model",
    "res_ari_applications",
    "res_ari_asterisk",
    "res_ari_bridges",
    "res_ari_channels",
    "res_ari_events",
    "res_pjproject",
    "res_rtp_asterisk",
    "res_rtp_multicast",
];

/// Modules that only Asterisk 22 has: the old one has no outbound websockets and, as Debian built
/// it, no Opus.
const MODULES_22: [&str; 4] = [
    "res_websocket_client",
    "res_format_attr_opus",
    "codec_opus_open_source",
    "chan_rtp",
];
const MODULES_16: [&str; 1] = ["chan_rtp"];

/// Options of an instance beyond the minimum.
#[derive(Debug, Clone)]
pub struct Options {
    /// Body of `extensions.conf` after its `[globals]`, which set `PROMPTS` to
    /// the folder of `fixtures/prompts`.
    pub extensions: String,
    /// Further modules, e.g. `app_record`.
    pub modules: Vec<String>,
    /// Further or replacing configuration files: name and contents.
    pub files: Vec<(String, String)>,
}

impl Default for Options {
    /// Options with the dialplan of [`scenario::dialplan`], and no further modules.
    fn default() -> Self {
        Self {
            extensions: scenario::dialplan(),
            modules: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// Configuration files that are empty, to spare the log a complaint each.
const EMPTY: [&str; 16] = [
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "chan_websocket.conf",
    "cli_aliases.conf",
    "codecs.conf",
    "features.conf",
    "indications.conf",
    "manager.conf",
    "musiconhold.conf",
    "pjproject.conf",
    "sorcery.conf",
    "stasis.conf",
    "udptl.conf",
    "acl.conf",
    "websocket_client.conf",
];

pub(super) fn write(instance: &Instance, options: &Options) -> Result<()> {
    let at = instance.path();
    for folder in ["etc", "lib", "db", "keys", "spool", "run", "log"] {
        fs::create_dir(at.join(folder)).map_err(Error::io(format!("cannot create {folder}")))?;
    }
    // The dialplan gets a path without the blanks and commas a checkout may lie under.
    let prompts = at.join("prompts");
    std::os::unix::fs::symlink(host::workspace_dir().join("fixtures/prompts"), &prompts)
        .map_err(Error::io("cannot link the prompts"))?;

    let mut files: Vec<(String, String)> = EMPTY
        .iter()
        .map(|name| ((*name).to_owned(), String::new()))
        .collect();
    let globals = format!(
        "[globals]\nPROMPTS={}\n\n{}",
        prompts.display(),
        options.extensions
    );
    files.extend([
        ("asterisk.conf".to_owned(), directories(instance)),
        ("modules.conf".to_owned(), modules(instance, options)),
        (
            "logger.conf".to_owned(),
            "[general]\n[logfiles]\nfull.log => notice,warning,error,verbose\n".to_owned(),
        ),
        (
            "http.conf".to_owned(),
            format!(
                "[general]\nenabled=yes\nbindaddr=127.0.0.1\nbindport={}\n",
                instance.http().port()
            ),
        ),
        ("rtp.conf".to_owned(), rtp(instance)),
        ("ari.conf".to_owned(), ari(instance)),
        ("extensions.conf".to_owned(), globals),
    ]);
    for (name, contents) in files.iter().chain(&options.files) {
        fs::write(at.join("etc").join(name), contents)
            .map_err(Error::io(format!("cannot write {name}")))?;
    }
    Ok(())
}

fn directories(instance: &Instance) -> String {
    let own = |folder: &str| instance.path().join(folder).display().to_string();
    format!(
        "[directories]\nastetcdir => {}\nastmoddir => {}\nastvarlibdir => {}\nastdbdir => {}\nastkeydir => {}\n\
         astdatadir => {}\nastagidir => {}\nastspooldir => {}\nastrundir => {}\nastlogdir => {}\n\
         [options]\nverbose = 3\nsystemname = kit\n",
        own("etc"),
        instance.module_dir().display(),
        own("lib"),
        own("db"),
        own("keys"),
        instance.data_dir().display(),
        own("lib"),
        own("spool"),
        own("run"),
        own("log"),
    )
}

fn modules(instance: &Instance, options: &Options) -> String {
    let own: &[&str] = match instance.root.release() {
        Release::V22 => &MODULES_22,
        Release::V16 => &MODULES_16,
    };
    let all = MODULES
        .iter()
        .chain(own)
        .copied()
        .chain(options.modules.iter().map(String::as_str));
    let loads: String = all.map(|name| format!("load => {name}.so\n")).collect();
    format!("[modules]\nautoload=no\n{loads}")
}

fn rtp(instance: &Instance) -> String {
    let ports = instance.rtp_ports();
    format!(
        "[general]\nrtpstart={}\nrtpend={}\n",
        ports.start(),
        ports.end()
    )
}

fn ari(instance: &Instance) -> String {
    let (user, password) = (instance.user(), instance.password());
    format!(
        "[general]\nenabled=yes\n\n[{user}]\ntype=user\npassword={password}\npassword_format=plain\nread_only=no\n"
    )
}
