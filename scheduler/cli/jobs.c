#include "scheduler/cli/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/loop.h"

#define ADMIT_MAX 100000

int parse_queue(struct cli *c, const char *text, struct queue_name *out)
{
	const struct driver *d;
	const char *colon = strchr(text, ':');
	int n = colon ? (int)(colon - text) : (int)strlen(text);

	*out = (struct queue_name){ .lane = 0 };
	if (n >= (int)sizeof(out->partner))
		return cli_misused(c, "\"%s\" is no queue: PARTNER, PARTNER:high, PARTNER:low",
				   text);
	snprintf(out->partner, sizeof(out->partner), "%.*s", n, text);
	if (colon && lane_parse(colon + 1, &out->lane) < 0)
		return cli_misused(c, "a lane is high, normal or low, not \"%s\"", colon + 1);
	return cli_driver(c, out->partner, &d);
}

/* ---- view ---- */

struct serving {
	const char *partner;
	int n;
};

static void count_server(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	struct serving *s = arg;
	cJSON *info = NULL;
	const cJSON *p;

	if (!info_json ||
	    json_parse(info_json, strlen(info_json), FLEET_INFO_MAX_BYTES, &info, NULL) < 0)
		return;
	cJSON_ArrayForEach (p, json_path(info, "partners")) {
		if (cJSON_IsString(p) && strcmp(p->valuestring, s->partner) == 0)
			s->n++;
	}
	cJSON_Delete(info);
}

int view_open(struct cli *c, const char *partner, struct view *out)
{
	struct view v = { .partner = partner, .now_ms = redis_now_ms(c->redis) };
	struct serving s = { .partner = partner };
	struct queue_depth d = { 0 };
	struct err err = { 0 };
	int rc;

	v.queue = queue_new(c->redis, partner, NULL);
	rc = queue_admit(v.queue, ADMIT_MAX, NULL, cli_deadline(), &err);
	if (rc == 0)
		rc = queue_shares(v.queue, &v.shares, &err);
	if (rc == 0)
		rc = queue_depth(v.queue, &d, cli_deadline(), &err);
	if (rc == 0)
		rc = breaker_list(v.queue, true, &v.breakers, cli_deadline(), &err);
	if (rc == 0)
		rc = breaker_homes(v.queue, &v.homes, cli_deadline(), &err);
	if (rc == 0)
		rc = fleet_each(c->redis, count_server, &s, cli_deadline(), &err);
	if (rc < 0) {
		view_close(&v);
		return cli_error(c, rc, &err, c->command->name);
	}
	v.in_flight = d.in_flight;
	v.servers = s.n;
	*out = v;
	return 0;
}

void view_close(struct view *v)
{
	queue_free(v->queue);
	free(v->shares.v);
	breaker_list_clear(&v->breakers);
	breaker_homes_clear(&v->homes);
	*v = (struct view){ 0 };
}

struct share_seen view_share(const struct view *v, int64_t integration)
{
	for (int i = 0; i < v->shares.n; i++) {
		if (v->shares.v[i].integration == integration)
			return v->shares.v[i];
	}
	return (struct share_seen){ .integration = integration,
				    .cap = integration ? v->shares.default_cap : -1 };
}

