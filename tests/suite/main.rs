//! What the whole promises, against the real things: the built binary, real
//! captures, real Redis, real Asterisk. One binary, so that one link serves all;
//! one behaviour per file.

mod api_access;
mod api_call;
mod api_choices;
mod api_limits;
mod api_rig;
mod api_routes;
mod architecture;
mod asterisk;
mod asterisk_dtmf;
mod bench_media;
mod bench_speech;
mod capture;
mod conceal_words;
mod desk_again;
mod desk_stop;
mod hostile_traffic;
mod hostile_udp;
mod media_doctor;
mod models_pull;
mod models_switch;
mod play;
mod recognition_faults;
mod recognition_load;
mod recognition_overload;
mod recognition_privacy;
mod recognition_spool;
mod replay_captures;
mod replay_formats;
mod replay_golden;
mod replay_rig;
mod rtp_ports;
mod start_refusals;
mod store_contract;
mod store_outage;
mod word_times;
