/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef VSND_CARD_H
#define VSND_CARD_H

struct xenbus_device;

/**
 * vsnd_card_enabled() - Tells if the module's parameters want a device's card.
 * @dev: The device.
 *
 * Context: From probe. Does not sleep.
 * Return: true if the card is wanted.
 */
bool vsnd_card_enabled(struct xenbus_device *dev);
/**
 * vsnd_card_model() - Returns the model that the module's parameters name.
 * @dev: The device.
 *
 * Context: From probe. Does not sleep.
 * Return: The model; empty without one.
 */
const char *vsnd_card_model(struct xenbus_device *dev);

/**
 * vsnd_card_let_go() - Schedules a look at all cards.
 *
 * Called when the last application has closed a card, which is removed then if it
 * has no backend.
 *
 * Context: Any context. Does not sleep.
 */
void vsnd_card_let_go(void);

#endif /* VSND_CARD_H */
