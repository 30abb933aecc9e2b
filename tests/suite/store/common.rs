//! Contract of both stores, tested on both: SQLite on a file, and a real Redis. Below that, tests
//! that apply to only one of them.
#![cfg(test)]

mod contract;
mod engine;
mod redis;
mod redis_trouble;
mod sqlite;
mod takeover;
