//! How a call is recognised, as far as somebody says so: whoever asked for it through the
//! API, or its channel's variables. The former outweigh the latter, and both the settings.

use std::sync::Arc;

use asterscribe_ari::control::VariableValue;
use asterscribe_call::{CallChoices, CallId, Language, SecondPassChoice, SpeechTask};
use asterscribe_recognition::model::SpeechModel;
use asterscribe_session::{CallOptions, PartialConfig};
use asterscribe_speech::DecodeOptions;

use super::CallManager;
use crate::config::ModelChoice;
use crate::service::ServiceError;

/// Prefix of the names of channel variables; the rest is a choice's name in capitals.
const PREFIX: &str = "ASTERSCRIBE_";

/// The options of a call that says nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultOptions {
    /// Language of the call, or its detection.
    pub language: Language,
    /// Whether partials are shown: sentences that are still being spoken.
    pub partials: bool,
    /// Model of the second pass; `None`: the call is recognised once.
    pub second_pass: Option<Arc<str>>,
}

impl DefaultOptions {
    /// Options of a call with those choices.
    pub fn call_options(&self, chosen: &CallChoices) -> CallOptions {
        let language = chosen.language.unwrap_or(self.language);
        let among = language.among().into_iter().map(str::to_owned);
        let choices = DecodeOptions {
            language: language.code().map(str::to_owned),
            among: among.collect(),
            language_is_detected: false,
            prompt: chosen.prompt.clone(),
            task: match chosen.translate {
                Some(true) => SpeechTask::Translate,
                _ => SpeechTask::Transcribe,
            },
            full_context: false,
        };
        let partials = chosen.partials.unwrap_or(self.partials);
        let second_pass = match &chosen.second_pass {
            None | Some(SecondPassChoice::On) => self.second_pass.clone(),
            Some(SecondPassChoice::Off) => None,
            Some(SecondPassChoice::By(name)) => Some(name.as_str().into()),
        };
        CallOptions {
            choices: Arc::new(choices),
            partials: partials.then(PartialConfig::default),
            second_pass,
        }
    }
}

/// Names of the variables that a channel is asked for.
pub(super) fn variables() -> impl Iterator<Item = String> {
    let names = CallChoices::NAMES.iter();
    names.map(|name| format!("{PREFIX}{}", name.to_ascii_uppercase()))
}

/// Reads choices out of channel variables. A value that cannot be used counts as not set, and is
/// the subject of a note.
fn read(found: Vec<(String, Result<VariableValue, String>)>) -> (CallChoices, Vec<String>) {
    let (mut chosen, mut notes) = (CallChoices::default(), Vec::new());
    for (variable, value) in found {
        let name = variable.strip_prefix(PREFIX).unwrap_or_default();
        let set = value.and_then(|VariableValue(text)| {
            let set = chosen.set(&name.to_ascii_lowercase(), &text);
            set.map_err(|error| error.to_string())
        });
        if let Err(why) = set {
            notes.push(format!("channel variable {variable} is not used: {why}"));
        }
    }
    (chosen, notes)
}

/// Removes the choices that the model cannot fulfil; the result names each, and the reason.
fn fit(model: &SpeechModel, chosen: &mut CallChoices) -> Vec<String> {
    let mut misfits = Vec::new();
    let name = &model.name;
    let is_unknown = |language: &mut Language| {
        let code = language.code();
        !model.header.is_english() && code.is_some_and(|code| !model.header.knows_language(code))
    };
    if let Some(language) = chosen.language.take_if(is_unknown) {
        misfits.push(format!(
            "language {language}: the model {name} does not know it"
        ));
    }
    if !model.header.is_english() {
        return misfits;
    }
    if let Some(language) = chosen
        .language
        .take_if(|spoken| spoken.code() != Some("en"))
    {
        misfits.push(format!(
            "language {language}: the model {name} knows English only"
        ));
    }
    if chosen.translate.take_if(|translate| *translate).is_some() {
        misfits.push(format!(
            "translate: the model {name} knows English only and does not translate"
        ));
    }
    misfits
}

/// Note about a prompt that is taken and has no effect: the demo model does not use it.
fn in_vain(model: &SpeechModel, chosen: &CallChoices) -> Option<String> {
    let is_in_vain = model.is_demo() && chosen.prompt.is_some();
    is_in_vain.then(|| {
        let name = &model.name;
        format!("the prompt is not used: the demo model {name} writes nonsense after one")
    })
}

