/* Jobs that a person takes out of a queue: never without a trace. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/store/store.h"
#include "drivers/kit/letter.h"
#include "scheduler/cli/jobs.h"

#define BYTES_MAX (512 * 1024) /* members and letters of one script */

static void text(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, ",\"%s\":", key);
	json_quote(out, value, strlen(value));
}

/* As the worker writes its own: what `dead show` and a replay understand. */
static void letter_print(const struct burials *b, const struct view *v, const struct job_seen *j,
			 const char *id, struct buf *out)
{
	cJSON *job = NULL;
	const char *task = NULL, *own = NULL;

	if (json_parse(j->payload, j->payload_len, JOB_MAX_BYTES, &job, NULL) == 0) {
		task = json_str(job, "task");
		own = json_str(job, "id");
	}
	buf_printf(out, "{\"id\":\"%s\"", id);
	text(out, "job", own && *own ? own : j->header.id);
	if (own && *own)
		text(out, "header", j->header.id);
	text(out, "queue", v->partner);
	text(out, "lane", lane_name(j->lane));
	buf_printf(out, ",\"integration_id\":%lld", (long long)j->integration);
	if (task)
		text(out, "task", task);
	text(out, "class", b->class);
	text(out, "error", b->error);
	buf_printf(out, ",\"attempts\":%d,\"crashes\":%d,\"first_seen\":%lld,\"failed_at\":%lld",
		   j->header.attempts, j->header.crashes, (long long)j->header.born_ms,
		   (long long)v->now_ms);
	text(out, "version", LONGSHORE_VERSION);
	letter_payload_print(b->driver, job, j->payload, j->payload_len, out);
	buf_putc(out, '}');
	cJSON_Delete(job);
}

/* What its run is told: as a descendant, or as a root that others hang on already. */
static void bury_run(struct burials *b, const struct view *v, const struct job_seen *j,
		     struct burial *one)
{
	struct job job = { 0 };
	struct err ignored = { 0 };
	const char *run = j->header.extra_len ? memmem(j->header.extra, j->header.extra_len,
						       RUN_HEADER, strlen(RUN_HEADER))
					      : NULL;

	if (job_parse(j->payload, j->payload_len, &job, &ignored) < 0)
		return;
	run_of_job(&job, &one->run);
	if (!job.run_id && run)
		one->run = (struct run_ref){ .id = strtoll(run + strlen(RUN_HEADER), NULL, 10),
					     .home = v->partner,
					     .root = true };
	if (one->run.id) {
		char *keep = b->of[b->n - 1];

		snprintf(keep, sizeof(b->of[0]), "%s", j->header.id);
		one->id = keep;
		one->run.home = mem_strdup(one->run.home);
	}
	job_clear(&job);
}

bool burials_add(struct burials *b, const struct view *v, const struct job_seen *j)
{
	struct buf letter = BUF_INIT;
	struct burial *one = &b->v[b->n];
	char id[ID_LEN + 1];

	/* One script moves them, and it knows one key: another lane is another round. */
	if (b->n == 100 || (b->n && (b->bytes > BYTES_MAX || b->v[0].lane != j->lane)))
		return false;
	id_new(id);
	letter_print(b, v, j, id, &letter);
	snprintf(b->id[b->n++], sizeof(b->id[0]), "%s", id);
	*one = (struct burial){ .place = j->place,
				.lane = j->lane,
				.failed_at_ms = v->now_ms,
				.member_len = j->member_len,
				.letter_len = letter.len };
	bury_run(b, v, j, one);
	one->member = memcpy(mem_alloc(j->member_len + 1), j->member, j->member_len);
	if (j->pack) {
		one->pack = memcpy(mem_alloc(j->pack_len + 1), j->pack, j->pack_len);
		one->pack_len = j->pack_len;
	}
	one->letter = buf_detach(&letter);
	b->bytes += one->member_len + one->pack_len + one->letter_len;
	return true;
}

void burials_clear(struct burials *b)
{
	for (int i = 0; i < b->n; i++) {
		free((char *)b->v[i].member);
		free((char *)b->v[i].pack);
		free((char *)b->v[i].letter);
		free((char *)b->v[i].run.home);
	}
	b->n = 0;
	b->bytes = 0;
}

int burials_settle(struct cli *c, const struct view *v, struct burials *b, int64_t *done)
{
	const char *letters[100], *ids[100];
	size_t lens[100];
	bool gone[100] = { false };
	struct err err = { 0 };
	int n = 0, rc = queue_bury(v->queue, b->v, b->n, gone, &err);

	for (int i = 0; i < b->n && rc == 0; i++) {
		if (!gone[i])
			continue;
		letters[n] = b->v[i].letter;
		lens[n] = b->v[i].letter_len;
		ids[n++] = b->id[i];
	}
	if (rc == 0 && n)
		rc = deadletter_copy(c->pg, v->partner, letters, lens, n, &err);
	if (rc == 0 && n)
		rc = deadletter_discard(c->pg, ids, n, &err);
	if (rc == 0 && n)
		rc = queue_dead_trim(v->queue, letters, lens, n, cli_deadline(), &err);
	burials_clear(b);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	*done += n;
	return 0;
}
