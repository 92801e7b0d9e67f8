#include "scheduler/cli/job_find.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/store.h"

void found_job_free(struct found_job *j)
{
	if (!j)
		return;
	view_close(&j->view);
	free(j->member);
	free(j->pack);
	free(j->lease);
	free(j);
}

/* ---- finding ---- */

static bool keep(const struct job_seen *j, void *arg)
{
	struct found_job *f = arg;
	size_t payload = (size_t)(j->payload - j->member);
	size_t extra = j->header.extra ? (size_t)(j->header.extra - j->member) : 0;

	f->seen = *j;
	f->member = memcpy(mem_alloc(j->member_len + 1), j->member, j->member_len);
	f->seen.member = f->member;
	f->seen.payload = f->member + payload;
	if (extra)
		f->seen.header.extra = f->member + extra;
	if (j->pack)
		f->pack = memcpy(mem_alloc(j->pack_len + 1), j->pack, j->pack_len);
	f->seen.pack = f->pack;
	f->lease = j->lease ? mem_strdup(j->lease) : NULL;
	f->seen.lease = f->lease;
	return false;
}

/* Twice in the order of its life: a job that moves on while we look is met in the next place. */
static int find_in(struct cli *c, const char *partner, const char *id, struct found_job **out)
{
	static const enum job_place order[] = { JOB_READY, JOB_IN_FLIGHT, JOB_DELAYED, JOB_READY,
						JOB_IN_FLIGHT };
	struct job_filter f = { .integration = -1, .id = id };
	struct found_job *j = mem_new(struct found_job);
	struct err err = { 0 };
	int rc = view_open(c, partner, &j->view);

	if (rc) {
		free(j);
		return rc;
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(*order) && rc == 0; i++)
		rc = queue_look(j->view.queue, order[i], &f, keep, j, &err);
	if (rc == 1)
		*out = j;
	else
		found_job_free(j);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
}

static int find_alive(struct cli *c, const char *id, struct found_job **out)
{
	int rc = find_in(c, LONGSHORE_PARTNER, id, out);

	for (int i = 0; i < driver_set_count(c->drivers) && rc == 0 && !*out; i++)
		rc = find_in(c, driver_at(c->drivers, i)->manifest->partner, id, out);
	return rc;
}

/* By the letter's id, or by the job's: then the newest letter of those that Redis and Postgres still have. */
static int find_letter(struct cli *c, const char *id, struct letters *all,
		       const struct letter **out)
{
	struct letter_filter f = { .id = id, .limit = 1 };
	int rc = letters_find(c, &f, all);

	if (rc == 0 && all->n == 0) {
		f = (struct letter_filter){ .limit = 10000 };
		rc = letters_find(c, &f, all);
	}
	for (int i = 0; i < all->n && rc == 0 && !*out; i++) {
		const char *job = all->v[i].tree ? json_str(all->v[i].tree, "job") : NULL;

		if (strcmp(all->v[i].id, id) == 0 || (job && strcmp(job, id) == 0))
			*out = &all->v[i];
	}
	return rc;
}

static int not_found(const struct cli *c, const char *id)
{
	return cli_fail(
		c, EXIT_NOT_FOUND,
		"no job \"%s\" is ready, delayed, in flight or dead: it was done, or never was",
		id);
}

int job_find(struct cli *c, const char *id, struct found_job **out)
{
	struct letters dead = { 0 };
	const struct letter *l = NULL;
	int rc = find_alive(c, id, out);

	if (rc || *out)
		return rc;
	rc = find_letter(c, id, &dead, &l);
	if (rc == 0 && l)
		rc = cli_fail(c, EXIT_FAILED,
			      "job %s is dead: `longshore dead replay %s` runs it again, `longshore"
			      " dead discard %s` gives it up",
			      id, l->id, l->id);
	else if (rc == 0)
		rc = not_found(c, id);
	letters_clear(&dead);
	return rc;
}

/* ---- why ---- */

static void add_reason(cJSON *why, char *text)
{
	cJSON_AddItemToArray(why, cJSON_CreateString(text));
	free(text);
}

