#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/settle_impl.h"

struct settlement *settlement_new(struct lease *l, enum settle_kind kind)
{
	struct settlement *s = mem_new(struct settlement);

	s->lease = *l;
	memset(l, 0, sizeof(*l));
	s->kind = kind;
	s->integration = s->lease.integration;
	s->children_tail = &s->children;
	return s;
}

void settlement_free(struct settlement *s)
{
	if (!s)
		return;
	while (s->children) {
		struct child *c = s->children;

		s->children = c->next;
		buf_clear(&c->bytes);
		free(c);
	}
	free(s->child_ops);
	buf_clear(&s->packed);
	buf_clear(&s->header);
	buf_clear(&s->letter);
	free(s->keys);
	settle_notes_free(s);
	lease_clear(&s->lease);
	free(s);
}

void settlement_set_header(struct settlement *s, const struct job_header *h)
{
	buf_reset(&s->header);
	job_header_print(h, &s->header);
}

void settlement_set_integration(struct settlement *s, int64_t integration)
{
	s->integration = integration;
}

void settlement_set_due(struct settlement *s, int64_t due_ms)
{
	s->due_ms = due_ms;
}

void settlement_set_letter(struct settlement *s, int64_t failed_at_ms, const char *id,
			   const char *json, size_t len)
{
	(void)id; /* the letter begins with it; Redis keeps the letter alone */
	s->failed_at_ms = failed_at_ms;
	buf_reset(&s->letter);
	buf_append(&s->letter, json, len);
}

/* TOKEN TARGET LANE INTEGRATION RUN_AT, then the new member's rest: " I HEADER\nPAYLOAD". */
static void outbox_head(struct buf *out, const char *partner, const struct queue_push *p)
{
	char token[ID_LEN + 1];

	id_new(token);
	buf_printf(out, "%s %s %d %lld %lld", token, partner, (int)p->lane,
		   (long long)p->integration, (long long)(p->run_at_ms > 0 ? p->run_at_ms : 0));
}

void settlement_add_child(struct settlement *s, const char *partner, const struct queue_push *push)
{
	struct child *c = mem_new(struct child);
	struct queue *q = s->lease.queue;
	char made[ID_LEN + 1];
	const char *id = push->id;

	if (!header_id_is_valid(id)) {
		id_new(made);
		id = made;
	}
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->lane = push->lane;
	c->integration = push->integration;
	c->run_at_ms = push->run_at_ms > redis_now_ms(q->r) ? push->run_at_ms : 0;
	c->outbox = strcmp(partner, q->partner) != 0;
	if (c->outbox)
		outbox_head(&c->bytes, partner, push);
	member_rest_print(&c->bytes, id, push->integration, redis_now_ms(q->r), push->origin,
			  push->payload, push->len);
	s->outbox = s->outbox || c->outbox;
	s->bytes += c->bytes.len;
	*s->children_tail = c;
	s->children_tail = &c->next;
	s->n_children++;
}
