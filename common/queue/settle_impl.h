/* What settlement.c and settle.c share; nobody else includes it. */
#ifndef COMMON_QUEUE_SETTLE_IMPL_H
#define COMMON_QUEUE_SETTLE_IMPL_H

#include "common/queue/impl.h"
#include "common/queue/keys.h"

struct child {
	struct buf bytes; /* " I HEADER\nPAYLOAD", or the outbox entry */
	enum lane lane;
	int64_t integration, run_at_ms;
	bool outbox, kin;    /* kin: it joins the run */
	char id[JOB_ID_MAX]; /* "" for an entry that is no child */
	struct child *next;
};

/* A run's change, or a result: keys of its own, and what settle.lua is told of them (run.c). */
struct note {
	const char *op;
	struct buf keys[2];
	int n_keys;
	int64_t run, number;
	struct buf bytes;
	struct note *next;
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
	struct note *notes; /* NULL for most */
	int n_notes, n_note_keys;
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

/* run.c: the same of its notes. */
void settle_note_names(const struct settlement *s, struct redis_args *a);
void settle_note_ops(const struct settlement *s, int first_key, struct redis_args *a);
void settle_notes_free(struct settlement *s);

#endif