/* What Postgres knows of a pause. */
static int why_paused(struct cli *c, const struct found_job *j, cJSON *why, struct err *err)
{
	struct partner_state state = { 0 };
	struct integration i = { 0 };
	int rc = partner_state_get(c->pg, j->view.partner, &state, err);

	if (rc == 0 && state.paused && state.pause_reason)
		add_reason(why,
			   mem_printf("%s was paused: %s", j->view.partner, state.pause_reason));
	partner_state_clear(&state);
	if (rc < 0 || !j->seen.integration)
		return rc;
	rc = integration_get(c->pg, j->seen.integration, &i, err);
	if (rc < 0) {
		add_reason(why, mem_printf("there is no integration %lld",
					   (long long)j->seen.integration));
		return rc == -ENOENT ? 0 : rc;
	}
	if (strcmp(i.status, "active") != 0)
		add_reason(why, mem_printf("integration %lld is %s%s%s", (long long)i.id, i.status,
					   i.status_reason ? ": " : "",
					   i.status_reason ? i.status_reason : ""));
	integration_clear(&i);
	return 0;
}

/* A hold of the limiter (Retry-After …), by the names that the call door gives its scopes: HOST:partner, HOST:iID. */
static int why_limited(struct cli *c, const struct found_job *j, const char *base, cJSON *why,
		       struct err *err)
{
	const char *host = strstr(base, "://");
	char scope[2][200];
	int rc = 0;

	host = host ? host + 3 : base;
	int n = (int)strcspn(host, "/");
	snprintf(scope[0], sizeof(scope[0]), "limit:{%s}:%.*s:partner:hold", j->view.partner, n,
		 host);
	snprintf(scope[1], sizeof(scope[1]), "limit:{%s}:%.*s:i%lld:hold", j->view.partner, n, host,
		 (long long)j->seen.integration);
	for (int s = 0; s < 2 && rc == 0; s++) {
		redisReply *ttl = NULL, *text = NULL;

		rc = redis_callv(c->redis, &ttl, cli_deadline(), err, "PTTL", scope[s], NULL);
		if (rc == 0)
			rc = redis_callv(c->redis, &text, cli_deadline(), err, "GET", scope[s],
					 NULL);
		if (rc == 0 && ttl->integer > 0)
			add_reason(why,
				   mem_printf("calls to %.*s are held for %.1f s more: %s", n, host,
					      (double)ttl->integer / 1000,
					      text->type == REDIS_REPLY_STRING ? text->str : ""));
		freeReplyObject(ttl);
		freeReplyObject(text);
	}
	return rc;
}

static int why_integration(struct cli *c, const struct found_job *j, cJSON *why, struct err *err)
{
	const struct driver *d = driver_find(c->drivers, j->view.partner);
	struct integration i = { 0 };
	const char *base;
	int rc = why_paused(c, j, why, err);

	if (rc < 0 || !j->seen.integration || !d)
		return rc;
	if (integration_get(c->pg, j->seen.integration, &i, err) < 0)
		return 0; /* said above */
	base = i.environment && strcmp(i.environment, "sandbox") == 0
		       ? d->manifest->base_sandbox
		       : d->manifest->base_production;
	base = i.base_url ? i.base_url : base;
	rc = base ? why_limited(c, j, base, why, err) : 0;
	integration_clear(&i);
	return rc;
}

static int why_row(struct cli *c, const struct found_job *j, cJSON *why, struct err *err)
{
	struct job_way w;
	int rc = queue_way(j->view.queue, &j->seen, &w, err);

	if (rc < 0)
		return rc;
	if (w.before_row < 0)
		add_reason(why, mem_strdup("it has moved on while this was read"));
	else if (w.before_row > 0)
		add_reason(why,
			   mem_printf("%lld jobs of integration %lld stand before it in its lane",
				      (long long)w.before_row, (long long)j->seen.integration));
	if (w.before_lane > 0)
		add_reason(why,
			   mem_printf("%lld jobs stand in higher lanes", (long long)w.before_lane));
	if (cJSON_GetArraySize(why) == 0)
		add_reason(
			why,
			mem_strdup(
				"nothing is in its way: it is taken at its integration's next turn"));
	return 0;
}

static void why_delayed(const struct found_job *j, cJSON *why)
{
	char iso[CLOCK_ISO_MAX];
	int64_t in = j->seen.due_ms - j->view.now_ms;

	if (in > 0)
		add_reason(why, mem_printf("delayed until %s, %.1f s from now%s",
					   clock_iso(j->seen.due_ms, iso), (double)in / 1000,
					   j->seen.header.attempts ? ", after a failure" : ""));
	else
		add_reason(why, mem_strdup("due since now: a scheduler promotes it within a second;"
					   " is one running?"));
}

