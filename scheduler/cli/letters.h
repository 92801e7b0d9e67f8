/* Dead letters as the command sees them: those in Redis (all of the last days) and those in
 * Postgres (copied soon after their birth, and kept).  One letter may be in both; it is replayed
 * from Redis then, never from both. */
#ifndef SCHEDULER_CLI_LETTERS_H
#define SCHEDULER_CLI_LETTERS_H

#include "scheduler/cli/cli.h"

struct letter {
	char *id, *partner;
	char *text;
	size_t len; /* the JSON, exactly as it stands */
	int64_t failed_at_ms;
	bool in_redis;
	cJSON *tree; /* NULL: it does not read */
};

struct letters {
	struct letter *v;
	int n, cap;
};
void letters_clear(struct letters *l);

struct letter_filter {
	const char *id, *class, *partner;
	const char *state; /* NULL: dead; replayed, discarded: Postgres alone knows; any */
	int64_t integration, since_ms;
	int limit;
};

/* Waits. Appends what matches and is in Redis, then what is in Postgres alone,
 * newest first in each, together at most limit. Letters that died after this command began are
 * left for the next one.  0 or an exit code. */
int letters_find(struct cli *c, const struct letter_filter *f, struct letters *out)
	__attribute__((warn_unused_result));

/* Waits.  0 | -ENOENT: somebody else was first | an error that leaves it where it was.  Nothing
 * is printed. */
int letter_settle(struct cli *c, const struct letter *l, bool replay, struct err *err)
	__attribute__((warn_unused_result));

#endif
