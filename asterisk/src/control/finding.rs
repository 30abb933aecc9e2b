//! A channel's name instead of its id: ARI takes ids only, but lists both. Where Asterisk cannot
//! list its channels, because of one that it cannot describe, those that are known of are looked
//! at one by one: the channels of the name's endpoint, those in bridges, those that our application
//! hears of.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use serde_json::Value;

use super::io::{CommandKind, ControlNotice, RequestFailure};
use super::one_by_one::{AT_ONCE, cannot_be_listed};
use super::replies::read;
use super::{CallControl, RequestPurpose};
use crate::model::{AriBridge, AriChannel, AriEndpoint, StasisApplication};
use crate::request::AriRequest;

/// A search for a name, channel by channel.
#[derive(Debug)]
pub(super) struct ChannelSearch {
    name: String,
    /// Reason for which the channels cannot be listed.
    why: RequestFailure,
    /// Lists on their way that tell of channels.
    sources: usize,
    left: VecDeque<String>,
    under_way: usize,
    /// Channels that were or are to be looked at.
    known: BTreeSet<String>,
    seen: usize,
    unseen: usize,
    /// The channel whose name differs in case only.
    alike: Option<String>,
}

/// The lists that tell of channels where the list of channels does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelSource {
    Endpoint,
    Bridges,
    Application,
}

