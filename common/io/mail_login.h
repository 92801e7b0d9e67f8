/* Logging in at a server of mail by a token of OAuth 2 (SASL: XOAUTH2 as Google and Microsoft have it, OAUTHBEARER of RFC 7628), which
 * libcurl would do too, but for the server's reason: told as a challenge, it ends its dialogue there.  Nothing here waits.
 * The files of mail alone use this. */
#ifndef COMMON_IO_MAIL_LOGIN_H
#define COMMON_IO_MAIL_LOGIN_H

#include "common/base/buf.h"

#define MAIL_TOKEN_MAX 8192 /* RFC 4954: a line of a login has 12,288 bytes at most */
#define MAIL_REASON_MAX 300

struct mail_login {
	const char *mechanism;
	const char *
		give_up; /* the line that answers a reason, so that the server ends what it refuses */
};

/* Which of those that the server's word on EHLO offers; NULL: it knows no tokens. */
const struct mail_login *mail_login_offered(const char *ehlo);
/* The line that says the token, with its end; the caller zeroes it.  -EINVAL: the user or the token holds what no line may. */
int mail_login_line(const struct mail_login *l, const char *user, const char *token,
		    const char *host, int port, struct buf *out)
	__attribute__((warn_unused_result));
/* What a challenge (`334 eyJzdGF0dXMi…`) says, as a text of one line; nothing where it says nothing.  Appends. */
void mail_login_reason(const char *reply, struct buf *out);

#endif
