/* A settlement's children as settle.lua wants them: those that follow each other and go the same way (lane, integration,
 * time) are one op, packed into one argument, which costs Redis a third less than an op each. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/settle_impl.h"

/* A run of children in `packed`, or an entry of the outbox as it is. */
struct child_op {
	const struct child *first;
	size_t from, len; /* in packed */
	uint32_t count;
};

static void put_u32(char *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)(n >> (24 - 8 * i));
}

static void add_u32(struct buf *b, uint32_t n)
{
	char bytes[4];

	put_u32(bytes, n);
	buf_append(b, bytes, sizeof(bytes));
}

static bool goes_with(const struct child_op *op, const struct child *c)
{
	return !op->first->outbox && !c->outbox && op->first->lane == c->lane &&
	       op->first->integration == c->integration && op->first->run_at_ms == c->run_at_ms;
}

/* As they stand in a pack (job.h): without " I ", which the op has. */
static void pack(struct settlement *s, struct child_op *op, struct child *c)
{
	const char *blank = memchr(c->bytes.data + 1, ' ', c->bytes.len - 1);
	size_t skip = (size_t)(blank + 1 - c->bytes.data);

	if (!op->count++)
		add_u32(&s->packed, 0);
	add_u32(&s->packed, (uint32_t)(c->bytes.len - skip));
	buf_append(&s->packed, c->bytes.data + skip, c->bytes.len - skip);
	buf_clear(&c->bytes);
	op->len = s->packed.len - op->from;
	put_u32(s->packed.data + op->from, op->count);
}

void settle_children_pack(struct settlement *s)
{
	if (!s->n_children)
		return;
	buf_reserve(&s->packed, s->bytes + 8 * (size_t)s->n_children);
	s->child_ops = mem_zalloc((size_t)s->n_children * sizeof(*s->child_ops));
	for (struct child *c = s->children; c; c = c->next) {
		struct child_op *op = s->child_ops + s->n_child_ops;

		if (s->n_child_ops > 0 && goes_with(op - 1, c))
			op--;
		else
			*op = (struct child_op){ .first = c, .from = s->packed.len };
		s->n_child_ops = (int)(op - s->child_ops) + 1;
		if (!c->outbox)
			pack(s, op, c);
	}
}

void settle_child_args(const struct settlement *s, struct redis_args *a)
{
	for (int i = 0; i < s->n_child_ops; i++) {
		const struct child_op *op = &s->child_ops[i];
		const struct child *c = op->first;

		redis_arg(a, c->outbox ? "outbox" : "child");
		redis_arg_int(a, c->lane);
		redis_arg_int(a, c->integration);
		redis_arg_int(a, c->run_at_ms);
		if (c->outbox)
			redis_arg_bytes(a, c->bytes.data, c->bytes.len);
		else
			redis_arg_bytes(a, s->packed.data + op->from, op->len);
	}
}
