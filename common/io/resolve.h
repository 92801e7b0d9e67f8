/* Host names to addresses, off the loop: getaddrinfo runs in a short-lived thread, its answer
 * comes back through an eventfd.  Literal addresses and localhost answer at once. Answers are
 * kept 30 s. */
#ifndef COMMON_IO_RESOLVE_H
#define COMMON_IO_RESOLVE_H

#include "common/base/err.h"

#define RESOLVE_ADDR_MAX 64
/* Callback form; may be called before it returns.  rc 0, or -EHOSTUNREACH with a text. */
typedef void (*resolve_cb)(int rc, const char *address, const char *text, void *arg);
void resolve(const char *host, resolve_cb cb, void *arg);
#define RESOLVE_ALL_MAX 8
struct resolve_all {
	int n;
	char address[RESOLVE_ALL_MAX][RESOLVE_ADDR_MAX];
};
/* Wait.  One of the addresses in turn; all of them. */
int resolve_all_wait(const char *host, struct resolve_all *out, int64_t deadline_ms,
		     struct err *err) __attribute__((warn_unused_result));
int resolve_wait(const char *host, char out[RESOLVE_ADDR_MAX], int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

#endif
