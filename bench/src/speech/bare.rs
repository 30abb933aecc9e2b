//! The engine without a service around it: one call of `whisper_full` after the other.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use asterscribe_recognition::Transcriber;
use asterscribe_recognition::engine::{EngineConfig, LoadedModel};
use asterscribe_recognition::model::SpeechModel;
use asterscribe_recognition::transcriber::WhisperTranscriber;
use asterscribe_speech::{DecodeOptions, SAMPLE_RATE};
use clap::Args;

use super::SEED;
use crate::meter::CpuMeter;
use crate::script::PartyScript;
use crate::wire::{OrderOutcome, SpeechOrder};

/// Whisper's window, samples.
const WINDOW: usize = 30 * SAMPLE_RATE as usize;

/// The engine to be measured.
#[derive(Debug, Args)]
pub(crate) struct BareOptions {
    /// Minutes of the call.
    #[arg(long)]
    minutes: u32,
    /// Threads of the one engine.
    #[arg(long, default_value_t = 1)]
    threads: u8,
    /// Leaves out the times of words.
    #[arg(long)]
    no_word_times: bool,
    /// Model, a ggml file; by default the demo model.
    #[arg(long)]
    model: Option<PathBuf>,
}

/// Runs the orders of the conductor.
pub(crate) fn run(options: &BareOptions) -> Result<()> {
    let model = super::orders::model(options.model.as_deref())?;
    let config = EngineConfig {
        threads: options.threads,
        word_times: !options.no_word_times,
        ..EngineConfig::default()
    };
    let script = PartyScript::new(options.minutes, SEED);
    let clips: Vec<_> = script
        .utterances()?
        .into_iter()
        .map(|utterance| utterance.samples)
        .collect();
    let whole: Vec<_> = super::pcm(&script.samples()?);
    let mut engine = LoadedModel::load(model.clone(), config.clone())?.transcriber()?;
    super::orders::obey(|order| match order {
        SpeechOrder::Clips {
            count,
            full_context,
        } => recognise(&mut engine, clips.iter().take(count), full_context),
        SpeechOrder::Clip(n) => {
            let clip = clips.get(n).context("no such utterance")?;
            recognise(&mut engine, [clip], false)
        }
        SpeechOrder::Windows => recognise(&mut engine, whole.chunks(WINDOW), true),
        SpeechOrder::Start => load(&model, &config),
        SpeechOrder::Live | SpeechOrder::Backlog => bail!("that takes a service"),
    })
}

fn recognise(
    engine: &mut WhisperTranscriber,
    pieces: impl IntoIterator<Item = impl AsRef<[i16]>>,
    full_context: bool,
) -> Result<OrderOutcome> {
    let choices = DecodeOptions {
        full_context,
        ..DecodeOptions::default()
    };
    let meter = CpuMeter::start()?;
    let mut texts = Vec::new();
    for piece in pieces {
        texts.push(engine.transcribe(piece.as_ref(), &choices)?.text);
    }
    Ok(OrderOutcome {
        texts,
        ..meter.stop()?
    })
}

fn load(model: &SpeechModel, config: &EngineConfig) -> Result<OrderOutcome> {
    let meter = CpuMeter::start()?;
    let engine = LoadedModel::load(model.clone(), config.clone())?.transcriber()?;
    let outcome = meter.stop()?;
    drop(engine);
    Ok(outcome)
}
