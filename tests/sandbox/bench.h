/* The partner of the benchmarks: /bench/items on the ordinary port, and the same on a port of its own
 * (--bench-listen) where a request costs a read, a write and nearly nothing else. */
#ifndef TESTS_SANDBOX_BENCH_H
#define TESTS_SANDBOX_BENCH_H

#include "tests/sandbox/exchange.h"

#define BENCH_ROWS 5
#define BENCH_ROWS_MAX 500

/* The body.  Borrowed until bench_free, or printed into *own when start is not 0. */
const struct buf *bench_items(int64_t start, int64_t rows, struct buf *own);
void bench_routes(struct httpd *h, struct sandbox *s);
void bench_free(void);

struct bench_port;
/* *port is the one asked for, or the one picked.  -errno, said on stderr. */
int bench_port_open(struct sandbox *s, const char *listen, struct bench_port **out, int *port)
	__attribute__((warn_unused_result));
void bench_port_close(struct bench_port *b); /* NULL is fine; requests under way are dropped */

#endif
