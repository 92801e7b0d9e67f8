/* Which jobs of a lane another one does the work of (recovery.h).
 *
 * purge: imports that the clock queued.  Of one kind all but a last one go, and that one is queued afresh: a full scan, if one of
 * them was.  drain: what Longshore queued itself, the clock's and children, where it has waited for over an hour and another one of
 * its kind waits behind it; of an import for some parents others for all of these.  What somebody pushed and what has begun are not even
 * looked at, nor are parents by a purge: the clock does not make them again. */
#include "scheduler/recovery.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"

static const char *const imports[] = { "import_resources", "import_transactions", "import_media",
				       "import_all_resources", NULL };
#define FANS_AT 3 /* imports from there on are not of an integration */

void sifted_clear(struct sifted *s)
{
	for (int i = 0; i < s->n; i++) {
		free(s->v[i].parents);
		free((char *)s->v[i].seen.member);
		if (s->v[i].owns_pack)
			free((char *)s->v[i].seen.pack);
	}
	free(s->v);
	s->v = NULL;
	s->n = s->cap = 0;
	s->bytes = 0;
}

static bool has_word(const struct job_header *h, const char *word)
{
	return h->extra_len && memmem(h->extra, h->extra_len, word, strlen(word));
}

/* An import that has begun goes on, from where it was. */
static bool has_begun(const struct job_seen *j)
{
	return j->member[0] != '1' || j->header.attempts || j->header.crashes ||
	       has_word(&j->header, RUN_HEADER) || has_word(&j->header, " ran=");
}

static bool is_import(const struct job *job)
{
	int i = 0;

	while (imports[i] && strcmp(imports[i], job->task) != 0)
		i++;
	return imports[i] && (i >= FANS_AT) == !job->integration_id;
}

static const cJSON *parents_of(const struct job *job)
{
	return job->args ? json_path(job->args, "parents") : NULL;
}

static uint64_t kind_of(const struct job *job, bool *full)
{
	cJSON *args = job->args ? cJSON_Duplicate(job->args, 1) : cJSON_CreateObject();
	const char *mode = json_str(args, "mode");
	struct buf text = BUF_INIT;
	uint64_t kind;

	*full = !mode || strcmp(mode, "incremental") != 0;
	cJSON_DeleteItemFromObjectCaseSensitive(args, "mode");
	cJSON_DeleteItemFromObjectCaseSensitive(args, "import");
	cJSON_DeleteItemFromObjectCaseSensitive(args, "parents");
	buf_printf(&text, "%s %lld %s", job->task, (long long)job->integration_id,
		   parents_of(job) ? "parents " : "");
	json_print(args, &text);
	kind = crypto_hash64(text.data, text.len, 1);
	buf_clear(&text);
	cJSON_Delete(args);
	return kind;
}

static char *bytes_dup(const char *p, size_t len)
{
	return memcpy(mem_alloc(len + 1), p, len);
}

/* Twenty jobs of one pack share its bytes. */
static void keep_pack(struct sifted *s, struct sifted_job *to, const struct job_seen *j)
{
	const struct sifted_job *last = s->n ? &s->v[s->n - 1] : NULL;

	if (!j->pack)
		return;
	if (last && last->seen.pack && last->seen.pack_len == j->pack_len &&
	    !memcmp(last->seen.pack, j->pack, j->pack_len)) {
		to->seen.pack = last->seen.pack;
		return;
	}
	to->seen.pack = bytes_dup(j->pack, j->pack_len);
	to->owns_pack = true;
	s->bytes += j->pack_len;
}

static void keep_parents(struct sifted *s, struct sifted_job *to, const cJSON *parents)
{
	const cJSON *v;

	if (!parents)
		return;
	to->parents = mem_alloc(sizeof(*to->parents) * (size_t)(cJSON_GetArraySize(parents) + 1));
	cJSON_ArrayForEach (v, parents)
		if (cJSON_IsString(v))
			to->parents[to->n_parents++] =
				crypto_hash64(v->valuestring, strlen(v->valuestring), 1);
	s->bytes += sizeof(*to->parents) * (size_t)to->n_parents;
}

static void keep(struct sifted *s, const struct job_seen *j, const struct job *job)
{
	bool full;
	uint64_t kind = kind_of(job, &full);
	struct sifted_job *to;

	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 256;
		s->v = mem_realloc(s->v, (size_t)s->cap * sizeof(*s->v));
	}
	to = &s->v[s->n];
	*to = (struct sifted_job){ .kind = kind, .full = full, .seen = *j };
	to->fresh = !strncmp(j->header.id, RECOVERY_FRESH, strlen(RECOVERY_FRESH));
	memcpy(to->seq, j->member + 1, sizeof(to->seq) - 1);
	to->seen.member = bytes_dup(j->member, j->member_len);
	to->seen.payload = to->seen.member + (j->payload - j->member);
	to->seen.header.extra = NULL; /* none that matters: it has not begun */
	to->seen.header.extra_len = 0;
	keep_pack(s, to, j);
	keep_parents(s, to, parents_of(job));
	s->bytes += j->member_len;
	s->n++;
}

