/* A mail as RFC 5322 has it, from the members of a step's "json" where api.body is "mail".  Nothing here waits.
 *
 * No value can add a header or a recipient: addresses are looked at, and a text of a header that is no plain ASCII goes encoded
 * (RFC 2047).  Everything is seven bits, so every server takes it as it is, and no line begins with a dot that was not doubled. */
#ifndef DRIVERS_KIT_MAIL_H
#define DRIVERS_KIT_MAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"

/* Its members: `from` `to` `subject` `text`, and where they are wanted `from_name` `reply_to` `html`. */
bool mail_knows(const char *member, bool *required);

/* key: of this sending, the same at each attempt: what names the message, so that whoever has it twice can tell.  at_us: its date.
 * *from and *to are borrowed from v.  -EINVAL with ERR_BAD_JOB, said without the value.  Appends. */
int mail_write(const cJSON *v, const char *key, int64_t at_us, struct buf *out, const char **from,
	       const char **to, struct err *err) __attribute__((warn_unused_result));

#endif
