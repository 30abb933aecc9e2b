//! The shared store: Redis 5 or later, one primary (not a cluster).
//!
//! | key | type | content | expires |
//! |---|---|---|---|
//! | `call:{id}` | string | [`CallRecord`] as JSON | [`Retention::call`] after its last write |
//! | `call:{id}:transcript` | list | [`TranscriptLine`]s as JSON, in order | [`Retention::transcript`] after the last line |
//! | `call:{id}:dtmf` | list | [`DtmfDigit`]s as JSON, in order | [`Retention::call`] after the last digit |
//! | `active_calls_count` | integer | size of `calls:open`, after each write | never |
//! | `total_calls_processed` | integer | calls that have ended | never |
//! | `calls:index` | sorted set | ids by `started_at` (ms since 1970) | by [`Store::expire`] |
//! | `calls:open` | set | ids of calls in an open state | by being put as ended, or [`Store::expire`] |
//! | `calls:counted` | sorted set | ids of calls in `total_calls_processed`, by their `started_at` | by [`Store::expire`] |
//!
//! The first five are the predecessor's. An id holds no `:`, so no key can be
//! taken for another. Scripts are sent whole (`EVAL`): a few hundred bytes buy
//! one round trip also after Redis has restarted and forgotten them.

mod error;
mod link;

use std::fmt;

use ::redis::{Cmd, FromRedisValue, Pipeline, cmd, pipe};
use async_trait::async_trait;

use self::link::Link;
use super::row::{self, List, Row, decode};
use super::{Counters, Retention, Store, StoreError, Write};
use crate::call::{CallId, CallRecord, DtmfDigit, TranscriptLine};

const APPLY: &str = include_str!("apply.lua");
const LINES: &str = include_str!("lines.lua");
const EXPIRE: &str = include_str!("expire.lua");

/// Ids asked for at once when the index is read.
const PAGE: usize = 500;

/// Calls and transcripts in Redis.
///
/// It connects when first used and again whenever the connection was lost; no
/// method takes longer than 2.5 s per round trip.
pub struct RedisStore {
    link: Link,
    retention: Retention,
}

impl RedisStore {
    /// Reads the URL, `redis://[user][:password@]host[:port][/db]`. Connects to
    /// nothing: whether Redis is there is for [`Store::ping`] to find out.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the URL is malformed; no part of it is repeated.
    pub fn new(url: &str, retention: Retention) -> Result<Self, StoreError> {
        Ok(Self {
            link: Link::new(url)?,
            retention,
        })
    }

    async fn one<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let (answer,) = self.link.send(&pipeline).await?;
        Ok(answer)
    }

    /// The records of `ids`, in their order, without those that have expired.
    async fn records(&self, ids: &[String]) -> Result<Vec<CallRecord>, StoreError> {
        let mut records = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            let mut get = cmd("MGET");
            get.arg(
                page.iter()
                    .map(|id| format!("call:{id}"))
                    .collect::<Vec<_>>(),
            );
            let found: Vec<Option<String>> = self.one(get).await?;
            for (id, json) in page.iter().zip(found) {
                if let Some(json) = json {
                    records.push(decode("record", id, &json)?);
                }
            }
        }
        Ok(records)
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
impl Store for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.one(cmd("PING")).await
    }

    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut eval = script(APPLY);
        eval.arg(self.retention.call_ms())
            .arg(self.retention.transcript_ms());
        for row in row::encode(writes)? {
            match row {
                Row::Call {
                    id,
                    open,
                    started_ms,
                    json,
                } => eval
                    .arg("call")
                    .arg(id)
                    .arg(u8::from(open))
                    .arg(started_ms)
                    .arg(json),
                Row::Item {
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
            };
        }
        let beyond: u64 = self.one(eval).await?;
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
        let json: Option<String> = self.one(get).await?;
        json.map(|json| decode("record", call.as_str(), &json))
            .transpose()
    }

    async fn calls(&self, limit: usize) -> Result<Vec<CallRecord>, StoreError> {
        let mut records = Vec::new();
        let mut rank = 0;
        // The index may still name calls that have expired; they are passed over.
        while records.len() < limit {
            let mut range = cmd("ZREVRANGE");
            range.arg("calls:index").arg(rank).arg(rank + PAGE - 1);
            let ids: Vec<String> = self.one(range).await?;
            if ids.is_empty() {
                break;
            }
            rank += ids.len();
            records.extend(self.records(&ids).await?);
        }
        records.truncate(limit);
        Ok(records)
    }

    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError> {
        let mut members = cmd("SMEMBERS");
        members.arg("calls:open");
        let ids: Vec<String> = self.one(members).await?;
        let mut records = self.records(&ids).await?;
        records.sort_by(|a, b| {
            (b.started_at.as_millisecond(), &b.call_id)
                .cmp(&(a.started_at.as_millisecond(), &a.call_id))
        });
        Ok(records)
    }

    async fn lines(&self, call: &CallId, from_seq: u64) -> Result<Vec<TranscriptLine>, StoreError> {
        let mut eval = script(LINES);
        eval.arg(call.as_str()).arg(from_seq.min(row::MAX_POSITION));
        let found: Vec<String> = self.one(eval).await?;
        let lines: Vec<TranscriptLine> = found
            .iter()
            .map(|json| decode("line", call.as_str(), json))
            .collect::<Result<_, _>>()?;
        Ok(lines
            .into_iter()
            .filter(|line| line.seq >= from_seq)
            .collect())
    }

    async fn dtmf(&self, call: &CallId) -> Result<Vec<DtmfDigit>, StoreError> {
        let mut range = cmd("LRANGE");
        range
            .arg(format!("call:{call}:{}", List::Dtmf.name()))
            .arg(0)
            .arg(-1);
        let found: Vec<String> = self.one(range).await?;
        found
            .iter()
            .map(|json| decode("digit", call.as_str(), json))
            .collect()
    }

    async fn counters(&self) -> Result<Counters, StoreError> {
        let mut get = pipe();
        get.cmd("GET")
            .arg("active_calls_count")
            .cmd("GET")
            .arg("total_calls_processed");
        let (active, processed): (Option<i64>, Option<i64>) = self.link.send(&get).await?;
        let count = |stored: Option<i64>| u64::try_from(stored.unwrap_or(0)).unwrap_or(0);
        Ok(Counters {
            active: count(active),
            processed: count(processed),
        })
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
