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

/* An answer as JSON (`status`, `headers`, and `json`, `text` or `base64`), and back. */
cJSON *tape_response_print(const struct http_response *r);
void tape_response_read(const cJSON *v, struct http_response *out);
/* A body: under "json", "text" or "base64". */
void tape_add_body(cJSON *to, const char *body, size_t len);

#endif
