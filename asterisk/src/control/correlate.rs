//! Which calls a message of Asterisk is about.

use std::collections::BTreeSet;

use serde_json::Value;

use super::CallControl;
use super::call::ObjectOwner;

impl CallControl {
    /// The calls that are known now and whose channel, or a channel or bridge
    /// that we made for them, the message names anywhere.
    pub fn calls_named_in(&self, message: &Value) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        self.collect(message, &mut named);
        named
    }

    /// Messages are read with a bound on their depth.
    fn collect(&self, value: &Value, named: &mut BTreeSet<String>) {
        match value {
            Value::String(id) => named.extend(self.call_of(id)),
            Value::Array(values) => values.iter().for_each(|value| self.collect(value, named)),
            Value::Object(fields) => fields.values().for_each(|value| self.collect(value, named)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn call_of(&self, id: &str) -> Option<String> {
        if self.calls.contains_key(id) {
            return Some(id.to_owned());
        }
        match self.owners.get(id)? {
            ObjectOwner::Party { call }
            | ObjectOwner::Media { call, .. }
            | ObjectOwner::Snoop { call, .. } => Some(call.clone()),
            ObjectOwner::Bridge => {
                let has = |(_, call): &(&String, &super::ControlledCall)| {
                    call.legs.iter().any(|leg| leg.bridge.id == id)
                };
                self.calls.iter().find(has).map(|(call, _)| call.clone())
            }
        }
    }
}
