// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the Rust half needs of any kernel: memory, locks, a signal, the log.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "vsnd.h"

void *vsnd_alloc(size_t bytes)
{
	return kzalloc(bytes, GFP_KERNEL);
}

void vsnd_free(void *memory)
{
	kfree(memory);
}

void vsnd_log(const char *text, size_t length)
{
	pr_warn_ratelimited("%.*s\n", (int)length, text);
}

/*
 * One class for each kind of lock, for lockdep: an asking lock is held while a
 * state lock is taken.
 */
static struct lock_class_key vsnd_mutex_keys[2];

struct mutex *vsnd_mutex_new(u32 class)
{
	struct mutex *mutex = kzalloc(sizeof(*mutex), GFP_KERNEL);

	if (mutex)
		__mutex_init(mutex, class == VSND_MUTEX_ASKING ? "vsnd asking" : "vsnd state",
			     &vsnd_mutex_keys[class == VSND_MUTEX_ASKING]);
	return mutex;
}

void vsnd_mutex_free(struct mutex *mutex)
{
	mutex_destroy(mutex);
	kfree(mutex);
}

void vsnd_mutex_lock(struct mutex *mutex)
{
	mutex_lock(mutex);
}

int vsnd_mutex_lock_killable(struct mutex *mutex)
{
	return mutex_lock_killable(mutex);
}

void vsnd_mutex_unlock(struct mutex *mutex)
{
	mutex_unlock(mutex);
}

struct completion *vsnd_signal_new(void)
{
	struct completion *signal = kzalloc(sizeof(*signal), GFP_KERNEL);

	if (signal)
		init_completion(signal);
	return signal;
}

void vsnd_signal_free(struct completion *signal)
{
	kfree(signal);
}

void vsnd_signal_reset(struct completion *signal)
{
	reinit_completion(signal);
}

void vsnd_signal_raise(struct completion *signal)
{
	complete(signal);
}

bool vsnd_signal_wait(struct completion *signal, u32 ms)
{
	return wait_for_completion_killable_timeout(signal, msecs_to_jiffies(ms)) < 0;
}

u32 vsnd_now_ms(void)
{
	return (u32)ktime_to_ms(ktime_get());
}

u64 vsnd_now_ns(void)
{
	return ktime_get_ns();
}
