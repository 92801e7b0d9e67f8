/* What settlement.c and settle.c share; nobody else includes it. */
#ifndef COMMON_QUEUE_SETTLE_IMPL_H
#define COMMON_QUEUE_SETTLE_IMPL_H

#include "common/queue/impl.h"

struct child {
	struct buf bytes; /* " I HEADER\nPAYLOAD", or the outbox entry */
	enum lane lane;
	int64_t integration, run_at_ms;
	bool outbox;
	struct child *next;
};

struct settlement {
	struct lease lease;
	enum settle_kind kind;
	int64_t integration, due_ms, failed_at_ms;
	struct buf header, letter;
	struct child *children, **children_tail;
	int n_children;
	size_t bytes;
	bool outbox;
	settled_fn cb;
	void *arg;
	struct settlement *next;
};

#endif
