/* Telling a partner where to send its webhooks, by the manifest's webhooks.register: told once, looked at, taken back.
 *
 * The partner is asked first what it has, so that whoever died between its answer and our note finds the registration and goes on with
 * it.  A secret of our making is stored before the partner is told it; one that the partner makes is fetched after it.  What was
 * good before stays good beside it (KEY_previous): the partner may sign with it for a while. */
#ifndef DRIVERS_KIT_ENROL_H
#define DRIVERS_KIT_ENROL_H

#include "common/store/webhook.h"
#include "drivers/kit/call.h"

enum enrolment {
	ENROLLED_NEW,   /* the partner was told */
	ENROLLED_FOUND, /* it had it already: nothing was sent */
	ENROLLED_REPLACED, /* it had one that lacked events, or whose secret nobody knows: removed, and told anew */
	ENROLLED_UNSEEN, /* it lets nobody look, and was told before */
};
const char *enrolment_name(enum enrolment e);

struct enrol {
	struct caller *c;
	struct pg *pg;
	struct keyring *keyring;
	const char *public_url; /* without a slash at its end */
};
/* All wait, and may run twice.  -EINVAL: the manifest registers nothing, or something is missing; err says the way out.
 * -EACCES: the partner cannot call that address (common/io/target.h); nothing was sent. */
int enrol(struct enrol *e, enum enrolment *out, struct err *err)
	__attribute__((warn_unused_result));
/* Only looks.  *stands; where the partner lets nobody look it is what was noted.  why: what is wrong. */
int enrol_look(struct enrol *e, bool *stands, char why[160], struct err *err)
	__attribute__((warn_unused_result));
/* *told: the partner was, or had none; false: the manifest has no call for it.  Our note of it goes in any case. */
int enrol_remove(struct enrol *e, bool *told, struct err *err) __attribute__((warn_unused_result));

#endif