static int add_reasons(struct cli *c, const struct found_job *j, cJSON *why)
{
	struct err err = { 0 };
	int rc = 0;

	if (j->seen.place == JOB_IN_FLIGHT)
		return 0;
	if (j->seen.place == JOB_DELAYED)
		why_delayed(j, why);
	view_reasons(&j->view, j->seen.integration, why);
	rc = why_integration(c, j, why, &err);
	if (rc == 0 && j->seen.place == JOB_READY)
		rc = why_row(c, j, why, &err);
	return rc < 0 ? cli_error(c, rc, &err, "job show") : 0;
}

/* ---- describing ---- */

static void add_payload(cJSON *o, const char *p, size_t len)
{
	struct buf clean = BUF_INIT;
	cJSON *job = NULL;

	if (json_parse(p, len, JOB_MAX_BYTES, &job, NULL) == 0) {
		cJSON_AddItemToObject(o, "payload", job);
		return;
	}
	utf8_append_clean(&clean, p, len);
	json_add_text(o, "payload_text", buf_str(&clean));
	buf_clear(&clean);
}

static int describe_alive(struct cli *c, const struct found_job *j, cJSON **out)
{
	const struct job_seen *s = &j->seen;
	cJSON *o = job_row(&j->view, s), *why = cJSON_CreateArray();
	struct buf header = BUF_INIT;
	int rc = add_reasons(c, j, why);

	if (rc) {
		cJSON_Delete(o);
		cJSON_Delete(why);
		return rc;
	}
	cJSON_ReplaceItemInObject(o, "why", why);
	json_add_text(o, "job", s->header.id);
	json_add_int(o, "crashes", s->header.crashes);
	json_add_time(o, "first_seen", s->header.born_ms);
	json_add_text(o, "lease", s->lease);
	job_header_print(&s->header, &header);
	json_add_text(o, "header", buf_str(&header));
	buf_clear(&header);
	add_payload(o, s->payload, s->payload_len);
	*out = o;
	return 0;
}

cJSON *letter_row(const struct letter *l, int64_t now_ms)
{
	static const char *const keys[] = { "task", "integration_id", "attempts", "worker" };
	cJSON *row = cJSON_CreateObject();
	const char *job = l->tree ? json_str(l->tree, "job") : NULL;
	int64_t born = 0;

	json_add_text(row, "id", job ? job : l->id);
	json_add_text(row, "letter", l->id);
	json_add_text(row, "queue", l->partner);
	json_add_text(row, "state", "dead");
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const cJSON *v = l->tree ? json_path(l->tree, keys[i]) : NULL;

		cJSON_AddItemToObject(row, keys[i],
				      v ? cJSON_Duplicate(v, true) : cJSON_CreateNull());
	}
	if (l->tree && !json_int(l->tree, "first_seen", &born))
		born = 0;
	cJSON_AddNumberToObject(row, "age_s",
				born && now_ms > born ? (double)(now_ms - born) / 1000 : 0);
	json_add_time(row, "since", l->failed_at_ms);
	cJSON_AddNullToObject(row, "due");
	json_add_text(row, "why", l->tree ? json_str(l->tree, "error") : NULL);
	return row;
}

static int describe_dead(struct cli *c, const char *id, cJSON **out)
{
	struct letters dead = { 0 };
	const struct letter *l = NULL;
	int rc = find_letter(c, id, &dead, &l);

	if (rc == 0 && !l)
		rc = not_found(c, id);
	if (rc == 0) {
		cJSON *why = cJSON_CreateArray();

		*out = letter_row(l, redis_now_ms(c->redis));
		add_reason(why,
			   mem_printf("dead since then: %s; see `longshore dead show %s`",
				      json_str(*out, "why") ? json_str(*out, "why") : "no text",
				      l->id));
		cJSON_ReplaceItemInObject(*out, "why", why);
	}
	letters_clear(&dead);
	return rc;
}

int job_describe(struct cli *c, const char *id, cJSON **out)
{
	struct found_job *j = NULL;
	int rc = find_alive(c, id, &j);

	if (rc == 0)
		rc = j ? describe_alive(c, j, out) : describe_dead(c, id, out);
	found_job_free(j);
	return rc;
}