impl CallManager {
    /// Removes the choices that cannot be fulfilled; the result names each, and the reason.
    fn fit(&self, chosen: &mut CallChoices) -> Vec<String> {
        let mut misfits = fit(&self.recognition.recogniser.model(), chosen);
        let reason = chosen
            .second_pass
            .as_ref()
            .and_then(|wanted| self.why_no_second(wanted));
        if let Some(reason) = reason {
            chosen.second_pass = None;
            misfits.push(format!("second_pass: {reason}"));
        }
        misfits
    }

    fn why_no_second(&self, wanted: &SecondPassChoice) -> Option<String> {
        if *wanted != SecondPassChoice::Off && self.late.spool.is_none() {
            return Some("the server keeps no speech: its SPOOL_PATH is off".to_owned());
        }
        match wanted {
            SecondPassChoice::Off => None,
            SecondPassChoice::On => {
                let is_set = self.config.defaults.second_pass.is_some();
                (!is_set).then(|| "no SECOND_PASS_MODEL is set: name a model".to_owned())
            }
            SecondPassChoice::By(name) => {
                let model = ModelChoice::named(&self.config.models_dir, name);
                let Some(path) = model.as_ref().and_then(ModelChoice::path) else {
                    return Some(format!(
                        "{name} is no name that WHISPER_MODEL_SIZE may have"
                    ));
                };
                let file = path.file_name().unwrap_or_default().display();
                (!path.is_file())
                    .then(|| format!("{file} is not in the server's WHISPER_MODELS_DIR"))
            }
        }
    }

    /// Whether a call can be recognised as somebody asks.
    pub(super) fn check_choices(&self, chosen: &CallChoices) -> Result<(), ServiceError> {
        let misfits = self.fit(&mut chosen.clone());
        if misfits.is_empty() {
            return Ok(());
        }
        Err(ServiceError::Unprocessable(misfits.join("; ")))
    }

    /// Options of a call, if they are not the defaults, and the notes about them. The model may be
    /// another than when the choices were checked: those that it cannot fulfil are removed.
    pub(super) fn settle_call_options(
        &self,
        chosen: &mut CallChoices,
    ) -> (Option<CallOptions>, Vec<String>) {
        if chosen.is_empty() {
            return (None, Vec::new());
        }
        let model = self.recognition.recogniser.model();
        let mut notes = self.fit(chosen);
        notes.extend(in_vain(&model, chosen));
        self.warn_of_plain_speech(chosen);
        (Some(self.config.defaults.call_options(chosen)), notes)
    }

    /// Warns once that speech lies on the disk unencrypted: a call asks for a second pass that the
    /// settings do not ask for, and `SPOOL_KEY` is not set.
    fn warn_of_plain_speech(&self, chosen: &CallChoices) {
        let asks = matches!(
            chosen.second_pass,
            Some(SecondPassChoice::On | SecondPassChoice::By(_))
        );
        let is_plain = self
            .late
            .spool
            .as_ref()
            .is_some_and(|spool| !spool.is_encrypted());
        if asks && is_plain && self.late.warns_first() {
            tracing::warn!(
                "a call is to be heard once more and SPOOL_KEY is not set: all that is said in it is on the disk, unencrypted, until then"
            );
        }
    }

    /// A call's channel has told its variables. Whatever they hold, the call goes on.
    pub(super) fn choose_by_variables(
        &self,
        call: &CallId,
        found: Vec<(String, Result<VariableValue, String>)>,
    ) {
        let (mut chosen, mut notes) = read(found);
        let misfits = self.fit(&mut chosen).into_iter();
        notes.extend(misfits.map(|why| format!("channel variables are not used: {why}")));
        let asked = self.registry(|registry| {
            registry
                .find(call)
                .map(|entry| entry.record.recognition.clone())
        });
        let Some(asked) = asked else { return };
        let merged = asked.clone().or(chosen);
        if merged.prompt != asked.prompt {
            notes.extend(in_vain(&self.recognition.recogniser.model(), &merged));
        }
        if merged != asked
            && let Some((thread, media)) = self.running(call)
        {
            self.warn_of_plain_speech(&merged);
            let call_options = self.config.defaults.call_options(&merged);
            if thread.choose(media, call_options) {
                self.registry(|registry| registry.choose(call, merged));
            } else {
                notes.push("channel variables are not used: the media plane is overloaded".into());
            }
        }
        for note in notes {
            tracing::warn!(%call, note, "how a call is to be recognised");
            self.registry(|registry| registry.note(call, note));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, value: &str) -> (String, Result<VariableValue, String>) {
        (
            format!("{PREFIX}{name}"),
            Ok(VariableValue(value.to_owned())),
        )
    }

    #[test]
    fn a_bad_variable_costs_itself_and_no_other() {
        let failed = ("ASTERSCRIBE_TRANSLATE".to_owned(), Err("gone".to_owned()));
        let (chosen, notes) = read(vec![
            told("LANGUAGE", "klingon"),
            told("PARTIALS", " off "),
            told("PROMPT", "Kowalski\u{7}"),
            failed,
        ]);
        let only = CallChoices {
            partials: Some(false),
            ..CallChoices::default()
        };
        assert_eq!(chosen, only);
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[0].contains("ASTERSCRIBE_LANGUAGE") && !notes[0].contains("klingon"));
        assert!(notes.iter().all(|note| !note.contains("Kowalski")));
        assert!(notes[2].ends_with("gone"));
    }

