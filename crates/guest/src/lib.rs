//! The guest's driver in user space: a card over real or emulated Xen.
