//! Observing and controlling the daemon over its control socket.

pub(crate) mod change;
pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod forget;
pub(crate) mod list;
pub(crate) mod moving;
