//! Limit on pages that a backend keeps mapped when they are taken back from it: they are not freed.

use xen::{Access, DomainId, Granted, Xen};

use crate::{Error, Result};

/// Maximum number of pages kept since Xen was opened: 16 MiB. An honest backend keeps none, and a backend that ends
/// releases all.
const KEPT_MAX: usize = 4096;

/// Grants pages to a backend that has not kept too many. (Only the emulation counts kept pages. `/dev/xen/gntalloc`
/// counts them towards its own limit, and refuses above it.)
pub(crate) fn grant(xen: &Xen, backend: DomainId, pages: usize, access: Access) -> Result<Granted> {
    match xen.usage().quarantined_pages {
        kept if kept > KEPT_MAX => Err(Error::PagesKept { pages: kept }),
        _ => Ok(xen.grant(backend, pages, access)?),
    }
}
