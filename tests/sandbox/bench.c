/* GET /bench/items?rows=5[&start=N]: the cheapest answer there is, so that a measurement shows the worker, not
 * its partner: no token, no limit, no JSON library, bytes made once per number of rows.  With
 * `start` the ids count from there (each call then brings rows of its own). */
#include "tests/sandbox/bench.h"

#include <stdlib.h>

static struct buf prepared[BENCH_ROWS_MAX + 1]; /* by number of rows, ids from 0 on */

static void items_print(struct buf *out, int64_t start, int rows)
{
	buf_puts(out, "{\"results\":[");
	for (int64_t i = start; i < start + rows; i++) {
		buf_puts(out, i > start ? ",{\"id\":\"b-" : "{\"id\":\"b-");
		buf_putint(out, i);
		buf_puts(out, "\",\"name\":\"Bench item ");
		buf_putint(out, i);
		buf_puts(out, "\",\"city\":\"Lisbon\",\"price\":112.5,\"guests\":4,\"listed\":true,"
			      "\"updated_at\":\"2026-01-01T00:00:00Z\"}");
	}
	buf_puts(out, "]}");
}

const struct buf *bench_items(int64_t start, int64_t rows, struct buf *own)
{
	if (rows < 0 || rows > BENCH_ROWS_MAX)
		rows = BENCH_ROWS_MAX;
	if (start) {
		items_print(own, start, (int)rows);
		return own;
	}
	if (!prepared[rows].len)
		items_print(&prepared[rows], 0, (int)rows);
	return &prepared[rows];
}

static void items_handler(struct httpd_request *q, void *arg)
{
	struct exchange x = { .q = q };
	struct sandbox *s = arg;
	const char *rows = httpd_query(q, "rows"), *start = httpd_query(q, "start");
	struct buf own = BUF_INIT;
	const struct buf *items = bench_items(start ? strtoll(start, NULL, 10) : 0,
					      rows ? strtoll(rows, NULL, 10) : BENCH_ROWS, &own);
	uint64_t seq = journal_arrival(s->journal, journal_now_us(s->journal), "GET",
				       "/bench/items", "", true);
	bool alive;

	exchange_enlist(&x, s);
	alive = sandbox_latency(s);
	journal_answer(s->journal, seq, alive ? 200 : -1);
	if (alive)
		httpd_reply(q, 200, "application/json", items->data, items->len);
	else
		httpd_abort(q);
	buf_clear(&own);
	exchange_leave(&x);
}

void bench_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "GET", "/bench/items", items_handler, s);
}

void bench_free(void)
{
	for (int i = 0; i <= BENCH_ROWS_MAX; i++)
		buf_clear(&prepared[i]);
}
