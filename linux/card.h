/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef VSND_CARD_H
#define VSND_CARD_H

struct xenbus_device;

/* Whether the module's parameters want this device's card. */
bool vsnd_card_enabled(struct xenbus_device *dev);
/* The model that they name for it; empty without one. */
const char *vsnd_card_model(struct xenbus_device *dev);

/* The last application has let go of a card: without a backend, it is to go. Does not sleep. */
void vsnd_card_let_go(void);

#endif /* VSND_CARD_H */
