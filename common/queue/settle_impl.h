/* What settlement.c and settle.c share; nobody else includes it. */
#ifndef COMMON_QUEUE_SETTLE_IMPL_H
#define COMMON_QUEUE_SETTLE_IMPL_H

#include "common/queue/impl.h"
#include "common/queue/keys.h"

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
	struct child_op *child_ops; /* children.c */
	int n_child_ops;
	struct buf packed;
	size_t bytes;
	bool outbox;
	struct job_keys *keys; /* NULL for most */
	int n_keys;
	enum key_fate fate;
	settled_fn cb;
	void *arg;
	struct settlement *next;
};

/* children.c: packs them, once, when they are sent first; then as many ops. */
void settle_children_pack(struct settlement *s);
void settle_child_args(const struct settlement *s, struct redis_args *a);

/* keys.c: what settle.lua is told about the keys; first_key = index in KEYS of the job's first. */
void settle_key_names(const struct settlement *s, struct redis_args *a);
void settle_key_ops(const struct settlement *s, int first_key, struct redis_args *a);

#endif
