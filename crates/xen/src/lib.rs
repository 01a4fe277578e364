//! Xen as user space sees it: store, grants and event channels, real or emulated.
