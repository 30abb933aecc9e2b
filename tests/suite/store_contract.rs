//! What both stores promise, asked of both: SQLite on a file, and a real Redis.
//! Below that, what only one of them can be asked.
#![cfg(test)]

mod contract;
mod engine;
mod redis;
mod redis_trouble;
mod sqlite;
