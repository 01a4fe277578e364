// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Services of any kernel for the Rust half: memory, locks, a signal, the log. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "vsnd.h"

/**
 * vsnd_alloc() - Allocates memory.
 * @bytes: Size; not 0.
 *
 * Context: Process context; may sleep.
 * Return: Zeroed memory, aligned to 8 bytes or more, or NULL.
 */
void *vsnd_alloc(size_t bytes)
{
	return kzalloc(bytes, GFP_KERNEL);
}

/**
 * vsnd_free() - Frees memory.
 * @memory: Memory of vsnd_alloc() or vsnd_bus_list(); this is its last use.
 *
 * Context: Any context.
 */
void vsnd_free(void *memory)
{
	kfree(memory);
}

/**
 * vsnd_log() - Warns in the kernel's log; limited in rate.
 * @text: Line; not terminated.
 * @length: Bytes of @text.
 *
 * Context: Any context.
 */
void vsnd_log(const char *text, size_t length)
{
	pr_warn_ratelimited("%.*s\n", (int)length, text);
}

/*
 * Lock classes for lockdep, one for each kind of lock: an asking lock is held
 * while a state lock is taken.
 */
static struct lock_class_key vsnd_mutex_keys[2];

/**
 * vsnd_mutex_new() - Creates a mutex.
 * @class: enum vsnd_mutex_class.
 *
 * Context: Process context; may sleep.
 * Return: The mutex, or NULL.
 */
struct mutex *vsnd_mutex_new(u32 class)
{
	struct mutex *mutex = kzalloc(sizeof(*mutex), GFP_KERNEL);

	if (mutex)
		__mutex_init(mutex, class == VSND_MUTEX_ASKING ? "vsnd asking" : "vsnd state",
			     &vsnd_mutex_keys[class == VSND_MUTEX_ASKING]);
	return mutex;
}

/**
 * vsnd_mutex_free() - Frees a mutex.
 * @mutex: The mutex; nobody holds it or waits for it.
 *
 * Context: Process context.
 */
void vsnd_mutex_free(struct mutex *mutex)
{
	mutex_destroy(mutex);
	kfree(mutex);
}

/**
 * vsnd_mutex_lock() - Locks a state mutex.
 * @mutex: The mutex; held for a short time only.
 *
 * Context: Process context; sleeps. An asking mutex or the PCM stream's mutex may be
 * held.
 */
void vsnd_mutex_lock(struct mutex *mutex)
{
	mutex_lock(mutex);
}

/**
 * vsnd_mutex_lock_killable() - Locks an asking mutex, which may be held for long.
 * @mutex: The mutex.
 *
 * Context: Process context; sleeps. The PCM stream is not locked, and no state mutex
 * is held.
 * Return: 0, or -EINTR when the task was killed while it waited.
 */
int vsnd_mutex_lock_killable(struct mutex *mutex)
{
	return mutex_lock_killable(mutex);
}

/**
 * vsnd_mutex_unlock() - Unlocks a mutex.
 * @mutex: The mutex, locked by this thread.
 *
 * Context: Process context.
 */
void vsnd_mutex_unlock(struct mutex *mutex)
{
	mutex_unlock(mutex);
}

/**
 * vsnd_signal_new() - Creates a signal.
 *
 * Context: Process context; may sleep.
 * Return: The signal, or NULL.
 */
struct completion *vsnd_signal_new(void)
{
	struct completion *signal = kzalloc(sizeof(*signal), GFP_KERNEL);

	if (signal)
		init_completion(signal);
	return signal;
}

/**
 * vsnd_signal_free() - Frees a signal.
 * @signal: The signal; nobody waits for it or raises it.
 *
 * Context: Any context.
 */
void vsnd_signal_free(struct completion *signal)
{
	kfree(signal);
}

/**
 * vsnd_signal_reset() - Forgets all raises of a signal.
 * @signal: The signal.
 *
 * Context: By the thread that waits next, with the asking mutex or the PCM stream's
 * mutex held.
 */
void vsnd_signal_reset(struct completion *signal)
{
	reinit_completion(signal);
}

/**
 * vsnd_signal_raise() - Wakes the thread that waits, or the next one that does.
 * @signal: The signal.
 *
 * Context: Any context.
 */
void vsnd_signal_raise(struct completion *signal)
{
	complete(signal);
}

/**
 * vsnd_signal_wait() - Waits for a signal.
 * @signal: The signal.
 * @ms: Longest time in milliseconds.
 *
 * Context: Process context, with the asking mutex or the PCM stream's mutex held,
 * and no state mutex. Sleeps.
 * Return: true if the task was killed while it waited.
 */
bool vsnd_signal_wait(struct completion *signal, u32 ms)
{
	return wait_for_completion_killable_timeout(signal, msecs_to_jiffies(ms)) < 0;
}

/**
 * vsnd_now_ms() - Returns a monotonic clock in milliseconds, which wraps.
 *
 * Context: Any context.
 * Return: The time.
 */
u32 vsnd_now_ms(void)
{
	return (u32)ktime_to_ms(ktime_get());
}

/**
 * vsnd_now_ns() - Returns the same clock in nanoseconds, without wrapping.
 *
 * Context: Any context.
 * Return: The time.
 */
u64 vsnd_now_ns(void)
{
	return ktime_get_ns();
}
