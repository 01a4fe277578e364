//! Compares the crates' constants and layouts with the C headers.
