/* What a dead letter holds of its job's text: all of it, byte for byte, for a replay; but no card number (O2), and not the credentials that
 * a partner's event brings (A3). */
#ifndef DRIVERS_KIT_LETTER_H
#define DRIVERS_KIT_LETTER_H

#include "drivers/driver.h"

/* Of a task that may not hold a card number.  Imports and events are of the partners' numbers, which may look like one; whatever else is pushed,
 * rightly or not, may have been meant to hold one.  NULL: it does not read. */
bool letter_hides_cards(const char *task);

/* Appends the member "payload", or "payload_base64" of what is no text.  d NULL: of no partner; job NULL: it does not read. */
void letter_payload_print(const struct driver *d, const cJSON *job, const char *p, size_t len,
			  struct buf *out);

#endif
