/* May something of ours be called at, or tell others to call, this URL?  Refused are addresses that only we, our network or our cloud
 * can reach (common/base/address.h), in any spelling, and names that resolve to one of them, even to one among others.  What
 * an operator wants all the same is a setting of every program: LONGSHORE_PRIVATE_TARGETS (--private-targets).
 *
 * Use target_check where a target is given (a callback URL that a partner is told, a webhook of an alert), so that whoever
 * gives it is told at once; and a pool with http_pool_guard (http.h) where it is then called, since a name may resolve to
 * something else by then.  Where nothing can wait, target_judge sees addresses and localhost alone. */
#ifndef COMMON_IO_TARGET_H
#define COMMON_IO_TARGET_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/err.h"

/* What is allowed all the same, for the whole process, in place of what was: as address_list_new.  "" = nothing. */
int target_allow(const char *list, struct err *err) __attribute__((warn_unused_result));

/* 0 | -EINVAL: no http(s) URL, or one with a user in it | -EACCES: not a target; err says which kind of address it is and what the way
 * out is. */
int target_judge(const char *url, struct err *err) __attribute__((warn_unused_result));
/* Waits: looks the name up.  As target_judge; a name that cannot be looked up now is an error of the network (-EHOSTUNREACH, or as
 * resolve_wait): the same may be asked again. */
int target_check(const char *url, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
/* --public-url: where others reach us, without a slash at its end (*out, the caller's; NULL for NULL and "").  -EINVAL, -EACCES, with a
 * text for people that begins with the option's name.  Does not wait: looks no name up. */
int target_public_url(const char *text, char **out, struct err *err)
	__attribute__((warn_unused_result));
/* Of a connection that is about to be opened. */
bool target_is_allowed(const char *host, const struct sockaddr *to);

#endif
