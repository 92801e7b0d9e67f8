/* One at a time, over all processes: whatever is done about one thing of a partner's (an item that many events speak of) waits for
 * whoever does something about it now.  turn:{p}:HASH holds its owner, named after the job, so that the attempt that follows
 * a crash goes on at once; it ends by itself.  A turn may leave word behind for those who come in the next moment. */
#ifndef COMMON_QUEUE_TURN_H
#define COMMON_QUEUE_TURN_H

#include "common/io/redis.h"

#define TURN_WORD_MAX 40

struct turn {
	char key[128], owner[64];
};
/* `what` is any text; partner and owner are bounded as a job's id is. */
void turn_init(struct turn *t, const char *partner, const char *what, const char *owner);
/* Waits.  1: it is ours, for life_ms; 0: somebody else's.  word: what the one before left, while that lives; "" else. */
int turn_take(struct redis *r, const struct turn *t, int64_t life_ms, char word[TURN_WORD_MAX],
	      int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* Do not wait; of a turn that is ours no more nothing happens (leave).  word: for life_ms in its place. */
void turn_leave(struct redis *r, const struct turn *t);
void turn_leave_word(struct redis *r, const struct turn *t, const char *word, int64_t life_ms);

#endif
