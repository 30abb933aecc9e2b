//! Both stores: one contract, and what happens while a store is in trouble.

mod common;
mod outage;
mod trouble;