static void reason(cJSON *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void reason(cJSON *to, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	cJSON_AddItemToArray(to, cJSON_CreateString(buf_str(&b)));
	buf_clear(&b);
}

/* That of the host it calls, unless it is closed; NULL. */
static const struct breaker_seen *shut(const struct view *v, int64_t integration)
{
	const char *host = breaker_home(&v->homes, integration);
	const struct breaker_seen *b = host ? breaker_find(&v->breakers, host) : NULL;

	return b && b->state != BREAKER_CLOSED ? b : NULL;
}

static void breaker_reasons(const struct view *v, int64_t integration, cJSON *reasons)
{
	for (int i = 0; i < v->breakers.n; i++) {
		const struct breaker_seen *b = &v->breakers.v[i];
		char *text;

		if (integration ? b != shut(v, integration) : b->state == BREAKER_CLOSED)
			continue;
		text = breaker_reason(v->partner, b);
		cJSON_AddItemToArray(reasons, cJSON_CreateString(text));
		free(text);
	}
}

bool view_holds(const struct view *v, int64_t integration)
{
	return !v->shares.no_control &&
	       (v->shares.partner_cap == 0 || view_share(v, integration).cap == 0 ||
		shut(v, integration));
}

void view_reasons(const struct view *v, int64_t integration, cJSON *reasons)
{
	struct share_seen s = view_share(v, integration);

	if (v->shares.no_control) {
		reason(reasons,
		       "nothing of %s was ever claimed: its caps are not in Redis yet; the first"
		       " worker that serves it writes them",
		       v->partner);
	} else {
		if (v->shares.partner_cap == 0)
			reason(reasons, "%s is paused", v->partner);
		else if (v->in_flight >= v->shares.partner_cap)
			reason(reasons, "%s is at its cap: %lld of %lld jobs in flight", v->partner,
			       (long long)v->in_flight, (long long)v->shares.partner_cap);
		if (s.cap == 0)
			reason(reasons, "integration %lld is paused", (long long)integration);
		else if (s.cap > 0 && s.busy >= s.cap)
			reason(reasons,
			       "integration %lld is at its cap: %lld of %lld jobs in flight",
			       (long long)integration, (long long)s.busy, (long long)s.cap);
	}
	breaker_reasons(v, integration, reasons);
	if (v->servers == 0)
		reason(reasons, "no live worker serves %s", v->partner);
}

/* ---- rows ---- */

const char *place_name(enum job_place p)
{
	return p == JOB_READY ? "ready" : p == JOB_DELAYED ? "delayed" : "in_flight";
}

static void add_queue_name(cJSON *row, const char *partner, enum lane lane)
{
	char *name = lane == LANE_NORMAL ? mem_strdup(partner)
					 : mem_printf("%s:%s", partner, lane_name(lane));

	json_add_text(row, "queue", name);
	free(name);
}

static void add_why(cJSON *row, const struct view *v, const struct job_seen *j)
{
	cJSON *reasons = cJSON_CreateArray();

	if (j->place == JOB_READY)
		view_reasons(v, j->integration, reasons);
	json_add_text(row, "why",
		      cJSON_GetArraySize(reasons) ? cJSON_GetArrayItem(reasons, 0)->valuestring
						  : NULL);
	cJSON_Delete(reasons);
}

cJSON *job_row(const struct view *v, const struct job_seen *j)
{
	cJSON *row = cJSON_CreateObject(), *job = NULL;
	bool held = j->place == JOB_READY && view_holds(v, j->integration);
	const char *own;

	if (json_parse(j->payload, j->payload_len, JOB_MAX_BYTES, &job, NULL) < 0)
		job = NULL;
	own = job ? json_str(job, "id") : NULL;
	json_add_text(row, "id", own && *own ? own : j->header.id);
	add_queue_name(row, v->partner, j->lane);
	json_add_text(row, "task", job ? json_str(job, "task") : NULL);
	json_add_int(row, "integration_id", j->integration);
	json_add_text(row, "state", held ? "held" : place_name(j->place));
	cJSON_AddNumberToObject(row, "age_s",
				j->header.born_ms && v->now_ms > j->header.born_ms
					? (double)(v->now_ms - j->header.born_ms) / 1000
					: 0);
	json_add_int(row, "attempts", j->header.attempts);
	json_add_text(row, "worker", *j->epoch ? j->epoch : NULL);
	/* A process that claims very fast numbers its leases ahead of the clock. */
	json_add_time(row, "since", j->since_ms > v->now_ms ? v->now_ms : j->since_ms);
	json_add_time(row, "due", j->due_ms);
	add_why(row, v, j);
	cJSON_Delete(job);
	return row;
}
