/* Jobs that go without a trace of their own, since another job does their work. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"
#include "common/queue/look.h"

#define SHED_MAX 100
#define BYTES_MAX (512 * 1024) /* members of one script */

struct shedder {
	struct queue *q;
	int n;
	size_t bytes;
	struct burial v[SHED_MAX];
	char id[SHED_MAX][JOB_ID_MAX];
};

struct shedder *shedder_new(struct queue *q)
{
	struct shedder *s = mem_new(struct shedder);

	s->q = q;
	return s;
}

static void clear(struct shedder *s)
{
	for (int i = 0; i < s->n; i++) {
		free((char *)s->v[i].member);
		free((char *)s->v[i].pack);
		free((char *)s->v[i].run.home);
	}
	s->n = 0;
	s->bytes = 0;
}

void shedder_free(struct shedder *s)
{
	if (s)
		clear(s);
	free(s);
}

int shedder_flush(struct shedder *s, int64_t *gone, struct err *err)
{
	bool was_there[SHED_MAX] = { false };
	int rc = queue_bury(s->q, s->v, s->n, was_there, err);

	for (int i = 0; i < s->n && rc == 0; i++)
		*gone += was_there[i];
	clear(s);
	return rc;
}

static void note_run(struct shedder *s, struct burial *b, const struct job_seen *j)
{
	struct job job = { 0 };

	if (job_parse(j->payload, j->payload_len, &job, NULL) < 0)
		return;
	run_of_job(&job, &b->run);
	if (b->run.id) {
		b->run.home = mem_strdup(b->run.home);
		memcpy(s->id[b - s->v], j->header.id, JOB_ID_MAX);
		b->id = s->id[b - s->v];
	}
	job_clear(&job);
}

int shedder_add(struct shedder *s, const struct job_seen *j, int64_t *gone, struct err *err)
{
	struct burial *b;
	int rc = 0;

	/* One script knows one lane. */
	if (s->n == SHED_MAX || s->bytes > BYTES_MAX || (s->n && s->v[0].lane != j->lane))
		rc = shedder_flush(s, gone, err);
	if (rc < 0)
		return rc;
	b = &s->v[s->n++];
	*b = (struct burial){ .place = j->place,
			      .lane = j->lane,
			      .letter = "",
			      .dropped = true,
			      .member_len = j->member_len,
			      .pack_len = j->pack ? j->pack_len : 0 };
	note_run(s, b, j);
	b->member = memcpy(mem_alloc(j->member_len + 1), j->member, j->member_len);
	if (j->pack)
		b->pack = memcpy(mem_alloc(j->pack_len + 1), j->pack, j->pack_len);
	s->bytes += b->member_len + b->pack_len;
	return 0;
}
