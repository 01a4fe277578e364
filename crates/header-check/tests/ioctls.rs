//! Tests of the device files' numbers and structures against `xen/evtchn.h`, `xen/gntdev.h`, `xen/gntalloc.h`.

use std::mem::offset_of;

use header_check::Constants;
use xen::dev::abi::{
    self, EvtchnBindInterdomain, EvtchnBindUnboundPort, EvtchnPort, EvtchnRestrictDomid, GntallocAllocGref,
    GntallocDeallocGref, GntdevGrantRef, GntdevMapGrantRef, GntdevUnmapGrantRef,
};

#[test]
fn request_numbers_are_those_of_the_headers() {
    let headers = Constants::of("ioctls");
    for (name, ours) in [
        ("IOCTL_EVTCHN_BIND_INTERDOMAIN", abi::EVTCHN_BIND_INTERDOMAIN),
        ("IOCTL_EVTCHN_BIND_UNBOUND_PORT", abi::EVTCHN_BIND_UNBOUND_PORT),
        ("IOCTL_EVTCHN_NOTIFY", abi::EVTCHN_NOTIFY),
        ("IOCTL_EVTCHN_RESTRICT_DOMID", abi::EVTCHN_RESTRICT_DOMID),
        ("IOCTL_GNTDEV_MAP_GRANT_REF", abi::GNTDEV_MAP_GRANT_REF),
        ("IOCTL_GNTDEV_UNMAP_GRANT_REF", abi::GNTDEV_UNMAP_GRANT_REF),
        ("IOCTL_GNTALLOC_ALLOC_GREF", abi::GNTALLOC_ALLOC_GREF),
        ("IOCTL_GNTALLOC_DEALLOC_GREF", abi::GNTALLOC_DEALLOC_GREF),
        ("GNTALLOC_FLAG_WRITABLE", abi::GNTALLOC_FLAG_WRITABLE.into()),
    ] {
        assert_eq!(u64::from(ours), headers.number(name), "{name}");
    }
}

#[test]
fn structures_are_laid_out_as_in_the_headers() {
    let headers = Constants::of("ioctls");
    let sizes = [
        ("ioctl_evtchn_bind_interdomain", size_of::<EvtchnBindInterdomain>()),
        ("ioctl_evtchn_bind_unbound_port", size_of::<EvtchnBindUnboundPort>()),
        ("ioctl_evtchn_notify", size_of::<EvtchnPort>()),
        ("ioctl_evtchn_restrict_domid", size_of::<EvtchnRestrictDomid>()),
        ("ioctl_gntdev_grant_ref", size_of::<GntdevGrantRef>()),
        ("ioctl_gntdev_map_grant_ref", size_of::<GntdevMapGrantRef>()),
        ("ioctl_gntdev_unmap_grant_ref", size_of::<GntdevUnmapGrantRef>()),
        ("ioctl_gntalloc_alloc_gref", size_of::<GntallocAllocGref>()),
        ("ioctl_gntalloc_dealloc_gref", size_of::<GntallocDeallocGref>()),
    ];
    for (name, ours) in sizes {
        assert_eq!(ours as u64, headers.number(&format!("sizeof {name}")), "{name}");
    }
    for (name, ours) in [
        ("ioctl_evtchn_bind_interdomain.remote_domain", offset_of!(EvtchnBindInterdomain, remote_domain)),
        ("ioctl_evtchn_bind_interdomain.remote_port", offset_of!(EvtchnBindInterdomain, remote_port)),
        ("ioctl_evtchn_bind_unbound_port.remote_domain", offset_of!(EvtchnBindUnboundPort, remote_domain)),
        ("ioctl_evtchn_notify.port", offset_of!(EvtchnPort, port)),
        ("ioctl_evtchn_restrict_domid.domid", offset_of!(EvtchnRestrictDomid, domid)),
        ("ioctl_gntdev_grant_ref.domid", offset_of!(GntdevGrantRef, domid)),
        ("ioctl_gntdev_grant_ref.ref", offset_of!(GntdevGrantRef, reference)),
        ("ioctl_gntdev_map_grant_ref.count", offset_of!(GntdevMapGrantRef, count)),
        ("ioctl_gntdev_map_grant_ref.index", offset_of!(GntdevMapGrantRef, index)),
        ("ioctl_gntdev_map_grant_ref.refs", offset_of!(GntdevMapGrantRef, refs)),
        ("ioctl_gntdev_unmap_grant_ref.index", offset_of!(GntdevUnmapGrantRef, index)),
        ("ioctl_gntdev_unmap_grant_ref.count", offset_of!(GntdevUnmapGrantRef, count)),
        ("ioctl_gntalloc_alloc_gref.domid", offset_of!(GntallocAllocGref, domid)),
        ("ioctl_gntalloc_alloc_gref.flags", offset_of!(GntallocAllocGref, flags)),
        ("ioctl_gntalloc_alloc_gref.count", offset_of!(GntallocAllocGref, count)),
        ("ioctl_gntalloc_alloc_gref.index", offset_of!(GntallocAllocGref, index)),
        ("ioctl_gntalloc_alloc_gref.gref_ids", offset_of!(GntallocAllocGref, gref_ids)),
        ("ioctl_gntalloc_dealloc_gref.index", offset_of!(GntallocDeallocGref, index)),
        ("ioctl_gntalloc_dealloc_gref.count", offset_of!(GntallocDeallocGref, count)),
    ] {
        assert_eq!(ours as u64, headers.number(name), "{name}");
    }
}
