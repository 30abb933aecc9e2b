//! Variables of a call's channel, asked for all at once before its media is set up. A channel
//! has few of them, and whatever it has: the call goes on.

use std::time::Instant;

use serde_json::Value;

use super::call::CallStage;
use super::io::{ControlNotice, RequestFailure, VariableValue};
use super::legs::variable_in;
use super::{CallControl, RequestPurpose};
use crate::request::AriRequest;

/// How far they have been told.
#[derive(Debug)]
pub(super) struct VariableProgress {
    /// Names this asking among all others.
    generation: u64,
    /// Answers that are still to come.
    left: usize,
    /// The connection broke between: they are to be asked for again.
    lost: bool,
    found: Vec<(usize, Result<VariableValue, String>)>,
}

impl CallControl {
    /// Asks for all of them; the media follows when all have been told.
    pub(super) fn ask_variables(&mut self, id: &str, now: Instant) {
        let names = self.config.variables.clone();
        let generation = self.next_serial();
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.variables = Some(VariableProgress {
            generation,
            left: names.len(),
            lost: false,
            found: Vec::new(),
        });
        for (place, variable) in names.into_iter().enumerate() {
            let channel = id.to_owned();
            let purpose = RequestPurpose::Variable {
                call: id.to_owned(),
                generation,
                place,
            };
            self.send(AriRequest::GetVariable { channel, variable }, purpose, now);
        }
    }

    pub(super) fn on_variable(
        &mut self,
        id: &str,
        generation: u64,
        place: usize,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let Some(variables) = self.variables_mut(id, generation) else {
            return;
        };
        variables.left -= 1;
        let told = match result {
            // Empty: not set, in some releases.
            Ok(value) => variable_in(&value)
                .filter(|text| !text.is_empty())
                .map(|text| Ok(VariableValue(text.to_owned()))),
            // Not set, in others; or the channel is gone, as its own events will say.
            Err(failure) if failure.status() == Some(404) => None,
            Err(failure) => Some(Err(failure.to_string())),
        };
        variables.found.extend(told.map(|told| (place, told)));
        if variables.left == 0 && !variables.lost {
            self.tell_variables(id);
            self.begin_legs(id, now);
        }
    }

    fn tell_variables(&mut self, id: &str) {
        let call = self.calls.get_mut(id);
        let Some(VariableProgress { mut found, .. }) = call.and_then(|call| call.variables.take())
        else {
            return;
        };
        // Whichever was answered first.
        found.sort_by_key(|(place, _)| *place);
        let named = found.into_iter().filter_map(|(place, value)| {
            let name = self.config.variables.get(place)?;
            Some((name.clone(), value))
        });
        let found: Vec<_> = named.collect();
        if !found.is_empty() {
            let call = id.to_owned();
            self.notice(ControlNotice::CallVariables { call, found });
        }
    }

    /// The answers will never come: the next listing says whether the call is still there.
    pub(super) fn lose_variables(&mut self, id: &str, generation: u64) {
        if let Some(variables) = self.variables_mut(id, generation) {
            variables.lost = true;
        }
    }

    /// Asks again where the answers were lost; whether they were.
    pub(super) fn ask_again(&mut self, id: &str, now: Instant) -> bool {
        let call = self.calls.get(id);
        let variables = call.and_then(|call| call.variables.as_ref());
        let lost = variables.is_some_and(|variables| variables.lost);
        if lost {
            self.ask_variables(id, now);
        }
        lost
    }

    fn variables_mut(&mut self, id: &str, generation: u64) -> Option<&mut VariableProgress> {
        let call = self.calls.get_mut(id)?;
        // One that is being taken down gets no media any more.
        let goes_on = matches!(call.stage, CallStage::Active);
        let variables = call.variables.as_mut().filter(|_| goes_on)?;
        (variables.generation == generation).then_some(variables)
    }
}
