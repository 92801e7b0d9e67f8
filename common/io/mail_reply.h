/* What an SMTP server replies: lines of a code of three digits and text, the last one told by the blank behind its code.  Nothing
 * here waits.  The files of mail alone use this. */
#ifndef COMMON_IO_MAIL_REPLY_H
#define COMMON_IO_MAIL_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"

#define MAIL_REPLY_TEXT_MAX 2048   /* what is kept of one */
#define MAIL_REPLY_BYTES_MAX 65536 /* what is read of one */

struct mail_reply {
	int code;        /* of its last line; 0: none yet */
	bool ended;      /* the next byte begins another */
	struct buf text; /* "550 5.1.1 no such user"; lines apart by a line break */
	struct buf line; /* the one that is not whole yet */
	size_t read;
};
void mail_reply_clear(struct mail_reply *r);

/* -EBADMSG: nothing that a server of mail says, or too much of it. */
int mail_reply_feed(struct mail_reply *r, const char *s, size_t n)
	__attribute__((warn_unused_result));

/* The text, without the addresses in it: it goes into errors and logs.  Appends. */
void mail_reply_tell(const struct mail_reply *r, struct buf *out);
void mail_reply_mask(const char *s, size_t len, struct buf *out); /* the same of any text */

#endif
