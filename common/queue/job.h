/* A job as it travels.  In a public lane it is the pushed bytes, nothing else.  Internally it is a member:
 *
 *   C SEQ14 ' ' INTEGRATION ' ' HEADER '\n' PAYLOAD
 *
 *   C            '0' again (given back, reaped), '1' new: again sorts first
 *   SEQ14        14 digits from seq:{p}: FIFO within an integration
 *   INTEGRATION  decimal, 0 = none or unknown; only routes, the parser decides
 *   HEADER       "ID ATTEMPTS CRASHES BORN_MS" [" k=v" …]; unknown k=v are kept
 *   PAYLOAD      the pushed bytes, untouched
 *
 * A pack is a member of several jobs of one integration, raw pushes or children that came together, numbered from its SEQ14 on:
 *
 *   C SEQ14 ' ' INTEGRATION ' ' 'x' COUNT " 0 0 " BORN_MS '\n' (LENGTH4 HEADER '\n' PAYLOAD)*COUNT
 *
 *   LENGTH4      of HEADER, newline and PAYLOAD: four bytes, the highest first
 *
 * Packs stand in ready lanes only; the claim opens them.  packed:{p} counts the jobs beyond the members.
 *
 * ID is made by admit (hex Redis microseconds, '-', hex sequence); an "id" in the payload wins for what
 * people see.  ATTEMPTS counts retries used (holds and hand-backs do not), CRASHES process deaths
 * that were this job's.  BORN_MS is when Longshore first saw it.  Nothing here waits. */
#ifndef COMMON_QUEUE_JOB_H
#define COMMON_QUEUE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"

#define JOB_MAX_BYTES (1024 * 1024)
#define JOB_ID_MAX 64
#define JOB_CLOCK "beat-" /* begins the header's id of what the clock queued, and of that alone */

enum lane { LANE_HIGH = 1, LANE_NORMAL = 2, LANE_LOW = 3 };
const char *lane_name(enum lane l); /* high normal low */
int lane_parse(const char *s, enum lane *out) __attribute__((warn_unused_result)); /* -EINVAL */

struct job_header {
	char id[JOB_ID_MAX];
	int attempts, crashes;
	int64_t born_ms;
	const char *extra; /* " k=v k=v", borrowed, not terminated */
	size_t extra_len;
};

#define HEADER_ORIGIN " of=" /* of a job that was replayed: the header id it had at first */
/* Whether a scheduler's clock queued it, which will queue such a job again. */
bool job_by_clock(const struct job_header *h);

/* Splits a member.  -EBADMSG if it is none of ours (someone edited internal keys by hand). */
int job_member_parse(const char *member, size_t len, struct job_header *h, int64_t *integration,
		     const char **payload, size_t *payload_len) __attribute__((warn_unused_result));
/* Jobs of a pack; 0: it is none, or its bytes do not add up (then it is a job like any other, of a payload that none can read). */
int job_pack_count(const char *member, size_t len);
/* The `at`th of them as a member of its own, appended. */
void job_pack_member(const char *member, size_t len, int at, struct buf *out);
/* "ID ATTEMPTS CRASHES BORN_MS extra" appended, without the newline. */
void job_header_print(const struct job_header *h, struct buf *out);

/* What the payload says. Strings and args are borrowed from `tree`. */
struct job {
	cJSON *tree; /* owned */
	const char *task;
	int64_t integration_id;                                      /* 0 = not given */
	const cJSON *args;                                           /* object or NULL */
	const char *id;                                              /* the pusher's, or NULL */
	int max_retries;                                             /* -1 = not given */
	bool no_retry;                                               /* "max_retries": 0 */
	int64_t run_at_ms;                                           /* 0 = now */
	int64_t expires_in_s;                                        /* 0 = never */
	const char *unique, *idempotency_key, *parent, *traceparent; /* NULL = not given */
	bool unique_replace;                                         /* "unique_mode": "replace" */
	int64_t run_id;                                              /* 0 = none */
	const char
		*run_home; /* partner in whose slot the run's open jobs are; NULL = not counted */
	int64_t result_ttl_s; /* 0 = no result is kept */
	bool record;          /* its outcome becomes a row in Postgres */
};
/* -EINVAL with ERR_BAD_JOB and a text that says what was found and what is expected: "not JSON: expected a value
 * at line 1 column 3; a job is a JSON object such as {"task":"import_resources","integration_id":7}". Refuses: a first byte \x01,
 * over JOB_MAX_BYTES, not UTF-8, no object, task missing or no text, integration_id no positive integer, wrong types. */
int job_parse(const char *payload, size_t len, struct job *out, struct err *err)
	__attribute__((warn_unused_result));
void job_clear(struct job *j);

/* A payload for a child: {"task":…,"integration_id":…,"args":…,"run_id":…,"parent":…}; args may be NULL, numbers 0 are left out. Appends. */
void job_print(struct buf *out, const char *task, int64_t integration_id, const cJSON *args,
	       int64_t run_id, const char *parent);
/* Of an import, "all": what hangs on an item is asked for though the item did not change. */
#define CHILDREN_ARG "children"

/* Add fields (NULL, 0 = none) to the job that `out` ends with. */
void job_print_run_home(struct buf *out, const char *run_home);
void job_print_result_ttl(struct buf *out, int64_t seconds);
void job_print_keys(struct buf *out, const char *unique, bool replace, const char *idempotency_key);

#endif
