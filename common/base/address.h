/* What kind of place an address is: one of the whole internet, or one that only we, our network or our cloud can reach.  A target that
 * somebody else names must be of the first kind, or he reads what only we may read (SSRF); and a partner that is told one of the
 * others can never call us back.  Pure: literals only; names are looked up by common/io/target.h. */
#ifndef COMMON_BASE_ADDRESS_H
#define COMMON_BASE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/err.h"

enum address_kind {
	ADDRESS_PUBLIC,
	ADDRESS_NAME,     /* no address at all: a name */
	ADDRESS_LOOPBACK, /* this host: 127.0.0.0/8, ::1, 0.0.0.0, localhost and what is below it */
	ADDRESS_PRIVATE,  /* RFC 1918, fc00::/7 and its forebears */
	ADDRESS_LINK_LOCAL, /* 169.254.0.0/16, fe80::/10 */
	ADDRESS_SHARED,     /* 100.64.0.0/10, behind a carrier's NAT */
	ADDRESS_METADATA,   /* where clouds tell their machines secrets */
	ADDRESS_RESERVED,   /* multicast, documentation, tests, not given out */
};

/* Of the host of a URL: "10.0.0.1", "[::1]", "::1", also the old ways of writing IPv4 ("127.1", "0x7f000001").  IPv6 addresses that
 * hold an IPv4 one (mapped, compatible, NAT64, 6to4) are what that is. */
enum address_kind address_kind(const char *host);
enum address_kind address_kind_of(const struct sockaddr *sa); /* ADDRESS_RESERVED: no IP */
const char *address_kind_word(enum address_kind k);           /* "private", "loopback" … */

/* Which of those are allowed all the same: hosts, addresses and networks with commas between, "10.1.0.0/16,hooks.internal"; "*" is
 * every one but the metadata addresses, which must be named.  -EINVAL: a word is none of these. */
struct address_list;
int address_list_new(const char *text, struct address_list **out, struct err *err)
	__attribute__((warn_unused_result));
void address_list_free(struct address_list *l);
bool address_list_has(const struct address_list *l, const char *host); /* l may be NULL */
bool address_list_has_of(const struct address_list *l, const struct sockaddr *sa);

#endif
