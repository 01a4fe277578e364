//! A Xen toolstack's part in sound: reads the `vsnd = [ … ]` lines of xl.cfg(5) and creates the nodes from which
//! frontend and backend start.
//!
//! On a real host `xl` does this. The emulation has this crate instead: [`parse`] for the syntax,
//! [`attach`] and [`detach`] for the nodes, [`Restart`] for what happens when a domain dies.

#![forbid(unsafe_code)]

mod attach;
mod card;
mod nodes;
mod parse;
mod text;

pub use attach::{AttachError, Attached, Restart, attach, detach, list};
pub use card::{Card, Params, Pcm, Stream};
pub use nodes::{Node, frontend_nodes};
pub use parse::parse;
pub use text::SyntaxError;
