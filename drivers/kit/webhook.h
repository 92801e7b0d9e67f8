/* A delivery of webhooks taken apart by the manifest: what it says, event by event, and the job that each becomes
 * (common/queue/intake.h has its form).  Bodies are JSON, forms (an object of their fields) or XML (as decode.h has it).
 * Nothing here waits, and nothing here believes a word: that is verify's. */
#ifndef DRIVERS_KIT_WEBHOOK_H
#define DRIVERS_KIT_WEBHOOK_H

#include "common/base/arena.h"
#include "common/base/crypto.h"
#include "common/queue/intake.h"
#include "drivers/kit/manifest.h"
#include "drivers/hooks.h"

#define WEBHOOK_EVENTS_MAX 5000 /* of one delivery */
#define WEBHOOK_DEPTH_MAX 60    /* of JSON: its job has a few levels more, and they are counted */

enum webhook_type { WEBHOOK_JSON, WEBHOOK_FORM, WEBHOOK_XML, WEBHOOK_ANY };
/* Of a Content-Type; ANY: none, or one that says little (text/plain).  -ENOTSUP: something else. */
int webhook_type_of(const char *content_type, enum webhook_type *out)
	__attribute__((warn_unused_result));

struct webhook_event {
	const char *name;        /* the partner's own; "" if it says none */
	const char *id;          /* the partner's, or "hash:…" */
	const char *external_id; /* as the driver's C says; NULL: the manifest's paths do */
	const char *reference;   /* ours, of the address (webhooks.callback); NULL: none */
	const char *whose;       /* what webhooks.integration.path finds; NULL: nothing */
	int64_t happened_us;     /* 0: not said */
	const char *body;        /* JSON */
	size_t body_len;
	const struct manifest_event *declared; /* NULL: the manifest does not name it */
	bool brings_credentials;               /* by some version of the driver */
};

struct webhook_delivery {
	struct arena *arena; /* of all of it */
	cJSON *tree;
	struct buf text; /* the JSON of what came as something else */
	struct webhook_event *v;
	int n;
};
void webhook_clear(struct webhook_delivery *d);

/* 0 | -EINVAL: the body is not what it says it is | -E2BIG: too many events, or too deep | -ENOTSUP: of no type that is taken.
 * err says where.  What is borrowed of body and headers must outlive the delivery. */
int webhook_read(const struct manifest *m, const char *content_type, const char *body, size_t len,
		 struct webhook_delivery *out, struct err *err) __attribute__((warn_unused_result));
/* After webhook_read: the events.  said: what the driver's C found (its verify_webhook); NULL: the manifest's paths alone.
 * reference: of the address, borrowed (NULL: none); it is of one message, so of several events it says nothing. */
int webhook_split(const struct manifest *m, const struct hook_values *headers,
		  const struct hook_event *said, const char *reference, struct webhook_delivery *d,
		  struct err *err) __attribute__((warn_unused_result));

/* INTAKE_HASH_CHARS hex digits of the event's id and the integration. */
void webhook_hash(const struct webhook_event *e, int64_t integration,
		  char out[INTAKE_HASH_CHARS + 1]);
enum lane webhook_lane(const struct webhook_event *e);
/* What brings new credentials must not wait with the jobs that want them (queue_event.unheld). */
bool webhook_is_unheld(const struct webhook_event *e);
/* Appends the job.  Credentials that it brings are sealed in it; -ENOKEY: there is no key for that. */
int webhook_job(const struct webhook_event *e, const struct keyring *k, int64_t integration,
		const char *hash, int64_t received_us, bool believed, struct buf *out)
	__attribute__((warn_unused_result));

#endif
