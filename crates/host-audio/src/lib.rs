//! Sinks and sources on the host behind one trait.
