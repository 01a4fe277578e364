//! The programs as a user meets them: real processes, real files, exit statuses, what they say.

mod bad_input;
mod common;
mod demo;
mod doctor;
mod sandbox;
mod service;
mod vanishing;
