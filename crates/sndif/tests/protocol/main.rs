//! Tests of the protocol from outside: properties of every parser, a memory that can be read only once, and the memory
//! ordering between two domains.

mod directory;
mod formats;
mod ordering;
mod packets;
mod ring;
mod single_fetch;
mod store;
mod v0;
mod values;
