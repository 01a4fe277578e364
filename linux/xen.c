// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Services of Xen for the Rust half: granted pages, event channels, the store. */
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kstrtox.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <xen/events.h>
#include <xen/grant_table.h>
#include <xen/page.h>
#include <xen/xenbus.h>

#include "vsnd.h"

/* ---- pages that a backend keeps ---- */

/* Interval between two looks at kept pages. */
#define VSND_KEPT_MS 1000

/* A page that the backend had still mapped when its grant was to end. */
struct vsnd_kept {
	struct list_head list;
	/* The kernel's page that contains it; a reference to it is held. */
	struct page *page;
	grant_ref_t ref;
};

/* Protects the list and its length. It is the innermost lock. */
static DEFINE_MUTEX(vsnd_kept_lock);
static LIST_HEAD(vsnd_kept_list);
static size_t vsnd_kept_count;

static void vsnd_kept_look(struct work_struct *work);
static DECLARE_DELAYED_WORK(vsnd_kept_work, vsnd_kept_look);

/**
 * vsnd_pages_kept() - Ends the grants of kept pages that are not mapped any more.
 *
 * Context: Process context; may be called with a state mutex held. Takes
 * vsnd_kept_lock.
 * Return: Number of pages that are left, of all devices.
 */
size_t vsnd_pages_kept(void)
{
	struct vsnd_kept *kept, *next;
	size_t count;

	mutex_lock(&vsnd_kept_lock);
	list_for_each_entry_safe(kept, next, &vsnd_kept_list, list) {
		if (!gnttab_try_end_foreign_access(kept->ref))
			continue;
		list_del(&kept->list);
		vsnd_kept_count--;
		put_page(kept->page);
		kfree(kept);
	}
	count = vsnd_kept_count;
	mutex_unlock(&vsnd_kept_lock);
	return count;
}

static void vsnd_kept_look(struct work_struct *work)
{
	if (vsnd_pages_kept())
		schedule_delayed_work(&vsnd_kept_work, msecs_to_jiffies(VSND_KEPT_MS));
}

/*
 * Ends a grant. The caller may free the page or grant it again: a mapped page
 * is kept until it is unmapped.
 */
static void vsnd_page_end(struct page *page, grant_ref_t ref)
{
	struct vsnd_kept *kept;

	if (gnttab_try_end_foreign_access(ref))
		return;
	get_page(page);
	kept = kmalloc(sizeof(*kept), GFP_KERNEL);
	if (!kept) {
		/*
		 * The kernel keeps the grant for us, for an unknown time.
		 * Without the page it would look the page up by its number,
		 * which is wrong where the kernel's pages are larger than
		 * Xen's.
		 */
		gnttab_end_foreign_access(ref, page);
		return;
	}
	kept->page = page;
	kept->ref = ref;
	mutex_lock(&vsnd_kept_lock);
	list_add(&kept->list, &vsnd_kept_list);
	vsnd_kept_count++;
	mutex_unlock(&vsnd_kept_lock);
	schedule_delayed_work(&vsnd_kept_work, msecs_to_jiffies(VSND_KEPT_MS));
}

/**
 * vsnd_kept_hand_over() - Gives kept pages to Linux, which frees them later.
 *
 * Context: Process context, when the module goes: all devices are removed, and
 * no pages are freed any more. Sleeps.
 */
void vsnd_kept_hand_over(void)
{
	struct vsnd_kept *kept, *next;

	cancel_delayed_work_sync(&vsnd_kept_work);
	list_for_each_entry_safe(kept, next, &vsnd_kept_list, list) {
		gnttab_end_foreign_access(kept->ref, kept->page);
		kfree(kept);
	}
}

/* ---- granted pages ---- */

/* Returns the address of a page of Xen's. The kernel's pages may be larger and hold several. */
static void *vsnd_page_address(const struct vsnd_pages *pages, size_t index)
{
	return pages->address + index * XEN_PAGE_SIZE;
}

