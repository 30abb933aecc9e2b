//! Records of calls: crashes, lists, erasure, shutdown.

mod again;
mod crash;
mod erase;
mod list;
mod node_names;
mod stop;
