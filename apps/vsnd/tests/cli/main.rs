//! The programs from a user's view: real processes, real files, exit statuses, output.

mod bad_input;
mod chaos;
mod common;
mod completions;
mod control;
mod controlled;
mod demo;
mod devices;
mod doctor;
mod documents;
mod edges;
mod fake_daemon;
mod files;
mod held_up;
mod lasting;
mod metrics;
mod release;
mod sandbox;
mod service;
mod top;
mod vanishing;
mod workers;
