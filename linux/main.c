// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The module, and the xenbus driver for devices of class vsnd.
 */
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>
#include <xen/xenbus.h>

#include "card.h"
#include "vsnd.h"

/* Time that a backend has to unmap our pages when the device goes. */
#define VSND_DETACH_MS 1000

/* A device from probe to remove. */
struct vsnd_front {
	struct list_head list;
	struct vsnd_device *device;
};

/*
 * Protects the list, and the calls for the devices on it, which come from the
 * bus, one at a time, and after applications have closed a card. Taken before
 * any lock of ALSA's.
 */
static DEFINE_MUTEX(vsnd_fronts_lock);
static LIST_HEAD(vsnd_fronts);

/**
 * vsnd_probe() - xenbus: creates a device, unless the parameters disable its card.
 * @dev: Device of the bus.
 * @id: Unused.
 *
 * Context: Process context; takes the lock of the fronts.
 * Return: 0, -ENODEV for a disabled card, or another error.
 */
static int vsnd_probe(struct xenbus_device *dev, const struct xenbus_device_id *id)
{
	const char *model = vsnd_card_model(dev);
	struct vsnd_front *front;
	int err;

	if (!vsnd_card_enabled(dev))
		return -ENODEV;
	front = kzalloc(sizeof(*front), GFP_KERNEL);
	if (!front)
		return -ENOMEM;
	err = vsnd_device_new(dev, model, strlen(model), &front->device);
	if (err) {
		kfree(front);
		return err;
	}
	dev_set_drvdata(&dev->dev, front);
	mutex_lock(&vsnd_fronts_lock);
	list_add(&front->list, &vsnd_fronts);
	mutex_unlock(&vsnd_fronts_lock);
	return 0;
}

/**
 * vsnd_otherend_changed() - xenbus: hands the state of the backend to the device.
 * @dev: Device of the bus.
 * @state: State of the backend.
 *
 * Context: Process context; takes the lock of the fronts.
 */
static void vsnd_otherend_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	struct vsnd_front *front = dev_get_drvdata(&dev->dev);

	mutex_lock(&vsnd_fronts_lock);
	vsnd_device_backend_is(front->device, state);
	mutex_unlock(&vsnd_fronts_lock);
}

/**
 * vsnd_resume() - xenbus: has a device forget its backend.
 * @dev: Device of the bus.
 *
 * The domain was restored: the backend is a new one, and does not know the
 * device.
 *
 * Context: Process context; takes the lock of the fronts.
 * Return: 0.
 */
static int vsnd_resume(struct xenbus_device *dev)
{
	vsnd_otherend_changed(dev, XenbusStateUnknown);
	return 0;
}

/* xenbus_read_driver_state() takes other arguments in newer kernels. */
static unsigned int vsnd_backend_state(struct xenbus_device *dev)
{
	return xenbus_read_unsigned(dev->otherend, "state", XenbusStateUnknown);
}

/**
 * vsnd_remove() - xenbus: detaches a device, waits for its backend, and frees it.
 * @dev: Device of the bus.
 *
 * Context: Process context; takes the lock of the fronts, and may sleep for
 * VSND_DETACH_MS.
 */
static void vsnd_remove(struct xenbus_device *dev)
{
	struct vsnd_front *front = dev_get_drvdata(&dev->dev);
	unsigned int ms = 0;

	mutex_lock(&vsnd_fronts_lock);
	list_del(&front->list);
	mutex_unlock(&vsnd_fronts_lock);
	if (vsnd_device_detach(front->device)) {
		/* The bus does not watch the backend any more. */
		while (vsnd_backend_state(dev) == XenbusStateConnected && ms < VSND_DETACH_MS) {
			msleep(20);
			ms += 20;
		}
	}
	vsnd_device_free(front->device);
	kfree(front);
}

static const struct xenbus_device_id vsnd_ids[] = {
	{ "vsnd" },
	{ "" },
};

static struct xenbus_driver vsnd_driver = {
	/* The name must differ from the stock driver's, which is the bus's default. */
	.name = "vsnd_front",
	.ids = vsnd_ids,
	.probe = vsnd_probe,
	.otherend_changed = vsnd_otherend_changed,
	.resume = vsnd_resume,
	.remove = vsnd_remove,
	/*
	 * Without this, the bus writes Closed when the device is gone, to a node
	 * that is a new device's if the card is attached again.
	 */
	.allow_rebind = true,
	/* Without this, a guest's boot waits for its sound device. */
	.not_essential = true,
};

static void vsnd_look(struct work_struct *work)
{
	struct vsnd_front *front;

	mutex_lock(&vsnd_fronts_lock);
	list_for_each_entry(front, &vsnd_fronts, list)
		vsnd_device_let_go(front->device);
	mutex_unlock(&vsnd_fronts_lock);
}

static DECLARE_WORK(vsnd_look_work, vsnd_look);

static void vsnd_look_later(struct work_struct *work)
{
	vsnd_card_let_go();
}

static DECLARE_DELAYED_WORK(vsnd_look_later_work, vsnd_look_later);

/**
 * vsnd_device_look_in() - Schedules vsnd_device_let_go() for every device.
 * @ms: Time in milliseconds; a look that is scheduled already stays as it is.
 *
 * Context: Any context; called with the lock of the fronts held.
 */
void vsnd_device_look_in(u32 ms)
{
	schedule_delayed_work(&vsnd_look_later_work, msecs_to_jiffies(ms));
}

/* The work runs later, because a card cannot be taken away while it is being closed. */
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
	/* No application has a card open or can open one: no device needs a look. */
	cancel_delayed_work_sync(&vsnd_look_later_work);
	cancel_work_sync(&vsnd_look_work);
	xenbus_unregister_driver(&vsnd_driver);
	vsnd_kept_hand_over();
}

module_init(vsnd_init);
module_exit(vsnd_exit);
MODULE_ALIAS("xen:vsnd");
MODULE_DESCRIPTION("Para-virtual sound of Xen, guest side");
MODULE_AUTHOR("The vsnd developers");
MODULE_LICENSE("Dual MIT/GPL");
