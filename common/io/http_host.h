/* The hosts a pool of HTTP connections talks to, and their addresses: libcurl would look names
 * up in a thread for each transfer, so it is given the address with the transfer and never asks.
 * A known address that has aged is used once more while it is looked up again.  http.c alone
 * uses this. */
#ifndef COMMON_IO_HTTP_HOST_H
#define COMMON_IO_HTTP_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/io/resolve.h"

enum { HTTP_HOST_NAME_MAX = 254 };

struct http_url {
	bool tls, mail;
	char host[HTTP_HOST_NAME_MAX]; /* without brackets, in lower case */
	int port;
};
/* What of a URL decides where it goes.  -EINVAL: not http(s) or smtp(s), no host, a host that can't be. */
int http_url_parse(const char *url, struct http_url *out) __attribute__((warn_unused_result));

struct http_hosts;

struct http_host {
	struct http_host *next;
	struct http_hosts *owner;
	char name[HTTP_HOST_NAME_MAX];
	int port;
	char address[RESOLVE_ADDR_MAX]; /* "" while unknown */
	char text[160];                 /* why it could not be found */
	int64_t known_until_ms;
	struct http_lookup *lookup;
	struct http_host_waiter *waiters;
	struct http_given {
		char address[RESOLVE_ADDR_MAX];
		int64_t at_ms;
	} given[]; /* what each multi handle was told, by shard */
};

struct http_hosts *http_hosts_new(int n_shards);
void http_hosts_free(struct http_hosts *hs); /* whoever waits gets -ECANCELED */

/* Waits.  *out is borrowed until the next wait; NULL when the URL has an address in place of a
 * name. -EHOSTUNREACH (text says why), -ECANCELED, -ETIMEDOUT. */
int http_host_find(struct http_hosts *hs, const struct http_url *u, int64_t deadline_ms,
		   struct http_host **out, char text[160]) __attribute__((warn_unused_result));
/* Could not connect: look it up again soon. */
void http_host_doubt(struct http_hosts *hs, const struct http_url *u);
/* Whether the shard must be told the address with its next transfer, and that it was: said when
 * such a transfer ended well, for one that was given up may never have come to it. */
bool http_host_must_give(const struct http_host *h, int shard);
void http_host_gave(struct http_hosts *hs, const struct http_url *u, int shard,
		    const char *address);

#endif