    #[test]
    fn every_choice_has_a_variable() {
        for variable in variables() {
            let (_, notes) = read(vec![(variable, Ok(VariableValue("?".repeat(2000))))]);
            assert!(!notes[0].contains("no such choice"), "{notes:?}");
        }
    }

    #[test]
    fn a_model_is_not_asked_for_a_language_that_it_does_not_know() {
        let mut model = SpeechModel::demo().unwrap();
        for (words, language, is_known) in [
            (51_865, "yue", false),
            (51_866, "yue", true),
            (51_865, "zh", true),
            (51_865, "yue,zh", true),
            (51_865, "auto", true),
        ] {
            model.header.n_vocab = words;
            let mut chosen = CallChoices::default();
            chosen.set("language", language).unwrap();
            chosen.set("translate", "on").unwrap();
            let misfits = fit(&model, &mut chosen);
            assert_eq!(
                (misfits.is_empty(), chosen.language.is_some()),
                (is_known, is_known)
            );
            assert!(misfits.iter().all(|why| why.ends_with("does not know it")));
            assert_eq!(chosen.translate, Some(true));
        }
    }

    #[test]
    fn an_english_model_is_asked_for_english_only() {
        let model = SpeechModel::demo().unwrap();
        let mut chosen = CallChoices::default();
        chosen.set("language", "en").unwrap();
        chosen.set("translate", "off").unwrap();
        chosen.set("prompt", "hello").unwrap();
        let before = chosen.clone();
        assert_eq!(fit(&model, &mut chosen), Vec::<String>::new());
        assert_eq!(chosen, before);
        assert!(in_vain(&model, &chosen).is_some());
        for language in ["de", "auto", "en,de"] {
            chosen.set("language", language).unwrap();
            chosen.set("translate", "on").unwrap();
            let misfits = fit(&model, &mut chosen);
            assert_eq!(misfits.len(), 2, "{misfits:?}");
            assert!(misfits[0].starts_with(&format!("language {language}: ")));
            assert_eq!((chosen.language, chosen.translate), (None, None));
        }
    }

    #[test]
    fn what_a_call_says_outweighs_the_settings() {
        let defaults = DefaultOptions {
            language: Language::Code("en"),
            partials: true,
            second_pass: Some("medium".into()),
        };
        let plain = defaults.call_options(&CallChoices::default());
        assert_eq!(plain.choices.language.as_deref(), Some("en"));
        assert!(plain.partials.is_some());
        assert_eq!(plain.second_pass.as_deref(), Some("medium"));
        let mut chosen = CallChoices::default();
        for (name, text) in [
            ("language", "de,en"),
            ("partials", "no"),
            ("translate", "1"),
            ("second_pass", "large-v3"),
        ] {
            chosen.set(name, text).unwrap();
        }
        let call_options = defaults.call_options(&chosen);
        assert_eq!(call_options.choices.language, None);
        assert_eq!(call_options.choices.among, ["en", "de"]);
        assert_eq!(call_options.choices.task, SpeechTask::Translate);
        assert_eq!(call_options.partials, None);
        assert_eq!(call_options.second_pass.as_deref(), Some("large-v3"));
        for (text, model) in [("off", None), ("on", Some("medium"))] {
            chosen.set("second_pass", text).unwrap();
            assert_eq!(defaults.call_options(&chosen).second_pass.as_deref(), model);
        }
    }
}