static unsigned long vsnd_page_gfn(const void *address)
{
	return xen_page_to_gfn(vmalloc_to_page(address)) +
	       offset_in_page(address) / XEN_PAGE_SIZE;
}

static void vsnd_pages_end(struct vsnd_pages *pages)
{
	while (pages->granted) {
		pages->granted--;
		vsnd_page_end(vmalloc_to_page(vsnd_page_address(pages, pages->granted)),
			      pages->refs[pages->granted]);
	}
}

static int vsnd_pages_grant(struct vsnd_pages *pages, u32 domain)
{
	while (pages->granted < pages->count) {
		void *address = vsnd_page_address(pages, pages->granted);
		int ref = gnttab_grant_foreign_access(domain, vsnd_page_gfn(address), 0);

		if (ref < 0) {
			vsnd_pages_end(pages);
			return ref;
		}
		pages->refs[pages->granted++] = ref;
	}
	return 0;
}

/**
 * vsnd_pages_ordinary() - Allocates pages that are granted to nobody.
 * @count: Number of Xen's pages.
 *
 * Context: Process context, within ALSA's hw_params or vsnd_pages_new(); may sleep.
 * Return: Zeroed pages, or NULL.
 */
struct vsnd_pages *vsnd_pages_ordinary(size_t count)
{
	struct vsnd_pages *pages = kvzalloc(struct_size(pages, refs, count), GFP_KERNEL);

	if (!pages)
		return NULL;
	pages->count = count;
	pages->address = vzalloc(array_size(count, XEN_PAGE_SIZE));
	if (!pages->address) {
		kvfree(pages);
		return NULL;
	}
	return pages;
}

/**
 * vsnd_pages_new() - Allocates pages and grants them to a domain.
 * @domain: The domain.
 * @count: Number of Xen's pages.
 *
 * Context: Process context; may sleep. A state mutex may be held.
 * Return: Zeroed pages, or NULL.
 */
struct vsnd_pages *vsnd_pages_new(u32 domain, size_t count)
{
	struct vsnd_pages *pages = vsnd_pages_ordinary(count);

	if (pages && vsnd_pages_grant(pages, domain)) {
		vsnd_pages_free(pages);
		return NULL;
	}
	return pages;
}

/**
 * vsnd_pages_grant_again() - Ends all grants and grants the same pages again.
 * @pages: The pages.
 * @domain: The domain.
 *
 * Context: Process context, with the stream's state mutex held; may sleep.
 * Return: 0, or a negative error number; no page is granted then.
 */
int vsnd_pages_grant_again(struct vsnd_pages *pages, u32 domain)
{
	vsnd_pages_end(pages);
	return vsnd_pages_grant(pages, domain);
}

/**
 * vsnd_pages_free() - Ends all grants and frees the pages.
 * @pages: The pages; this is their last use.
 *
 * Context: Process context; may sleep. A state mutex may be held.
 */
void vsnd_pages_free(struct vsnd_pages *pages)
{
	vsnd_pages_end(pages);
	vfree(pages->address);
	kvfree(pages);
}

/* ---- event channels ---- */

struct vsnd_channel {
	const struct vsnd_stream *stream;
	int irq;
};

/*
 * Handles a ring's event in a thread. The channel is opened again only after
 * the work is done, and late when there was none: a backend cannot keep us busy
 * with events.
 */
static irqreturn_t vsnd_ring_fired(int irq, void *data)
{
	struct vsnd_channel *channel = data;
	bool worked = vsnd_stream_on_ring(channel->stream);

	xen_irq_lateeoi(irq, worked ? 0 : XEN_EOI_FLAG_SPURIOUS);
	return IRQ_HANDLED;
}

static irqreturn_t vsnd_events_fired(int irq, void *data)
{
	struct vsnd_channel *channel = data;
	bool worked = vsnd_stream_on_events(channel->stream);

	xen_irq_lateeoi(irq, worked ? 0 : XEN_EOI_FLAG_SPURIOUS);
	return IRQ_HANDLED;
}

