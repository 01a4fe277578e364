//! Numbers and structures of Xen's device files, as `xen/evtchn.h`, `xen/gntdev.h` and
//! `xen/gntalloc.h` (Linux; package `libxen-dev`) define them.
//!
//! The module is public only so that another crate can compare every item with the result of a C compiler
//! for those headers.

/// An `ioctl` request: `_IOC(_IOC_NONE, kind, number, size)`.
const fn request(kind: u8, number: u8, size: usize) -> u32 {
    (size as u32) << 16 | (kind as u32) << 8 | number as u32
}

/// Binds a new port to a remote one; the result is the local port.
pub const EVTCHN_BIND_INTERDOMAIN: u32 = request(b'E', 1, size_of::<EvtchnBindInterdomain>());
/// Allocates a port that a remote domain may bind; the result is the local port.
pub const EVTCHN_BIND_UNBOUND_PORT: u32 = request(b'E', 2, size_of::<EvtchnBindUnboundPort>());
/// Signals the other end of a port.
pub const EVTCHN_NOTIFY: u32 = request(b'E', 4, size_of::<EvtchnPort>());
/// Restricts an open file to one domain.
pub const EVTCHN_RESTRICT_DOMID: u32 = request(b'E', 6, size_of::<EvtchnRestrictDomid>());

/// Makes grant references mappable at an offset of the device file.
pub const GNTDEV_MAP_GRANT_REF: u32 = request(b'G', 0, size_of::<GntdevMapGrantRef>());
/// Releases an offset of [`GNTDEV_MAP_GRANT_REF`].
pub const GNTDEV_UNMAP_GRANT_REF: u32 = request(b'G', 1, size_of::<GntdevUnmapGrantRef>());

/// Allocates pages with their grants, mappable at an offset of the device file.
pub const GNTALLOC_ALLOC_GREF: u32 = request(b'G', 5, size_of::<GntallocAllocGref>());
/// Frees pages of [`GNTALLOC_ALLOC_GREF`].
pub const GNTALLOC_DEALLOC_GREF: u32 = request(b'G', 6, size_of::<GntallocDeallocGref>());
/// Flag: the remote domain may write to the pages.
pub const GNTALLOC_FLAG_WRITABLE: u16 = 1;

/// Argument of [`EVTCHN_BIND_INTERDOMAIN`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct EvtchnBindInterdomain {
    /// Domain that owns the remote port.
    pub remote_domain: u32,
    /// The remote port.
    pub remote_port: u32,
}

/// Argument of [`EVTCHN_BIND_UNBOUND_PORT`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct EvtchnBindUnboundPort {
    /// Domain that may bind.
    pub remote_domain: u32,
}

/// Argument of [`EVTCHN_NOTIFY`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct EvtchnPort {
    /// A local port.
    pub port: u32,
}

/// Argument of [`EVTCHN_RESTRICT_DOMID`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct EvtchnRestrictDomid {
    /// Domain that stays reachable, not 0.
    pub domid: u16,
}

/// One grant to map.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GntdevGrantRef {
    /// Granting domain.
    pub domid: u32,
    /// Reference within that domain.
    pub reference: u32,
}

/// Argument of [`GNTDEV_MAP_GRANT_REF`]; as many `refs` follow as `count` says.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GntdevMapGrantRef {
    /// Number of grants (in).
    pub count: u32,
    /// Padding.
    pub pad: u32,
    /// Offset for `mmap` (out).
    pub index: u64,
    /// The first of the grants.
    pub refs: [GntdevGrantRef; 1],
}

/// Argument of [`GNTDEV_UNMAP_GRANT_REF`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GntdevUnmapGrantRef {
    /// Offset that the mapping request gave.
    pub index: u64,
    /// Number of grants.
    pub count: u32,
    /// Padding.
    pub pad: u32,
}

/// Argument of [`GNTALLOC_ALLOC_GREF`]; as many `gref_ids` follow as `count` says.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GntallocAllocGref {
    /// Domain that may map (in).
    pub domid: u16,
    /// [`GNTALLOC_FLAG_WRITABLE`] or 0 (in).
    pub flags: u16,
    /// Number of pages (in).
    pub count: u32,
    /// Offset for `mmap` (out).
    pub index: u64,
    /// The first of the references (out).
    pub gref_ids: [u32; 1],
}

/// Argument of [`GNTALLOC_DEALLOC_GREF`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GntallocDeallocGref {
    /// Offset that the allocation gave.
    pub index: u64,
    /// Number of references.
    pub count: u32,
}
