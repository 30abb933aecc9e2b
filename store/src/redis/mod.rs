//! The shared store: Redis 5 or later, one primary (not a cluster).
//!
//! | key | type | content | expires |
//! |---|---|---|---|
//! | `call:{id}` | string | [`CallRecord`] as JSON | [`RetentionTimes::call`] after its last write |
//! | `call:{id}:transcript` | list | [`TranscriptLine`]s as JSON, in order | [`RetentionTimes::transcript`] after the last line |
//! | `call:{id}:dtmf` | list | [`DtmfDigit`]s as JSON, in order | [`RetentionTimes::call`] after the last digit |
//! | `active_calls_count` | integer | size of `calls:open`, after each write | never |
//! | `total_calls_processed` | integer | calls that have ended | never |
//! | `calls:index` | sorted set | ids by `started_at` (ms since 1970) | by [`CallStore::expire`] |
//! | `calls:open` | set | ids of calls in an open state | by being put as ended, or [`CallStore::expire`] |
//! | `node:{name}` | string | which running server has the name | 6 s after it was last renewed |
//! | `calls:counted` | sorted set | ids of calls in `total_calls_processed`, by their `started_at` | by [`CallStore::expire`] |
//!
//! The first five are the predecessor's. An id holds no `:`, so no key can be
//! taken for another. Scripts are sent whole (`EVAL`): a few hundred bytes buy
//! one round trip also after Redis has restarted and forgotten them.

mod error;
mod link;

use ::redis::{Cmd, FromRedisValue, Pipeline, cmd, pipe};
use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use asterscribe_call::{CallId, CallKey, CallRecord, DtmfDigit, TranscriptLine};
use async_trait::async_trait;

use self::link::RedisLink;
use super::displaced::DisplacedLog;
use super::row::{self, CallList, StoreRow};
use super::unreadable::UnreadableLog;
use super::{CallCounters, CallStore, GivenCounts, PAGE, RetentionTimes, StoreError, StoreWrite};

const APPLY: &str = include_str!("apply.lua");
const LINES: &str = include_str!("lines.lua");
const CLAIM: &str = include_str!("claim.lua");
const EXPIRE: &str = include_str!("expire.lua");
const PROBE: &str = include_str!("probe.lua");
const BELOW: &str = include_str!("below.lua");
const LACKING: &str = include_str!("lacking.lua");

/// Calls that are looked at by one script at most: it holds up everybody else.
const LOOKED_AT: usize = 200;

/// Calls and transcripts in Redis.
///
/// It connects when first used and again whenever the connection was lost; no
/// method takes longer than 2.5 s per round trip.
pub struct RedisStore {
    link: RedisLink,
    retention: RetentionTimes,
    unreadable: UnreadableLog,
    displaced: DisplacedLog,
}

impl RedisStore {
    /// Reads the URL, `redis://[user][:password@]host[:port][/db]`, or `rediss://…` for TLS,
    /// which trusts the system's certificates or those of `SSL_CERT_FILE`. Connects to
    /// nothing: whether Redis is there is for [`CallStore::ping`] to find out.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the URL is malformed; no part of it is repeated.
    pub fn new(url: &str, retention: RetentionTimes) -> Result<Self, StoreError> {
        Ok(Self {
            link: RedisLink::new(url)?,
            retention,
            unreadable: UnreadableLog::default(),
            displaced: DisplacedLog::default(),
        })
    }

    async fn one<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let (answer,) = self.link.send(&pipeline).await?;
        Ok(answer)
    }
}

/// Shows the address, never the password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("link", &self.link)
            .field("retention", &self.retention)
            .finish()
    }
}

