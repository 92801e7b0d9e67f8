/* What doorbell.c and doorbell_check.c share; nobody else includes it. */
#ifndef COMMON_QUEUE_DOORBELL_IMPL_H
#define COMMON_QUEUE_DOORBELL_IMPL_H

#include "common/queue/doorbell.h"
#include "common/queue/impl.h"

#define DOORBELL_SAFETY_MS 2000 /* a message that was lost costs this at most */
#define DOORBELL_POLL_MS 20     /* while there is no tracking */

enum bell_state {
	BELL_IDLE,     /* nobody waits: the worker is about to claim */
	BELL_ASKED,    /* to be checked in this turn, or at not_before_ms */
	BELL_CHECKING, /* the check is sent */
	BELL_ARMED     /* Redis will say so */
};

struct bell {
	struct queue *q;
	enum bell_state state;
	bool at_cap;
	int false_rings;
	int64_t claimed; /* by the queue, when it rang last */
	int64_t not_before_ms;
};

struct doorbell {
	struct redis *main, *messages; /* messages is ours */
	struct bell *bells;
	int n;
	doorbell_fn fn;
	void *arg;
	char client_id[24]; /* of `messages`, "" until known */
	bool tracking;      /* this connection of main tracks, as far as we know */
	bool refused;       /* said once; polling since */
	bool flushing;      /* deferred */
	struct loop_timer *safety, *later;
	int answers; /* callbacks to come */
	bool freed;
	struct doorbell *next;
};

/* doorbell.c */
void doorbell_ring(struct doorbell *d, struct bell *b);
void doorbell_ask(struct doorbell *d, struct bell *b, int64_t delay_ms);
void doorbell_refuse(struct doorbell *d, const char *text); /* polling from now on, said once */
bool doorbell_can_track(const struct doorbell *d);
void doorbell_destroy(struct doorbell *d);

/* doorbell_check.c */
void doorbell_check_work(struct doorbell *d, struct bell **bells, int n);
/* As check_work, without arming anew: these are armed, as far as we know. */
void doorbell_look(struct doorbell *d, struct bell **bells, int n);
void doorbell_check_cap(struct doorbell *d, struct bell *b);
void doorbell_caching(struct doorbell *d); /* for the very next command */

#endif
