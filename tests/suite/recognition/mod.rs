//! Recognition with real models and faulty workers.

mod engine_contract;
pub(crate) mod faults;
mod load;
pub(crate) mod model_folder;
mod model_folders;
mod model_switch;
mod overload;
mod people_live;
mod people_quiet;
pub(crate) mod people_rig;
mod privacy;
mod second_pass;
mod sentinel;
mod spool;
pub(crate) mod word_times;
