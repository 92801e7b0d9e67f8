/* Inside of enrol.c and enrol_secret.c; nobody else includes this. */
#ifndef DRIVERS_KIT_ENROL_PARTS_H
#define DRIVERS_KIT_ENROL_PARTS_H

#include "drivers/kit/enrol.h"

enum found { FOUND_NONE, FOUND_RIGHT, FOUND_WRONG };

struct enrolling {
	struct enrol *e;
	bool in_path;  /* the address ends with a secret */
	char *address; /* without that */
	char *url;     /* what the partner is told */
	char *id;      /* its name for the registration; NULL: none is known */
	struct buf events, keep;
	struct secret secret;     /* that we made; empty: none */
	struct secret url_secret; /* the same at the end of the address */
	char stored[80];          /* of url_secret: "sha256:…" as it is stored; "": none */
	bool has_secret;          /* one is stored */
	enum found seen;
	char why[160];
	struct webhook_registration noted; /* state NULL: none */
};

/* Waits.  As call(); *out is the caller's whatever happens. */
int enrolling_ask(struct enrolling *r, const struct manifest_request *q, struct call_result *out,
		  struct err *err) __attribute__((warn_unused_result));

/* enrol_secret.c.  All but the two bool ones wait. */
int enrolling_read_secrets(struct enrolling *r, struct err *err)
	__attribute__((warn_unused_result));
bool enrolling_has_secret(const struct enrolling *r);
bool enrolling_knows_secret(const struct enrolling *r,
			    const char *url); /* of what the partner has */
/* Makes it, where it is ours to make, and stores it: before the partner is told. */
int enrolling_make_secret(struct enrolling *r, struct err *err) __attribute__((warn_unused_result));
/* Where the partner tells it. */
int enrolling_fetch_secret(struct enrolling *r, struct err *err)
	__attribute__((warn_unused_result));

#endif
