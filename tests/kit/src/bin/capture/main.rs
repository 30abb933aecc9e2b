//! Records the fixtures: starts an Asterisk, places a scripted call, takes the
//! part of the external host and writes down what arrives.
//!
//! ```text
//! capture prompts        synthesise fixtures/prompts/*.wav from the *.txt (needs espeak-ng and sox)
//! capture all            record every fixture
//! capture NAME...        record these
//! ```

mod call;
mod describe;
mod prompts;

use std::fs::{self, File};
use std::io::BufWriter;
use std::process::ExitCode;

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::program::{self, say};
use asterscribe_testkit::scenario::{CONVERSATION, MONOLOGUE, Turn};
use asterscribe_testkit::{Error, Result, fixture, pcap};

/// Recipe of one fixture.
pub(crate) struct Recipe {
    name: &'static str,
    release: Release,
    /// Format that externalMedia is asked for.
    format: &'static str,
    turns: &'static [Turn],
    /// Whether the call is spied on from outside, in both directions; else the call itself is in
    /// the application.
    snoop: bool,
}

const fn stasis(name: &'static str, release: Release, format: &'static str) -> Recipe {
    Recipe {
        name,
        release,
        format,
        turns: &MONOLOGUE,
        snoop: false,
    }
}

const RECIPES: [Recipe; 6] = [
    stasis("asterisk22_ulaw_stasis", Release::V22, "ulaw"),
    stasis("asterisk22_alaw_stasis", Release::V22, "alaw"),
    stasis("asterisk22_slin_stasis", Release::V22, "slin"),
    stasis("asterisk22_slin16_stasis", Release::V22, "slin16"),
    Recipe {
        name: "asterisk22_ulaw_snoop_pair",
        release: Release::V22,
        format: "ulaw",
        turns: &CONVERSATION,
        snoop: true,
    },
    stasis("asterisk16_slin_stasis", Release::V16, "slin"),
];

fn main() -> ExitCode {
    program::main("capture", run)
}

fn run(arguments: &[String]) -> Result<()> {
    if arguments == ["prompts"] {
        return prompts::synthesise_all();
    }
    let chosen: Vec<&Recipe> = if arguments == ["all"] {
        RECIPES.iter().collect()
    } else {
        arguments
            .iter()
            .map(|name| find(name))
            .collect::<Result<_>>()?
    };
    if chosen.is_empty() {
        return Err(Error::Failed(
            "name what to record: \"prompts\", \"all\" or fixtures by name".to_owned(),
        ));
    }
    chosen.into_iter().try_for_each(record)
}

fn find(name: &str) -> Result<&'static Recipe> {
    let unknown = || {
        Error::Failed(format!(
            "{name:?} is neither \"prompts\", \"all\" nor the name of a fixture"
        ))
    };
    RECIPES
        .iter()
        .find(|recipe| recipe.name == name)
        .ok_or_else(unknown)
}

fn record(recipe: &Recipe) -> Result<()> {
    let root = asterisk::install(recipe.release)?;
    let instance = Instance::start(&root, &Options::default())?;
    let heard = if recipe.snoop {
        call::snoop_pair(&instance, recipe)?
    } else {
        call::stasis(&instance, recipe)?
    };
    let words = describe::describe(recipe, &root.version()?, &heard)?;

    let packets = describe::merged(&heard);
    let path = fixture::pcap_path(recipe.name);
    let failed = |error| Error::Failed(format!("{}: {error}", path.display()));
    let file = File::create(&path).map_err(failed)?;
    pcap::write(BufWriter::new(file), &packets).map_err(failed)?;
    let json = serde_json::to_string_pretty(&words).expect("plain data has a JSON form");
    let beside = fixture::path(&format!("{}.words.json", recipe.name));
    fs::write(&beside, json + "\n")
        .map_err(|error| Error::Failed(format!("{}: {error}", beside.display())))?;
    for flow in &words.flows {
        let pt = flow.payload_type;
        say(&format!(
            "{}: {} PT {pt}, {} packets, {} sentences",
            recipe.name,
            flow.leg,
            flow.packets,
            flow.sentences.len()
        ));
    }
    Ok(())
}
