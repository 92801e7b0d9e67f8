/* Every arrival, in order, in a ring of 200,000: what a test proves limits, order and numbers of calls
 * with.  Times are real microseconds that never step back.  Nothing here waits. */
#ifndef TESTS_SANDBOX_JOURNAL_H
#define TESTS_SANDBOX_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

#define JOURNAL_MAX 200000
#define JOURNAL_PATH_MAX 2048 /* a longer path is cut */

struct journal;

struct journal *journal_new(void);
void journal_free(struct journal *j);
void journal_reset(struct journal *j); /* sequence numbers go on */
int64_t journal_now_us(const struct journal *j);

/* Path and query are copied, unless `constant` (then path lives for ever and there is no query: the bench's way). */
uint64_t journal_arrival(struct journal *j, int64_t now_us, const char *method, const char *path,
			 const char *query, bool constant);
/* What became known later; harmless when the ring has gone over it.  account 0 = none. */
void journal_account(struct journal *j, uint64_t seq, int account, int in_flight);
void journal_fault(struct journal *j, uint64_t seq);
void journal_answer(struct journal *j, uint64_t seq,
		    int status); /* status -1: the connection was closed */

/* {"entries": […], "next": SEQ, "lost": N} from `since` on, at most `limit`, of one account if not 0. */
void journal_print(const struct journal *j, uint64_t since, int limit, int account,
		   struct buf *out);
void journal_counts_print(const struct journal *j,
			  struct buf *out); /* {"200": 17, …}; "-1" closed */

#endif
