/* What sink.c (rows) and records.c (runs, rejected items, …) share; nobody else includes it. */
#ifndef WORKER_SINK_IMPL_H
#define WORKER_SINK_IMPL_H

#include "worker/lot.h"
#include "worker/sink.h"

struct bucket;
struct batch;

struct sink {
	struct pg *pg;
	bool history[ROW_TABLES];
	int64_t history_read_ms;             /* 0: not yet */
	struct history_look *history_asking; /* NULL: nobody asks now */
	struct bucket **buckets;
	int n_buckets;
	struct batch *batches; /* under way */
	struct lot *runs, *rejected, *roots, *outcomes, *webhooks;
};

void records_open(struct sink *s); /* makes the lots; sink_free frees them */

#endif
