/* Where Redis is, from a URL (redis.h has the forms).  No text made here ever holds the
 * password, nor the URL as it was given.  Nothing here waits. */
#ifndef COMMON_IO_REDIS_URL_H
#define COMMON_IO_REDIS_URL_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/secret.h"

struct redis_url {
	bool tls;
	char *host; /* NULL for a unix socket */
	int port;
	char *path; /* NULL for TCP */
	char *user; /* NULL: the default user */
	struct secret password;
	int db;
	char *cacert; /* rediss: file of the authorities to trust; NULL: the system's */
	char *shown;
};

/* 0 or -EINVAL with a text; *out untouched then. */
int redis_url_parse(const char *url, struct redis_url *out, struct err *err)
	__attribute__((warn_unused_result));
void redis_url_clear(struct redis_url *u);

#endif
