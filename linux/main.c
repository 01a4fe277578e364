// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The module, and the xenbus driver for devices of class vsnd.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>
#include <xen/xenbus.h>

#include "card.h"
#include "vsnd.h"

/* How long a backend may take to unmap our pages when the device goes. */
#define VSND_DETACH_MS 1000

/* A device from probe to remove. */
struct vsnd_front {
	/*
	 * The device's calls come one at a time: from the bus, which sees to
	 * that itself, and when applications let go of a card. Taken within the
	 * device's lock where that is held, before anything of ALSA's.
	 */
	struct mutex lock;
	struct vsnd_device *device;
};

static int vsnd_probe(struct xenbus_device *dev, const struct xenbus_device_id *id)
{
	struct vsnd_front *front;

	if (!vsnd_card_enabled(dev))
		return -ENODEV;
	front = kzalloc(sizeof(*front), GFP_KERNEL);
	if (!front)
		return -ENOMEM;
	front->device = vsnd_device_new(dev);
	if (!front->device) {
		kfree(front);
		return -ENOMEM;
	}
	mutex_init(&front->lock);
	dev_set_drvdata(&dev->dev, front);
	return 0;
}

static void vsnd_otherend_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	struct vsnd_front *front = dev_get_drvdata(&dev->dev);

	mutex_lock(&front->lock);
	vsnd_device_backend_is(front->device, state);
	mutex_unlock(&front->lock);
}

/* The domain was restored: its backend is another, and knows nothing of us. */
static int vsnd_resume(struct xenbus_device *dev)
{
	vsnd_otherend_changed(dev, XenbusStateUnknown);
	return 0;
}

static void vsnd_remove(struct xenbus_device *dev)
{
	struct vsnd_front *front = dev_get_drvdata(&dev->dev);
	unsigned int ms = 0;

	/* The bus does not watch the backend for us any more, and holds the device's lock. */
	if (vsnd_device_detach(front->device)) {
		while (xenbus_read_driver_state(dev->otherend) == XenbusStateConnected &&
		       ms < VSND_DETACH_MS) {
			msleep(20);
			ms += 20;
		}
	}
	vsnd_device_free(front->device);
	mutex_destroy(&front->lock);
	kfree(front);
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

/* ---- applications let go ---- */

static int vsnd_device_look(struct device *dev, void *data)
{
	struct vsnd_front *front;

	/* Whoever has the lock finds a device that is bound, or none. */
	device_lock(dev);
	front = dev_get_drvdata(dev);
	if (front) {
		mutex_lock(&front->lock);
		vsnd_device_let_go(front->device);
		mutex_unlock(&front->lock);
	}
	device_unlock(dev);
	return 0;
}

static void vsnd_look(struct work_struct *work)
{
	WARN_ON_ONCE(driver_for_each_device(&vsnd_driver.driver, NULL, NULL, vsnd_device_look));
}

static DECLARE_WORK(vsnd_look_work, vsnd_look);

/* Later, because a card cannot be taken away while it is being closed. */
void vsnd_card_let_go(void)
{
	schedule_work(&vsnd_look_work);
}

static int __init vsnd_init(void)
{
	if (!xen_domain() || !xen_has_pv_devices())
		return -ENODEV;
	return xenbus_register_frontend(&vsnd_driver);
}

static void __exit vsnd_exit(void)
{
	/* Nobody has a card open any more, or will. */
	cancel_work_sync(&vsnd_look_work);
	xenbus_unregister_driver(&vsnd_driver);
}

module_init(vsnd_init);
module_exit(vsnd_exit);
MODULE_ALIAS("xen:vsnd");
MODULE_DESCRIPTION("Para-virtual sound of Xen, guest side");
MODULE_AUTHOR("The vsnd developers");
MODULE_LICENSE("Dual MIT/GPL");