/**
 * vsnd_channel_new() - Creates an event channel of a stream.
 * @dev: Device of the bus.
 * @stream: The stream; it outlives the channel.
 * @events: Channel of the event page rather than of the ring.
 * @port: Set to the port in this domain on success.
 *
 * Context: Process context, with the lock of the fronts held. The handler may run
 * before this function returns, so no lock is held that it takes.
 * Return: The channel, or a negative error number as ERR_PTR().
 */
struct vsnd_channel *vsnd_channel_new(struct xenbus_device *dev, const struct vsnd_stream *stream,
				      bool events, u32 *port)
{
	struct vsnd_channel *channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	evtchn_port_t evtchn;
	int err;

	if (!channel)
		return ERR_PTR(-ENOMEM);
	channel->stream = stream;
	err = xenbus_alloc_evtchn(dev, &evtchn);
	if (err)
		goto out_free;
	channel->irq = bind_evtchn_to_irq_lateeoi(evtchn);
	if (channel->irq < 0) {
		err = channel->irq;
		xenbus_free_evtchn(dev, evtchn);
		goto out_free;
	}
	err = request_threaded_irq(channel->irq, NULL, events ? vsnd_events_fired : vsnd_ring_fired,
				   IRQF_ONESHOT, events ? "vsnd-events" : "vsnd-ring", channel);
	if (err) {
		/*
		 * Unbinds the interrupt and closes the port.
		 * unbind_from_irqhandler() would free the handler first, and
		 * there is none.
		 */
		evtchn_put(evtchn);
		goto out_free;
	}
	*port = evtchn;
	return channel;

out_free:
	kfree(channel);
	return ERR_PTR(err);
}

/**
 * vsnd_channel_free() - Closes an event channel.
 * @channel: The channel; this is its last use.
 *
 * Context: Process context; waits for the handler, so no state or listener's mutex
 * is held.
 */
void vsnd_channel_free(struct vsnd_channel *channel)
{
	unbind_from_irqhandler(channel->irq, channel);
	kfree(channel);
}

/**
 * vsnd_channel_notify() - Sends an event to the backend.
 * @channel: The channel.
 *
 * Context: Any context; called with the stream's state mutex held.
 */
void vsnd_channel_notify(struct vsnd_channel *channel)
{
	notify_remote_via_irq(channel->irq);
}

/* ---- the store ---- */

#define VSND_PATH_MAX 192

/**
 * vsnd_bus_number() - Returns the device's number in the store.
 * @dev: The device.
 *
 * Context: Any context.
 * Return: The number, or U32_MAX for a name that is no number.
 */
u32 vsnd_bus_number(struct xenbus_device *dev)
{
	unsigned int number;

	/* The toolstack names devices by numbers. */
	return kstrtouint(kbasename(dev->nodename), 10, &number) ? U32_MAX : number;
}

/**
 * vsnd_bus_backend_id() - Returns the domain of the backend.
 * @dev: The device.
 *
 * Context: Any context.
 * Return: The domain.
 */
u32 vsnd_bus_backend_id(struct xenbus_device *dev)
{
	return dev->otherend_id;
}

/**
 * vsnd_bus_set_state() - Writes the device's state to the store.
 * @dev: The device.
 * @state: enum xenbus_state.
 *
 * Context: Process context, with the lock of the fronts held or from remove. Sleeps.
 */
void vsnd_bus_set_state(struct xenbus_device *dev, u32 state)
{
	xenbus_switch_state(dev, state);
}

/* Puts the node's directory into dir and its name into name. */
static void vsnd_node_paths(struct xenbus_device *dev, const struct vsnd_node *node, char *dir,
			    char *name)
{
	snprintf(dir, VSND_PATH_MAX, node->path_length ? "%s/%.*s" : "%s",
		 node->backend ? dev->otherend : dev->nodename, (int)node->path_length, node->path);
	snprintf(name, VSND_PATH_MAX, "%.*s", (int)node->name_length, node->name);
}