#[async_trait]
impl CallStore for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.one(cmd("PING")).await
    }

    async fn try_write(&self) -> Result<(), StoreError> {
        let _done: i64 = self.one(script(PROBE)).await?;
        Ok(())
    }

    async fn apply(&self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut eval = script(APPLY);
        eval.arg(self.retention.call_ms())
            .arg(self.retention.transcript_ms());
        for row in row::encode(writes)? {
            match row {
                StoreRow::Call {
                    id,
                    open,
                    started_ms,
                    json,
                    yields,
                } => eval
                    .arg(if yields { "given_up" } else { "call" })
                    .arg(id)
                    .arg(u8::from(open))
                    .arg(started_ms)
                    .arg(json),
                StoreRow::Item {
                    id,
                    list,
                    position,
                    json,
                    revises,
                } => eval
                    .arg(list.name())
                    .arg(id)
                    .arg(position)
                    .arg(u8::from(revises))
                    .arg(json),
                StoreRow::Digits { id, all } => {
                    let all = serde_json::to_string(&all).map_err(|error| {
                        StoreError::Broken(format!("digits of call {id}: {error}"))
                    })?;
                    eval.arg("digits").arg(id).arg("").arg("").arg(all)
                }
                StoreRow::Erase { id } => eval.arg("erase").arg(id).arg("").arg("").arg(""),
            };
        }
        let (beyond, displaced): (u64, Vec<String>) = self.one(eval).await?;
        displaced.iter().for_each(|call| self.displaced.tell(call));
        if beyond > 0 {
            tracing::warn!(
                beyond,
                "Redis lacks transcript lines or digits that came before those just stored"
            );
        }
        Ok(())
    }

    async fn call(&self, call: &CallId) -> Result<Option<CallRecord>, StoreError> {
        let mut get = cmd("GET");
        get.arg(format!("call:{call}"));
        let json: Option<Vec<u8>> = self.one(get).await?;
        json.map(|json| row::decode("record", call.as_str(), &json))
            .transpose()
    }

    async fn keys(
        &self,
        before: Option<&CallKey>,
        limit: usize,
    ) -> Result<Vec<CallKey>, StoreError> {
        let mut keys = Vec::new();
        let mut seen = 0;
        while keys.len() < limit {
            let wanted = (limit - keys.len()).min(PAGE);
            let mut range = cmd("ZREVRANGEBYSCORE");
            range.arg("calls:index");
            match before {
                Some(key) => range.arg(key.started_ms),
                None => range.arg("+inf"),
            };
            range.arg("-inf").arg("WITHSCORES");
            range.arg("LIMIT").arg(seen).arg(wanted);
            let found: Vec<(Vec<u8>, f64)> = self.one(range).await?;
            seen += found.len();
            let is_last = found.len() < wanted;
            keys.extend(found.into_iter().filter_map(|(id, score)| {
                let key = CallKey {
                    // A whole number of milliseconds, far below 2^53.
                    started_ms: score as i64,
                    call: self.unreadable.id(&id)?,
                };
                // Others may have begun in the same millisecond.
                before.is_none_or(|before| key < *before).then_some(key)
            }));
            if is_last {
                break;
            }
        }
        Ok(keys)
    }

    /// Without those that have expired.
    async fn records(&self, calls: &[CallId]) -> Result<Vec<Option<CallRecord>>, StoreError> {
        let mut records = Vec::with_capacity(calls.len());
        for page in calls.chunks(PAGE) {
            let keys = page.iter().map(|id| format!("call:{id}"));
            let mut get = cmd("MGET");
            get.arg(keys.collect::<Vec<_>>());
            let found: Vec<Option<Vec<u8>>> = self.one(get).await?;
            let read = page.iter().zip(found);
            records.extend(read.map(|(id, json)| self.unreadable.record(id.as_str(), &json?)));
        }
        Ok(records)
    }

    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError> {
        let mut members = cmd("SMEMBERS");
        members.arg("calls:open");
        let ids: Vec<Vec<u8>> = self.one(members).await?;
        let ids: Vec<CallId> = ids.iter().filter_map(|id| self.unreadable.id(id)).collect();
        let mut records: Vec<_> = self.records(&ids).await?.into_iter().flatten().collect();
        records.sort_by_key(|record| Reverse(CallKey::of(record)));
        Ok(records)
    }

    async fn lines(&self, call: &CallId, from_seq: u64) -> Result<Vec<TranscriptLine>, StoreError> {
        let mut eval = script(LINES);
        eval.arg(call.as_str()).arg(from_seq.min(row::MAX_POSITION));
        let found: Vec<Vec<u8>> = self.one(eval).await?;
        let read = found
            .iter()
            .filter_map(|json| self.unreadable.item::<TranscriptLine>("line", call, json));
        Ok(read.filter(|line| line.seq >= from_seq).collect())
    }

    async fn lines_below(&self, call: &CallId, seq: u64) -> Result<u64, StoreError> {
        let mut eval = script(BELOW);
        eval.arg(call.as_str()).arg(seq.min(row::MAX_POSITION));
        self.one(eval).await
    }

    async fn dtmf(&self, call: &CallId) -> Result<Vec<DtmfDigit>, StoreError> {
        let mut range = cmd("LRANGE");
        range
            .arg(format!("call:{call}:{}", CallList::Dtmf.name()))
            .arg(0)
            .arg(-1);
        let found: Vec<Vec<u8>> = self.one(range).await?;
        let read = found
            .iter()
            .filter_map(|json| self.unreadable.item("digit", call, json));
        Ok(read.collect())
    }

    async fn lacking(&self, given: &[GivenCounts]) -> Result<Vec<CallId>, StoreError> {
        let mut lacking = Vec::new();
        for some in given.chunks(LOOKED_AT) {
            let mut eval = script(LACKING);
            for GivenCounts {
                call,
                lines,
                digits,
            } in some
            {
                eval.arg(call.as_str())
                    .arg(lines.start)
                    .arg(lines.end)
                    .arg(*digits);
            }
            let places: Vec<usize> = self.one(eval).await?;
            let found = places.into_iter().filter_map(|place| some.get(place));
            lacking.extend(found.map(|given| given.call.clone()));
        }
        Ok(lacking)
    }

    fn unreadable(&self) -> u64 {
        self.unreadable.count()
    }

    fn displaced(&self) -> u64 {
        self.displaced.count()
    }

    async fn counters(&self) -> Result<CallCounters, StoreError> {
        let mut get = pipe();
        get.cmd("GET")
            .arg("active_calls_count")
            .cmd("GET")
            .arg("total_calls_processed");
        let (active, processed): (Option<i64>, Option<i64>) = self.link.send(&get).await?;
        let count = |stored: Option<i64>| u64::try_from(stored.unwrap_or(0)).unwrap_or(0);
        Ok(CallCounters {
            active: count(active),
            processed: count(processed),
        })
    }

    async fn claim(
        &self,
        node: &str,
        mark: &str,
        in_place_of: Option<&str>,
        lease: Duration,
    ) -> Result<Option<String>, StoreError> {
        let mut eval = script(CLAIM);
        let millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        eval.arg(node)
            .arg(mark)
            .arg(millis)
            .arg(in_place_of.unwrap_or_default());
        self.one(eval).await
    }

    async fn expire(&self) -> Result<u64, StoreError> {
        // Records and lists expire by themselves; the index and the open calls do not.
        let mut total = 0;
        let mut rank = 0;
        loop {
            let mut eval = script(EXPIRE);
            eval.arg(rank).arg(PAGE);
            let (gone, seen): (u64, u64) = self.one(eval).await?;
            total += gone;
            rank += seen - gone.min(seen);
            if seen == 0 {
                break;
            }
        }
        let (gone, _): (u64, u64) = self.one(script(EXPIRE)).await?;
        Ok(total + gone)
    }
}

fn script(text: &str) -> Cmd {
    let mut eval = cmd("EVAL");
    // No keys are declared: they are built from the ids in the script, which is
    // what ties this store to a Redis that is not a cluster.
    eval.arg(text).arg(0);
    eval
}

#[cfg(test)]
mod tests;
