/* What breaker.c, breaker_index.c and breaker_look.c share; nobody else includes it. */
#ifndef COMMON_QUEUE_BREAKER_IMPL_H
#define COMMON_QUEUE_BREAKER_IMPL_H

#include "common/queue/breaker.h"
#include "common/io/loop.h"
#include "common/queue/impl.h"

#define BREAKER_BUCKETS 512
#define BREAKER_REDIS_MS 2000 /* patience with Redis */
#define BREAKER_KEY_MAX (KEY_MAX + BREAKER_HOST_MAX)

enum breaker_state breaker_state_parse(const char *s, size_t n);
/* "STATE UNTIL", a value of the index. */
void breaker_entry_parse(const char *text, enum breaker_state *state, int64_t *until_ms);

struct breaker {
	struct breaker *next, *next_of_partner;
	struct breaker_partner *partner;
	char *host, *key;
	enum breaker_state state;
	int64_t until_ms; /* Redis' clock */
	bool listed;      /* somebody has seen a failure lately: successes count */
	bool in_a_row;    /* failures that a success of ours ends */
	int telling;      /* reports that Redis has not answered yet */
	int streak;       /* our own failures since our last success */
	bool seen;        /* by the refresh that is being read */
	struct {
		int64_t slot;
		int n;
	} ok[BREAKER_SLOTS];        /* not told yet */
	struct breaker_rules rules; /* of the last call: a manifest may be read anew */
};

/* The index of a partner is being read; outlives the partner, since a command can't be recalled. */
struct breaker_reading {
	struct breaker_partner *partner; /* NULL: freed */
};

struct breaker_partner {
	struct breaker_partner *next;
	struct breakers *all;
	char name[PARTNER_MAX + 1], index[KEY_MAX];
	struct breaker *first;
	int64_t used_ms, read_ms; /* loop time; 0 = never */
	struct breaker_reading *reading;
};

struct breakers {
	struct redis *r;
	struct breaker *buckets[BREAKER_BUCKETS];
	struct breaker_partner *partners;
	struct loop_timer *timer;
};

/* The partner's index was last read longer ago than it may be believed: reads it.  Waits. */
void breaker_catch_up(struct breaker_partner *p);
/* It is in use: keep up with its index. */
void breaker_keep_up(struct breaker_partner *p);
/* Tells successes that were only counted, without waiting. */
void breaker_tell_ok(struct breaker *b);

#endif
