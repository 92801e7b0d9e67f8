/* A mail to a server whose dialogue was written down: what follows the connection is said and judged by the code that does it live (mail_talk.c).
 * Nothing here waits, but for what the request's own functions do. */
#ifndef COMMON_IO_MAIL_REPLAY_H
#define COMMON_IO_MAIL_REPLAY_H

#include "common/io/http.h"
#include "common/io/mail_dialogue.h"

struct mail_replay {
	const struct mail_dialogue *dialogue;
	const char *failure,
		*detail;    /* how it came to no answer, where it did not; NULL: not said */
	int line;           /* out: of the dialogue, from 0: where it went another way */
	struct buf problem; /* out: how; the caller's */
};

/* As http_send, in place of a server.  Who logs in is not looked at: a token is any.  -EBADMSG: other things would be said than those that are
 * written down, or in another order. */
int mail_replay(struct mail_replay *r, const struct http_request *q, struct http_response *out)
	__attribute__((warn_unused_result));

#endif
