/* longshore webhook: where partners send what happens there, and what became of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/enrol.h"
#include "drivers/kit/event_again.h"
#include "scheduler/cli/cli.h"
#include "scheduler/cli/driver_door.h"

#define ROUND 200 /* events of one round of a replay */

static const char *public_url, *partner, *integration, *since, *state;

/* ---- options ---- */

static struct config_option text(const char *name, const char *value_name, const char *help,
				 const char **out)
{
	return (struct config_option){
		.name = name, .value_name = value_name, .help = help, .out = out
	};
}

int options_webhook(struct config_option *out)
{
	out[0] = text("public-url", "URL", "the scheduler's address as partners see it",
		      &public_url);
	out[0].env = "LONGSHORE_PUBLIC_URL";
	return 1;
}

int options_webhook_list(struct config_option *out)
{
	out[0] = text("partner", "P", "of one partner", &partner);
	return 1;
}

int options_webhook_replay(struct config_option *out)
{
	out[0] = text("partner", "P", "of one partner", &partner);
	out[1] = text("integration", "ID", "of one integration", &integration);
	out[2] = text("since", "TIME", "that came in since then: a time, or 2h ago", &since);
	out[3] = text("state", "S",
		      "of this state, or any (default: failed, unmatched and unknown)", &state);
	return 4;
}

/* ---- registrations ---- */

static int url_read(struct cli *c, char **out)
{
	size_t n = public_url ? strlen(public_url) : 0;

	if (!n)
		return 0;
	if ((strncmp(public_url, "https://", 8) && strncmp(public_url, "http://", 7)) ||
	    public_url[strcspn(public_url, " \t\r\n?#")])
		return cli_misused(c, "--public-url \"%s\": https://HOST is expected", public_url);
	while (n && public_url[n - 1] == '/')
		n--;
	*out = mem_strndup(public_url, n);
	return 0;
}

struct target {
	struct driver_door door;
	struct enrol e;
	char *url;
};

/* The integration's own partner is not named by the command: it is looked up first. */
static int target_open(struct cli *c, struct target *t)
{
	struct integration i = { 0 };
	const struct driver *d = NULL;
	struct err err = { 0 };
	int64_t id;
	int rc = parse_id(c, "integration", c->words[0], &id);

	memset(t, 0, sizeof(*t));
	if (rc == 0)
		rc = url_read(c, &t->url);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, id, &i, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	rc = cli_driver(c, i.partner, &d);
	integration_clear(&i);
	if (rc == 0)
		rc = driver_door_open(c, d, c->words[0], &t->door);
	if (rc)
		return rc;
	/* Calls of a partner without auth need none; the webhook's secret does, and its absence is told there. */
	if (!t->door.keys && keyring_load(c->common.secret_key_file, &t->door.keys, &err) < 0)
		t->door.keys = NULL;
	t->e = (struct enrol){
		.c = &t->door.caller, .pg = c->pg, .keyring = t->door.keys, .public_url = t->url
	};
	return 0;
}

static void target_close(struct target *t, bool opened)
{
	if (opened)
		driver_door_close(&t->door);
	free(t->url);
}

static void add_noted(struct cli *c, cJSON *o, int64_t id)
{
	struct webhook_registration r = { 0 };
	struct err err = { 0 };

	if (webhook_registration_get(c->pg, id, &r, &err) == 0) {
		json_add_text(o, "callback_url", r.callback_url);
		json_add_text(o, "webhook_id", r.webhook_id);
		json_add_text(o, "state", r.state);
	}
	webhook_registration_clear(&r);
}

int cmd_webhook_register(struct cli *c)
{
	struct err err = { 0 };
	enum enrolment how = ENROLLED_NEW;
	struct target t;
	int rc = target_open(c, &t);
	bool opened = rc == 0;
	cJSON *o;

	if (rc == 0) {
		rc = enrol(&t.e, &how, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
	}
	if (rc == 0) {
		o = cJSON_CreateObject();
		json_add_int(o, "integration_id", t.door.integration.id);
		json_add_text(o, "result", enrolment_name(how));
		add_noted(c, o, t.door.integration.id);
		rc = out_object(c, o);
	}
	target_close(&t, opened);
	return rc;
}

int cmd_webhook_verify(struct cli *c)
{
	struct err err = { 0 };
	char why[160] = "";
	bool stands = false;
	struct target t;
	int rc = target_open(c, &t);
	bool opened = rc == 0;

	if (rc == 0) {
		rc = enrol_look(&t.e, &stands, why, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
	}
	if (rc == 0 && stands) {
		cJSON *o = cJSON_CreateObject();

		json_add_int(o, "integration_id", t.door.integration.id);
		json_add_text(o, "result", "stands");
		json_add_text(o, "reason", *why ? why : NULL);
		add_noted(c, o, t.door.integration.id);
		rc = out_object(c, o);
	} else if (rc == 0) {
		rc = cli_fail(c, EXIT_FAILED,
			      "webhook verify: %s; `longshore webhook register %s` repairs it", why,
			      c->words[0]);
	}
	target_close(&t, opened);
	return rc;
}

int cmd_webhook_remove(struct cli *c)
{
	struct err err = { 0 };
	bool told = false;
	struct target t;
	int rc = target_open(c, &t);
	bool opened = rc == 0;

	if (rc == 0) {
		rc = enrol_remove(&t.e, &told, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
	}
	if (rc == 0) {
		cJSON *o = cJSON_CreateObject();

		json_add_int(o, "integration_id", t.door.integration.id);
		json_add_text(
			o, "result",
			told ? "removed"
			     : "forgotten: the manifest has no call to remove it, so remove it at the partner");
		rc = out_object(c, o);
	}
	target_close(&t, opened);
	return rc;
}

static void add_registration(const struct webhook_registration *r, const char *of, void *arg)
{
	cJSON *o = cJSON_CreateObject();

	json_add_int(o, "integration_id", r->integration_id);
	json_add_text(o, "partner", of);
	json_add_text(o, "state", r->state);
	json_add_text(o, "reason", r->reason);
	json_add_text(o, "callback_url", r->callback_url);
	json_add_text(o, "webhook_id", r->webhook_id);
	json_add_time(o, "registered_at", r->registered_ms);
	json_add_time(o, "checked_at", r->checked_ms);
	cJSON_AddItemToArray(arg, o);
}

int cmd_webhook_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "INTEGRATION", "integration_id", true },
		{ "PARTNER", "partner", false },
		{ "STATE", "state", false },
		{ "WEBHOOK", "webhook_id", false },
		{ "URL", "callback_url", false },
		{ "CHECKED", "checked_at", false },
		{ "REASON", "reason", false },
	};
	struct err err = { 0 };
	cJSON *list;
	int rc = cli_pg(c);

	if (rc)
		return rc;
	list = cJSON_CreateArray();
	rc = webhook_registration_each(c->pg, partner, false, add_registration, list, &err);
	if (rc < 0) {
		cJSON_Delete(list);
		return cli_error(c, rc, &err, c->command->name);
	}
	return out_list(c, list, columns, (int)ARRAY_LEN(columns),
			"no webhook is registered: longshore webhook register INTEGRATION");
}

