/* New credentials for an integration whose jobs go on (A4): tried first with the manifest's auth.verify, stored in one
 * statement that keeps the old ones beside them, looked at once more as a worker would, and undone where that is refused.
 * Whoever dies on the way leaves one working set: before the store the old one, after it the new one, which was tried. */
#ifndef DRIVERS_KIT_ROTATE_H
#define DRIVERS_KIT_ROTATE_H

#include "drivers/kit/call.h"

/* Waits.  The cheap call that proves the credential of c's door.  0: it does; -EACCES: it is refused; else nobody knows
 * (as call(): held, the partner is away), with err. */
int verify_credential(struct caller *c, struct err *err) __attribute__((warn_unused_result));

enum rotation {
	ROTATION_DONE,
	ROTATION_UNPROVEN, /* stored, for the trial went well; what came after it could not be asked */
	ROTATION_REFUSED, /* by the trial: nothing was changed */
	ROTATION_UNTRIED, /* the trial could not be made: nothing was changed */
	ROTATION_UNDONE,  /* refused once they were stored: the old ones are in force again */
};
const char *rotation_name(enum rotation r);
/* Waits.  json: the new ones; NULL: those that the last rotation replaced.  0: *out tells, with err saying why where it is not
 * DONE; <0: a store failed or -ESTALE: somebody else rotated at once (err). */
int rotate_credentials(const struct door_options *o, const struct driver *d,
		       const struct integration *i, const struct secret *json, enum rotation *out,
		       struct err *err) __attribute__((warn_unused_result));

#endif
