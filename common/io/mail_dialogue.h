/* A dialogue with a server of mail, written down for people as RFC 5321 has its examples: lines "C: …" of ours, "S: …" of the server's.
 *
 * What is secret is never in it, nor who we are: of a login its mechanism alone, of a challenge its reason alone, no name of this host,
 * no address of a person; the message is "C: (message)".  Nothing here waits. */
#ifndef COMMON_IO_MAIL_DIALOGUE_H
#define COMMON_IO_MAIL_DIALOGUE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"

#define MAIL_DIALOGUE_LINES_MAX 1000 /* what comes later is not written down */
#define MAIL_DIALOGUE_LINE_BYTES 4000
#define MAIL_SAID_MESSAGE "(message)"

struct mail_dialogue {
	struct buf lines; /* each ended by \n */
	struct buf heard; /* of the server's line that has not ended */
	int n;
	bool greets; /* the server's next line does, and may say where we are */
};
void mail_dialogue_clear(struct mail_dialogue *d);

/* One line that goes to the server, with or without its end; MAIL_SAID_MESSAGE for the message. */
void mail_dialogue_said(struct mail_dialogue *d, const char *line, size_t n);
/* What came from it, in pieces as they come. */
void mail_dialogue_heard(struct mail_dialogue *d, const char *s, size_t n);
/* A line as it was written down; false: there is no room, or it is none ("C: …" or "S: …", no control characters). */
bool mail_dialogue_add(struct mail_dialogue *d, const char *line)
	__attribute__((warn_unused_result));

/* How a line of ours is written down, without its "C: ".  Appends. */
void mail_dialogue_show(const char *line, size_t n, struct buf *out);

#endif
