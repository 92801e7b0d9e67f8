/* What a notification says: texts with {name}s that stand for values, and the addresses that they go to.  Nothing here waits.
 *
 * A name is a path into the values ("guest.name"); one without a value is an error that says where it stands, never an empty text.
 * {{ and }} are braces.  Only values are escaped: a template is its author's. */
#ifndef DRIVERS_KIT_MESSAGE_H
#define DRIVERS_KIT_MESSAGE_H

#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"

#define MESSAGE_MAX_BYTES 65536 /* of one text, filled */
#define MESSAGE_NAME_MAX 64

enum message_escape {
	MESSAGE_LINE,   /* one line: what controls is a blank */
	MESSAGE_PLAIN,  /* as it is; what controls is left out, but for tabs and line breaks */
	MESSAGE_HTML,   /* plain, and & < > " ' are entities */
	MESSAGE_MRKDWN, /* plain, and & < > are entities: no value can mention or link (Slack) */
};

/* place: what errors call it, "email.subject".  values: an object, or NULL: names are only checked for their form.  -EINVAL with
 * ERR_BAD_JOB.  Appends. */
int message_fill(const char *place, const char *text, enum message_escape how, size_t max_bytes,
		 const cJSON *values, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));

/* NULL: it is one; else why it is none ("has no @").  Never longer than may be sent, no blanks, no line breaks. */
const char *message_email_problem(const char *s);
const char *message_phone_problem(const char *s); /* E.164: + and 7 to 15 digits */
const char *message_token_problem(const char *s); /* of a device */

#endif
