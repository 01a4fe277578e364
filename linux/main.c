// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The module, and the xenbus driver for devices of class vsnd.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>
#include <xen/xenbus.h>

#include "card.h"
#include "vsnd.h"

/* How long a backend may take to unmap our pages when the device goes. */
#define VSND_DETACH_MS 1000

static int vsnd_probe(struct xenbus_device *dev, const struct xenbus_device_id *id)
{
	struct vsnd_device *device;

	if (!vsnd_card_enabled(dev))
		return -ENODEV;
	device = vsnd_device_new(dev);
	if (!device)
		return -ENOMEM;
	dev_set_drvdata(&dev->dev, device);
	return 0;
}

/* The bus calls this and the others for one device one at a time. */
static void vsnd_otherend_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	vsnd_device_backend_is(dev_get_drvdata(&dev->dev), state);
}

/* The domain was restored: its backend is another, and knows nothing of us. */
static int vsnd_resume(struct xenbus_device *dev)
{
	vsnd_device_backend_is(dev_get_drvdata(&dev->dev), XenbusStateUnknown);
	return 0;
}

static void vsnd_remove(struct xenbus_device *dev)
{
	struct vsnd_device *device = dev_get_drvdata(&dev->dev);
	unsigned int ms = 0;

	if (vsnd_device_detach(device)) {
		/* The bus does not watch the backend for us any more. */
		while (xenbus_read_driver_state(dev->otherend) == XenbusStateConnected &&
		       ms < VSND_DETACH_MS) {
			msleep(20);
			ms += 20;
		}
	}
	vsnd_device_free(device);
}

static const struct xenbus_device_id vsnd_ids[] = {
	{ "vsnd" },
	{ "" },
};

static struct xenbus_driver vsnd_driver = {
	/* The stock driver has the name that the bus would give us. */
	.name = "vsnd_front",
	.ids = vsnd_ids,
	.probe = vsnd_probe,
	.otherend_changed = vsnd_otherend_changed,
	.resume = vsnd_resume,
	.remove = vsnd_remove,
	/* A guest without sound boots all the same. */
	.not_essential = true,
};

static int __init vsnd_init(void)
{
	if (!xen_domain() || !xen_has_pv_devices())
		return -ENODEV;
	return xenbus_register_frontend(&vsnd_driver);
}

static void __exit vsnd_exit(void)
{
	xenbus_unregister_driver(&vsnd_driver);
}

module_init(vsnd_init);
module_exit(vsnd_exit);
MODULE_ALIAS("xen:vsnd");
MODULE_DESCRIPTION("Para-virtual sound of Xen, guest side");
MODULE_AUTHOR("The vsnd developers");
MODULE_LICENSE("Dual MIT/GPL");
