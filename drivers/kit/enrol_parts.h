/* Inside of enrol.c, enrol_look.c and enrol_secret.c; nobody else includes this. */
#ifndef DRIVERS_KIT_ENROL_PARTS_H
#define DRIVERS_KIT_ENROL_PARTS_H

#include "drivers/kit/enrol.h"

#define ENROLLED_MAX \
	200 /* of ours at one partner: one for each event, and what an earlier try left */

enum found { FOUND_NONE, FOUND_RIGHT, FOUND_WRONG };

struct enrolling {
	struct enrol *e;
	bool in_path;            /* the address ends with a secret */
	char *address;           /* without that */
	char *url;               /* what the partner is told */
	char *ids[ENROLLED_MAX]; /* its names for what it has of ours */
	int n_ids;
	const char *id; /* of ids: the one that a call is about; NULL: none is known */
	const struct manifest_event *event; /* the same where each has a registration; NULL */
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

bool enrolling_listens_to(const struct manifest_event *e);
/* enrol_look.c.  Waits.  What the partner has of ours: seen, why, ids. */
int enrolling_look(struct enrolling *r, struct err *err) __attribute__((warn_unused_result));
void enrolling_take_id(struct enrolling *r,
		       const cJSON *v); /* of an answer, or of one in the list */
void enrolling_forget_ids(struct enrolling *r);

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
