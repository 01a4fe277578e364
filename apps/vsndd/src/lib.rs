//! The host daemon of para-virtual sound for Xen.