impl ChannelSearch {
    fn learn(&mut self, ids: impl IntoIterator<Item = String>) {
        for id in ids {
            if self.known.insert(id.clone()) {
                self.left.push_back(id);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.sources == 0 && self.under_way == 0 && self.left.is_empty()
    }

    /// Reason for which a search without a result proves nothing.
    fn refusal(&self) -> String {
        let Self {
            why, seen, unseen, ..
        } = self;
        let others = match unseen {
            0 => String::new(),
            _ => format!(", and {unseen} cannot be looked at"),
        };
        format!(
            "GET /channels is answered with {why}, for one of them cannot be described; none of the {seen} that were looked at one by one has this name{others}"
        )
    }
}

impl CallControl {
    /// The `Find` command.
    pub(super) fn find(&mut self, name: String, now: Instant) {
        if !self.is_connected() {
            let message = "Asterisk is not connected".to_owned();
            return self.refuse(CommandKind::Find, name, None, message);
        }
        self.send(AriRequest::ListChannels, RequestPurpose::Find { name }, now);
    }

    /// As Asterisk does where it takes names: no matter the case.
    pub(super) fn on_found(
        &mut self,
        name: String,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let channels = match read::<Vec<AriChannel>>(result) {
            Ok(channels) => channels,
            Err(failure) if cannot_be_listed(&failure) => return self.search(name, failure, now),
            Err(failure) => return self.refuse_for(CommandKind::Find, &name, &failure),
        };
        let exact = channels.iter().find(|channel| channel.name == name);
        let alike = || {
            let mut alike = channels.iter();
            alike.find(|channel| channel.name.eq_ignore_ascii_case(&name))
        };
        match exact.or_else(alike).map(|channel| channel.id.clone()) {
            Some(channel) => self.notice(ControlNotice::ChannelFound { name, channel }),
            None => {
                let message = "no channel has this name".to_owned();
                self.refuse(CommandKind::Find, name, Some(404), message);
            }
        }
    }

    fn search(&mut self, name: String, why: RequestFailure, now: Instant) {
        let search = self.next_serial();
        let app = self.config.app.clone();
        let mut sources = vec![
            (ChannelSource::Bridges, AriRequest::ListBridges),
            (
                ChannelSource::Application,
                AriRequest::GetApplication { app },
            ),
        ];
        if let Some((technology, resource)) = endpoint_of(&name) {
            let request = AriRequest::GetEndpoint {
                technology,
                resource,
            };
            sources.insert(0, (ChannelSource::Endpoint, request));
        }
        let mut begun = ChannelSearch {
            name: name.clone(),
            why,
            sources: sources.len(),
            left: VecDeque::new(),
            under_way: 0,
            known: BTreeSet::new(),
            seen: 0,
            unseen: 0,
            alike: None,
        };
        // Some Asterisks take a name for an id here.
        begun.learn([name]);
        begun.learn(self.known_objects().0);
        self.searches.insert(search, begun);
        for (source, request) in sources {
            self.send(request, RequestPurpose::SearchList { search, source }, now);
        }
        self.go_on_searching(search, now);
    }

    pub(super) fn on_search_list(
        &mut self,
        search: u64,
        source: ChannelSource,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let Some(searched) = self.searches.get_mut(&search) else {
            return;
        };
        searched.sources -= 1;
        // What one of them does not tell another may.
        let ids = match source {
            ChannelSource::Endpoint => read::<AriEndpoint>(result).map(|e| e.channel_ids),
            ChannelSource::Application => read::<StasisApplication>(result).map(|a| a.channel_ids),
            ChannelSource::Bridges => {
                let bridges = read::<Vec<AriBridge>>(result);
                bridges.map(|bridges| bridges.into_iter().flat_map(|b| b.channels).collect())
            }
        };
        searched.learn(ids.unwrap_or_default());
        self.go_on_searching(search, now);
    }

    pub(super) fn on_searched(
        &mut self,
        search: u64,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let Some(searched) = self.searches.get_mut(&search) else {
            return;
        };
        searched.under_way -= 1;
        match read::<AriChannel>(result) {
            Ok(channel) if channel.name == searched.name => {
                return self.end_search(search, Some(channel.id));
            }
            Ok(channel) => {
                searched.seen += 1;
                if channel.name.eq_ignore_ascii_case(&searched.name) {
                    searched.alike.get_or_insert(channel.id);
                }
            }
            Err(failure) if failure.status() == Some(404) => {}
            Err(_) => searched.unseen += 1,
        }
        self.go_on_searching(search, now);
    }

    fn go_on_searching(&mut self, search: u64, now: Instant) {
        let Some(searched) = self.searches.get_mut(&search) else {
            return;
        };
        let places = AT_ONCE.saturating_sub(searched.under_way);
        let next: Vec<String> = (searched.left)
            .drain(..places.min(searched.left.len()))
            .collect();
        searched.under_way += next.len();
        if searched.is_over() {
            let alike = searched.alike.take();
            return self.end_search(search, alike);
        }
        for channel in next {
            let request = AriRequest::GetChannel { channel };
            self.send(request, RequestPurpose::SearchOne { search }, now);
        }
    }

    fn end_search(&mut self, search: u64, channel: Option<String>) {
        let Some(searched) = self.searches.remove(&search) else {
            return;
        };
        self.pending.retain(|_, pending| {
            !matches!(&pending.purpose, RequestPurpose::SearchList { search: s, .. } | RequestPurpose::SearchOne { search: s } if *s == search)
        });
        let message = searched.refusal();
        let ChannelSearch { name, why, .. } = searched;
        match channel {
            Some(channel) => self.notice(ControlNotice::ChannelFound { name, channel }),
            None => self.refuse(CommandKind::Find, name, why.status(), message),
        }
    }

    /// Nothing more will be answered: whoever waits for a name is told so.
    pub(super) fn refuse_searches(&mut self, failure: &RequestFailure) {
        for (_, searched) in std::mem::take(&mut self.searches) {
            self.refuse_for(CommandKind::Find, &searched.name, failure);
        }
    }
}

/// Technology and resource of the endpoint that a channel of this name belongs to:
/// `PJSIP/alice-00000001` to `PJSIP/alice`.
fn endpoint_of(name: &str) -> Option<(String, String)> {
    let (technology, rest) = name.split_once('/')?;
    let is_number = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || c == ';');
    let resource = match rest.rsplit_once('-') {
        Some((resource, number)) if is_number(number) => resource,
        _ => rest,
    };
    (!technology.is_empty() && !resource.is_empty())
        .then(|| (technology.to_owned(), resource.to_owned()))
}
