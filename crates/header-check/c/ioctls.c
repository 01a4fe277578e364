/* xen/evtchn.h, xen/gntdev.h and xen/gntalloc.h: the device files of Linux. */
#include "say.h"

#include <sys/ioctl.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/evtchn.h>
#include <xen/gntdev.h>

static void gntalloc(void);

int main(void)
{
    NUMBER(IOCTL_EVTCHN_BIND_INTERDOMAIN);
    NUMBER(IOCTL_EVTCHN_BIND_UNBOUND_PORT);
    NUMBER(IOCTL_EVTCHN_NOTIFY);
    NUMBER(IOCTL_EVTCHN_RESTRICT_DOMID);
    SIZE(ioctl_evtchn_bind_interdomain);
    OFFSET(ioctl_evtchn_bind_interdomain, remote_domain);
    OFFSET(ioctl_evtchn_bind_interdomain, remote_port);
    SIZE(ioctl_evtchn_bind_unbound_port);
    OFFSET(ioctl_evtchn_bind_unbound_port, remote_domain);
    SIZE(ioctl_evtchn_notify);
    OFFSET(ioctl_evtchn_notify, port);
    SIZE(ioctl_evtchn_restrict_domid);
    OFFSET(ioctl_evtchn_restrict_domid, domid);

    NUMBER(IOCTL_GNTDEV_MAP_GRANT_REF);
    NUMBER(IOCTL_GNTDEV_UNMAP_GRANT_REF);
    SIZE(ioctl_gntdev_grant_ref);
    OFFSET(ioctl_gntdev_grant_ref, domid);
    OFFSET(ioctl_gntdev_grant_ref, ref);
    SIZE(ioctl_gntdev_map_grant_ref);
    OFFSET(ioctl_gntdev_map_grant_ref, count);
    OFFSET(ioctl_gntdev_map_grant_ref, index);
    OFFSET(ioctl_gntdev_map_grant_ref, refs);
    SIZE(ioctl_gntdev_unmap_grant_ref);
    OFFSET(ioctl_gntdev_unmap_grant_ref, index);
    OFFSET(ioctl_gntdev_unmap_grant_ref, count);

    gntalloc();
    return 0;
}

/* Both headers define these two, with the same values. */
#undef UNMAP_NOTIFY_CLEAR_BYTE
#undef UNMAP_NOTIFY_SEND_EVENT
#include <xen/gntalloc.h>

static void gntalloc(void)
{
    NUMBER(IOCTL_GNTALLOC_ALLOC_GREF);
    NUMBER(IOCTL_GNTALLOC_DEALLOC_GREF);
    NUMBER(GNTALLOC_FLAG_WRITABLE);
    SIZE(ioctl_gntalloc_alloc_gref);
    OFFSET(ioctl_gntalloc_alloc_gref, domid);
    OFFSET(ioctl_gntalloc_alloc_gref, flags);
    OFFSET(ioctl_gntalloc_alloc_gref, count);
    OFFSET(ioctl_gntalloc_alloc_gref, index);
    OFFSET(ioctl_gntalloc_alloc_gref, gref_ids);
    SIZE(ioctl_gntalloc_dealloc_gref);
    OFFSET(ioctl_gntalloc_dealloc_gref, index);
    OFFSET(ioctl_gntalloc_dealloc_gref, count);
}
