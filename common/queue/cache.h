/* Answers of partners, kept in Redis for a while, for all processes; and the lease on fetching one anew, so that of any
 * number of askers one calls.  An entry is fresh until its ttl is over; then it may be answered while somebody
 * fetches it anew, as long again; then only where the partner fails, until `stale_ms` more are over, and Redis
 * forgets it.  Texts over 1 KiB are packed; what is damaged counts as not there.
 *
 * An asker that dies with the lease in its hands keeps the others waiting until the lease's life is over; asking again
 * under the same name takes it up at once. */
#ifndef COMMON_QUEUE_CACHE_H
#define COMMON_QUEUE_CACHE_H

#include "common/queue/queue.h"

#define CACHE_MAX_BYTES (256 * 1024) /* of a text, before it is packed: more is refused */
#define CACHE_PACK_BYTES 1024        /* from here on texts are packed */
#define CACHE_REFRESH_MS 10000       /* a refresh that was queued is believed in for so long */

struct cache_key {
	char entry[320], lease[328];
};
/* cache:{partner}:HOST:NAME:HASH, HASH of `what`: whatever makes one question differ from another. */
void cache_key_of(const char *partner, const char *host, const char *name, const void *what,
		  size_t len, struct cache_key *out);

enum cache_kind {
	CACHE_DATA = 'd',
	CACHE_NONE = 'n',   /* the partner knows of none; the text says so */
	CACHE_REFUSED = 'r' /* the partner refused the question; the text says why */
};
struct cache_entry {
	enum cache_kind kind;
	int64_t sent_ms, fresh_ms, soft_ms; /* when it was asked for; until when (Redis' clock) */
	struct buf text;
};
void cache_entry_clear(struct cache_entry *e);

enum cache_state {
	CACHE_FRESH,
	CACHE_STALE,   /* answer it; it is being fetched */
	CACHE_REFRESH, /* answer it, and see to it that it is fetched: nobody does yet */
	CACHE_MINE,    /* fetch it, then cache_put, cache_fail or cache_leave */
	CACHE_WAIT,    /* another fetches it */
	CACHE_FAILED   /* another failed to, a moment ago: `failure` */
};
struct cache_look {
	enum cache_state state;
	bool found; /* there is an entry, however old */
	struct cache_entry entry;
	int64_t age_ms;     /* of the entry */
	struct err failure; /* of CACHE_FAILED */
};
void cache_look_clear(struct cache_look *l);

/* Waits.  owner: who fetches, if it comes to that, and for how long at most; printable, without blanks.  refresh: what is not
 * fresh is to be fetched, though it may be answered. */
int cache_look(struct redis *r, const struct cache_key *k, const char *owner, int64_t lease_ms,
	       bool refresh, struct cache_look *out, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  Keeps it for ttl_ms and stale_ms more, and gives the lease back.  soft_ms: of these stale_ms it may be answered while
 * somebody fetches it.  -E2BIG: too large to be kept; the lease stays. */
struct cache_life {
	int64_t ttl_ms, soft_ms, stale_ms;
};
int cache_put(struct redis *r, const struct cache_key *k, const char *owner, enum cache_kind kind,
	      const char *text, size_t len, int64_t sent_ms, const struct cache_life *life,
	      int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* Gives the lease back; for so long everybody else who asks is told why.  Does not wait, so that it works for who was cancelled. */
void cache_fail(struct redis *r, const struct cache_key *k, const char *owner,
		const struct err *why, int64_t ms);
void cache_leave(struct redis *r, const struct cache_key *k, const char *owner);

#endif