/**
 * vsnd_bus_read() - Reads a node.
 * @dev: The device.
 * @node: The node.
 * @value: Buffer for the value, which is not terminated.
 * @size: Bytes of @value.
 *
 * Context: Process context, with the lock of the fronts held. Sleeps.
 * Return: Bytes of the value, -E2BIG when it is longer than @size, or another error.
 */
ssize_t vsnd_bus_read(struct xenbus_device *dev, const struct vsnd_node *node, void *value,
		      size_t size)
{
	char dir[VSND_PATH_MAX], name[VSND_PATH_MAX];
	unsigned int length;
	char *read;

	vsnd_node_paths(dev, node, dir, name);
	read = xenbus_read(XBT_NIL, dir, name, &length);
	if (IS_ERR(read))
		return PTR_ERR(read);
	if (length <= size)
		memcpy(value, read, length);
	kfree(read);
	return length <= size ? (ssize_t)length : -E2BIG;
}

/**
 * vsnd_bus_list() - Lists the entries of a directory.
 * @dev: The device.
 * @node: The directory.
 * @count: Set to the number of entries.
 *
 * Context: Process context, with the lock of the fronts held. Sleeps.
 * Return: Terminated names in one allocation, for vsnd_free(), or NULL.
 */
char **vsnd_bus_list(struct xenbus_device *dev, const struct vsnd_node *node, u32 *count)
{
	char dir[VSND_PATH_MAX], name[VSND_PATH_MAX];
	char **list;

	vsnd_node_paths(dev, node, dir, name);
	list = xenbus_directory(XBT_NIL, dir, name, count);
	if (!IS_ERR(list))
		return list;
	*count = 0;
	return NULL;
}

/**
 * vsnd_bus_begin() - Begins a transaction of the store.
 * @transaction: Set to the transaction.
 *
 * Context: Process context, with the lock of the fronts held. Sleeps.
 * Return: 0, or a negative error number.
 */
int vsnd_bus_begin(u32 *transaction)
{
	struct xenbus_transaction t = XBT_NIL;
	int err = xenbus_transaction_start(&t);

	*transaction = t.id;
	return err;
}

/**
 * vsnd_bus_write() - Writes a number to a node.
 * @dev: The device.
 * @transaction: The transaction.
 * @node: The node.
 * @value: The number.
 *
 * Context: Process context, with the lock of the fronts held. Sleeps.
 * Return: 0, or a negative error number.
 */
int vsnd_bus_write(struct xenbus_device *dev, u32 transaction, const struct vsnd_node *node,
		   u32 value)
{
	struct xenbus_transaction t = { .id = transaction };
	char dir[VSND_PATH_MAX], name[VSND_PATH_MAX];

	vsnd_node_paths(dev, node, dir, name);
	return xenbus_printf(t, dir, name, "%u", value);
}

/**
 * vsnd_bus_remove() - Removes a node.
 * @dev: The device.
 * @transaction: The transaction.
 * @node: The node; it may be missing.
 *
 * Context: Process context, with the lock of the fronts held. Sleeps.
 * Return: 0, or a negative error number.
 */
int vsnd_bus_remove(struct xenbus_device *dev, u32 transaction, const struct vsnd_node *node)
{
	struct xenbus_transaction t = { .id = transaction };
	char dir[VSND_PATH_MAX], name[VSND_PATH_MAX];
	int err;

	vsnd_node_paths(dev, node, dir, name);
	err = xenbus_rm(t, dir, name);
	return err == -ENOENT ? 0 : err;
}

/**
 * vsnd_bus_end() - Ends a transaction of the store.
 * @transaction: The transaction.
 * @abort: Discards what was written.
 *
 * Context: Process context, with the lock of the fronts held. Sleeps.
 * Return: 0, -EAGAIN when somebody else wrote meanwhile, or another error.
 */
int vsnd_bus_end(u32 transaction, bool abort)
{
	struct xenbus_transaction t = { .id = transaction };

	return xenbus_transaction_end(t, abort);
}
