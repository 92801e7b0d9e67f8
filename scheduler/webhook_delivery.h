/* Inside of the intake of webhooks: one delivery, as webhooks.c (its way) and webhook_answer.c (what is said of it: to the partner,
 * in the log, in the metrics) share it.  Nobody else includes this. */
#ifndef SCHEDULER_WEBHOOK_DELIVERY_H
#define SCHEDULER_WEBHOOK_DELIVERY_H

#include "drivers/kit/webhook.h"
#include "scheduler/webhook_known.h"

struct delivery {
	struct scheduler *s;
	struct httpd_request *q;
	const struct driver
		*driver; /* the partner's; once it is known, in the integration's version */
	struct queue *queue;
	int64_t integration; /* of the address; 0: an app's */
	char secret[64];     /* of the address; "" */
	int64_t received_us; /* Redis' clock */
	int64_t began_us;    /* ours */
	bool again;          /* its secrets were loaded anew */
	bool believed;
	char doubled[64]; /* a header that was asked for and came more than once; "" */
	struct webhook_delivery events;
	struct job_of { /* one for each event and integration it is of */
		const struct webhook_event *event;
		int64_t integration;
	} * jobs;
	int n_jobs, cap_jobs;
	int at;           /* the next event whose integration is to be found */
	bool told, waits; /* whether it was, and whether we wait for it */
	int whose_rc;
	struct queue_event *queued;
};

/* Each answers the request and frees the delivery. */
/* error: a word for metrics and the body ("bad_signature"); text: for the partner's engineer, without a secret. */
void delivery_refuse(struct delivery *d, int status, const char *error, const char *text);
/* fresh: as intake_fn has it. */
void delivery_accept(struct delivery *d, const char *fresh);
/* What a partner asks once, to see that somebody is there (slack's challenge). */
void delivery_reply(struct delivery *d, const char *text);

#endif