bool sifted_see(const struct job_seen *j, void *arg)
{
	struct sifted *s = arg;
	struct job job = { 0 };
	bool clock = job_by_clock(&j->header);

	if (j->member_len < sizeof(s->v->seq) || has_begun(j) ||
	    (s->strategy == RECOVERY_PURGE && !clock))
		return true;
	if (job_parse(j->payload, j->payload_len, &job, NULL) < 0)
		return true;
	if (is_import(&job) && (clock || job.parent) &&
	    !(s->strategy == RECOVERY_PURGE && parents_of(&job)))
		keep(s, j, &job);
	job_clear(&job);
	return s->n < RECOVERY_JOBS_MAX && s->bytes < RECOVERY_BYTES_MAX;
}

static int by_kind_then_age(const void *a, const void *b)
{
	const struct sifted_job *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return strcmp(x->seq, y->seq);
}

static int purge(struct sifted_job *v, int n, sifted_fresh_fn fn, void *arg)
{
	const struct sifted_job *newest = &v[n - 1], *like = newest;
	int rc;

	if (n < 2)
		return 0; /* as good as another one would be */
	for (int i = n - 2; i >= 0 && !like->full; i--)
		like = v[i].full ? &v[i] : like;
	bool stays = newest->fresh && like == newest;
	rc = stays ? 0 : fn(like, arg);
	for (int i = 0; i < n && rc == 0; i++)
		v[i].goes = !stays || i < n - 1;
	return rc;
}

/* ---- parents that another job will ask for ---- */

struct crowd {
	uint64_t *v; /* 0: free */
	size_t size; /* a power of two, twice what comes at least */
};

static uint64_t *crowd_place(const struct crowd *c, uint64_t parent)
{
	size_t at = parent & (c->size - 1);

	while (c->v[at] && c->v[at] != (parent | 1))
		at = (at + 1) & (c->size - 1);
	return &c->v[at];
}

static bool are_all_in(const struct crowd *c, const struct sifted_job *j)
{
	int i = 0;

	while (i < j->n_parents && *crowd_place(c, j->parents[i]))
		i++;
	return i == j->n_parents;
}

static bool is_stale(const struct sifted_job *j, int64_t now_ms)
{
	return now_ms - j->seen.since_ms > RECOVERY_STALE_MS;
}

static void drain_parents(struct sifted_job *v, int n, int64_t now_ms)
{
	struct crowd behind = { .size = 16 };
	size_t all = 0;

	for (int i = 0; i < n; i++)
		all += (size_t)v[i].n_parents;
	while (behind.size < 2 * all)
		behind.size *= 2;
	behind.v = mem_zalloc(sizeof(*behind.v) * behind.size);
	for (int i = n - 1; i >= 0; i--) {
		v[i].goes = is_stale(&v[i], now_ms) && are_all_in(&behind, &v[i]);
		for (int k = 0; k < v[i].n_parents && !v[i].goes; k++)
			*crowd_place(&behind, v[i].parents[k]) = v[i].parents[k] | 1;
	}
	free(behind.v);
}

static void drain(struct sifted_job *v, int n, int64_t now_ms)
{
	bool full_behind = false;

	if (v->parents) {
		drain_parents(v, n, now_ms);
		return;
	}

	for (int i = n - 1; i >= 0; i--) {
		bool behind = v[i].full ? full_behind : i < n - 1;

		v[i].goes = behind && is_stale(&v[i], now_ms);
		full_behind = full_behind || (v[i].full && !v[i].goes);
	}
}

int sifted_decide(struct sifted *s, sifted_fresh_fn fn, void *arg)
{
	int rc = 0, n;

	if (s->n)
		qsort(s->v, (size_t)s->n, sizeof(*s->v), by_kind_then_age);
	for (int at = 0; at < s->n && rc == 0; at += n) {
		for (n = 1; at + n < s->n && s->v[at + n].kind == s->v[at].kind;)
			n++;
		if (s->strategy == RECOVERY_PURGE)
			rc = purge(s->v + at, n, fn, arg);
		else
			drain(s->v + at, n, s->now_ms);
	}
	return rc;
}
