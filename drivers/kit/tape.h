/* A tape stands between the door and the network: recording, it keeps what is asked and answered as it passes; replaying, answers
 * come from it alone, whatever was not recorded is refused, and what was not asked for is told.  Exchanges are JSON, as
 * cassettes have them (cassette.h).  Nothing here waits. */
#ifndef DRIVERS_KIT_TAPE_H
#define DRIVERS_KIT_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/json.h"
#include "common/io/http.h"
#include "common/io/mail_dialogue.h"

struct tape;

/* The clock of templates ({now}) stands still at now_us: a replay must ask for the same. */
struct tape *tape_recording(int64_t now_us);
struct tape *tape_replaying(const cJSON *exchanges, int64_t now_us); /* borrowed */
void tape_free(struct tape *t);                                      /* NULL is fine */
bool tape_replays(const struct tape *t);                             /* false for NULL */
int64_t tape_now_us(const struct tape *t);

/* Recording: what passed since the last time, an array, the caller's.  auth: the calls for tokens. */
cJSON *tape_take(struct tape *t, bool auth);
/* Replaying: what was asked for and is not there, what is there and was not asked for; appends objects with `path` and
 * `text`. */
void tape_problems(const struct tape *t, cJSON *problems);

/* ---- the door's side ---- */
void tape_keep(struct tape *t, cJSON *exchange, bool auth); /* takes it */
/* The first exchange of this request that was not used yet.  -ENOENT: there is none, and err says how the nearest differs. */
int tape_answer(struct tape *t, const cJSON *request, struct http_response *out, struct err *err)
	__attribute__((warn_unused_result));
/* tape_mail.c: the same of a mail, whose answer is what its dialogue comes to; as mail_replay, and -ENOENT also where it would go another way. */
int tape_answer_mail(struct tape *t, const cJSON *request, const struct http_request *q,
		     struct http_response *out, struct err *err)
	__attribute__((warn_unused_result));
/* Whether what was answered last was asked for again, as after a new token. */
bool tape_was_asked_again(const struct tape *t);

/* An answer as JSON (`status`, `headers`, and `json`, `text` or `base64`), and back. */
cJSON *tape_response_print(const struct http_response *r);
void tape_response_read(const cJSON *v, struct http_response *out);
/* A body: under "json", "text" or "base64". */
void tape_add_body(cJSON *to, const char *body, size_t len);
/* A mail's, which has a `dialogue` in their place; where it came to no answer, `failure` and `detail`. */
cJSON *tape_dialogue_print(const struct mail_dialogue *d, const struct http_response *r);
/* What is wrong with one that was read: 0, or -EINVAL, and appends where ("dialogue[3]: …"). */
int tape_dialogue_check(const cJSON *response, struct buf *problem)
	__attribute__((warn_unused_result));

/* Between tape.c and tape_mail.c. */
const cJSON *tape_find(struct tape *t, const cJSON *request, int *index, struct err *err);
void tape_add_problem(struct tape *t, const char *path, const char *text);
const char *tape_failure_word(const char *word); /* NULL for NULL */

#endif