/* ---- replay ---- */

struct replay {
	struct webhook_filter f;
	struct queue *queues[64];
	int n_queues, queued, refused;
};

static int read_filter(struct cli *c, struct webhook_filter *f)
{
	enum webhook_state s;
	int64_t since_ms = 0;
	int rc = 0;

	*f = (struct webhook_filter){ .partner = partner,
				      .limit = ROUND,
				      .states = 1U << WEBHOOK_FAILED | 1U << WEBHOOK_UNMATCHED |
						1U << WEBHOOK_UNKNOWN };
	if (c->n_words) {
		f->event_id = c->words[0];
		f->states = 0;
	}
	if (state && strcmp(state, "any") == 0)
		f->states = 0;
	else if (state && webhook_state_parse(state, &s) < 0)
		rc = cli_misused(
			c,
			"--state: received, waiting, unmatched, done, coalesced, stale, ignored, unknown, failed or any, not \"%s\"",
			state);
	else if (state)
		f->states = 1U << s;
	if (rc == 0 && integration)
		rc = parse_id(c, "--integration", integration, &f->integration_id);
	if (rc == 0 && since)
		rc = parse_since(c, "--since", since, &since_ms);
	f->since_us = since_ms * 1000;
	if (rc == 0 && !c->n_words && !partner && !integration && !since)
		rc = cli_misused(
			c,
			"which events? give an id, or at least one of --since --partner --integration");
	return rc;
}

/* NULL: more partners than a command has room for. */
static struct queue *queue_of(struct cli *c, struct replay *r, const char *of)
{
	for (int i = 0; i < r->n_queues; i++)
		if (strcmp(queue_partner(r->queues[i]), of) == 0)
			return r->queues[i];
	if (r->n_queues == (int)ARRAY_LEN(r->queues))
		return NULL;
	return r->queues[r->n_queues++] = queue_new(c->redis, of, NULL);
}

static int replay_one(struct cli *c, struct replay *r, const struct webhook_seen *v)
{
	struct queue *q = queue_of(c, r, v->e.partner);
	struct err err = { 0 };
	int rc = q ? event_again(q, c->pg, v, "replayed", cli_deadline(), &err) : -ENOSPC;

	if (rc == 0)
		r->queued++;
	else if (rc == -ENODATA || rc == -ENOSPC) {
		if (r->refused++ == 0)
			cli_fail(c, EXIT_FAILED, "%s: %s", v->e.event_id,
				 rc == -ENOSPC ? "of too many partners: give --partner" : err.text);
	} else if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	return 0;
}

/* One round; *n: how many there were. */
static int replay_round(struct cli *c, struct replay *r, char **last, int *n)
{
	struct webhook_list l = { 0 };
	struct err err = { 0 };
	int rc = webhook_each(c->pg, &r->f, &l, &err);

	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	*n = l.n;
	for (int i = 0; i < l.n && rc == 0; i++)
		rc = replay_one(c, r, &l.v[i]);
	if (l.n) {
		const struct webhook_event *e = &l.v[l.n - 1].e;

		r->f.after_us = e->received_us;
		r->f.after_integration = e->integration_id;
		free(*last);
		r->f.after_id = *last = mem_strdup(e->event_id);
	}
	webhook_list_clear(&l);
	return rc;
}

int cmd_webhook_replay(struct cli *c)
{
	struct replay r = { 0 };
	char *last = NULL;
	int n = 0, seen = 0, rc = read_filter(c, &r.f);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = cli_redis(c);
	do {
		if (rc == 0)
			rc = replay_round(c, &r, &last, &n);
		seen += n;
	} while (rc == 0 && n == ROUND);
	for (int i = 0; i < r.n_queues; i++)
		queue_free(r.queues[i]);
	free(last);
	if (rc)
		return rc;
	if (c->n_words && !seen)
		return cli_fail(c, EXIT_NOT_FOUND, "there is no event \"%s\"", c->words[0]);
	out_value(c, "replayed", cJSON_CreateNumber(r.queued));
	if (r.refused)
		return cli_fail(c, EXIT_FAILED, "%d events could not be replayed", r.refused);
	return EXIT_OK;
}
