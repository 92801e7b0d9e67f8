#include "drivers/kit/outbound.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/card.h"
#include "common/base/config.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "drivers/kit/action.h"

#define SEEN_MS (7 * 24 * 3600 * 1000LL)
#define NAMES_MAX 64

/* ---- identity ---- */

static void hash_text(const char *kind, const char *text, size_t len, struct buf *out)
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	crypto_sha256(text, len, digest);
	crypto_hex(digest, sizeof(digest), hex);
	buf_printf(out, "%s:%s", kind, hex);
}

static void print_sorted(const cJSON *args, struct buf *out)
{
	cJSON *copy = args ? cJSON_Duplicate(args, true) : NULL;

	if (!copy)
		return;
	json_sort(copy);
	json_print(copy, out);
	cJSON_Delete(copy);
}

void outbound_fingerprint(const cJSON *args, struct buf *out)
{
	struct buf text = BUF_INIT;

	print_sorted(args, &text);
	hash_text("args", buf_str(&text), text.len, out);
	buf_clear(&text);
}

void outbound_fingerprint_before(const cJSON *args, struct buf *out)
{
	struct buf text = BUF_INIT;

	if (args)
		json_print(args, &text);
	hash_text("args", buf_str(&text), text.len, out);
	buf_clear(&text);
}

/* The version before took the fingerprint of the args as they were written. */
static bool has_args(const struct request *row, const cJSON *args)
{
	struct buf print = BUF_INIT, then = BUF_INIT, now = BUF_INIT;
	cJSON *job = NULL;
	bool same;

	outbound_fingerprint(args, &print);
	same = strcmp(row->fingerprint, buf_str(&print)) == 0;
	if (!same && json_parse(row->job, strlen(row->job), JOB_MAX_BYTES, &job, NULL) == 0) {
		print_sorted(cJSON_GetObjectItemCaseSensitive(job, "args"), &then);
		print_sorted(args, &now);
		same = strcmp(buf_str(&then), buf_str(&now)) == 0;
		cJSON_Delete(job);
	}
	buf_clear(&print);
	buf_clear(&then);
	buf_clear(&now);
	return same;
}

int outbound_check_same(const struct request *row, const cJSON *args, bool by_key, struct err *err)
{
	if (has_args(row, args))
		return 0;
	if (by_key)
		return err_set(err, -EEXIST, ERR_BAD_JOB, "idempotency_key",
			       "request %lld has this key and other args: a key is for one request",
			       (long long)row->id);
	return err_set(
		err, -EEXIST, ERR_BAD_JOB, "once",
		"request %lld is this one by what the manifest says (\"once\" of %s), and has other args",
		(long long)row->id, row->action);
}

int outbound_entry(const struct manifest_action *a, int64_t integration_id, const cJSON *in,
		   const char *idempotency_key, const char *origin, struct buf *out,
		   struct err *err)
{
	struct buf text = BUF_INIT;
	char id[ID_LEN + 1];
	int rc = 0;

	buf_printf(&text, "%lld\n%s\n", (long long)integration_id, a->name);
	if (in && a->once) {
		rc = action_once(a, in, &text, err);
		if (rc == 0)
			hash_text("once", text.data, text.len, out);
	} else if (in && idempotency_key) {
		buf_puts(&text, idempotency_key);
		hash_text("key", text.data, text.len, out);
	} else {
		id_new(id);
		buf_printf(out, "%s:%s", origin ? "job" : "http", origin ? origin : id);
	}
	buf_clear(&text);
	return rc;
}

/* ---- into the queue ---- */

static int queue_row(struct redis *r, const struct request_due *v, int64_t deadline_ms,
		     struct err *err)
{
	struct queue *q = queue_new(r, v->partner, NULL);
	struct queue_push push = { .lane = LANE_NORMAL,
				   .integration = v->integration_id,
				   .payload = v->job,
				   .len = strlen(v->job) };
	char id[JOB_ID_MAX];
	bool fresh;
	int rc;

	if (lane_parse(v->lane, &push.lane) < 0)
		push.lane = LANE_NORMAL;
	snprintf(id, sizeof(id), REQUEST_JOB, (long long)v->id, (long long)v->times + 1);
	push.id = id;
	rc = queue_enqueue_once(q, &push, SEEN_MS, &fresh, deadline_ms, err);
	queue_free(q);
	return rc;
}

int outbound_queue(struct redis *r, struct pg *p, const struct request_due *v, int n, int *n_queued,
		   int64_t deadline_ms, struct err *err)
{
	int rc = 0;

	*n_queued = 0;
	for (int i = 0; i < n && rc == 0; i++) {
		rc = queue_row(r, &v[i], deadline_ms, err);
		if (rc == 0)
			rc = request_queued(p, v[i].id, v[i].times, err);
		if (rc == 0)
			++*n_queued;
	}
	return rc;
}

void outbound_queue_one(struct redis *r, struct pg *p, int64_t id, int64_t deadline_ms)
{
	struct request_due *v = NULL;
	struct err err = { 0 };
	int n = 0, queued = 0, rc = request_due_one(p, id, &v, &n, &err);

	if (rc == 0)
		rc = outbound_queue(r, p, v, n, &queued, deadline_ms, &err);
	if (rc < 0)
		log_event(LOG_INFO, "request_queued_later", LI("request", id),
			  LS("reason", err.text));
	request_due_free(v, n);
}

/* ---- entry ---- */

static int no_action(const struct manifest *m, const char *action, struct err *err)
{
	const char *names[NAMES_MAX] = { NULL }, *near;
	struct buf all = BUF_INIT;
	int n = m->n_actions < NAMES_MAX ? m->n_actions : NAMES_MAX;

	for (int i = 0; i < n; i++) {
		names[i] = m->actions[i].name;
		buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
	}
	near = config_nearest(action, names, n);
	if (!n)
		err_set(err, 0, ERR_BAD_JOB, "action", "%s has no actions", m->partner);
	else if (near)
		err_set(err, 0, ERR_BAD_JOB, "action",
			"%s has no action \"%.60s\"; did you mean \"%s\"?", m->partner, action,
			near);
	else
		err_set(err, 0, ERR_BAD_JOB, "action", "%s has no action \"%.60s\": there are %s",
			m->partner, action, buf_str(&all));
	buf_clear(&all);
	return -EINVAL;
}

/* The driver as this integration has it. */
static int find_action(const struct driver_set *drivers, const struct integration *i,
		       const char *action, const struct manifest_action **out, struct err *err)
{
	const struct driver *d = driver_find(drivers, i->partner);

	if (!d)
		return err_set(err, -EINVAL, ERR_BAD_JOB, "partner", "there is no driver for %s",
			       i->partner);
	d = driver_for(d, i->id, i->settings, NULL, err);
	if (!d)
		return -EINVAL;
	*out = manifest_action(d->manifest, action);
	return *out ? 0 : no_action(d->manifest, action, err);
}

static void print_job(const struct outbound_ask *ask, struct buf *out)
{
	job_print(out, ask->action, ask->integration_id, ask->args, 0, NULL);
	out->len--; /* the brace */
	if (ask->max_retries >= 0)
		buf_printf(out, ",\"max_retries\":%lld", (long long)ask->max_retries);
	if (ask->expires_in_s)
		buf_printf(out, ",\"expires_in\":%lld", (long long)ask->expires_in_s);
	buf_putc(out, '}');
}

/* Where a card number stands; not by its name, where that is one. */
static bool holds_card(const cJSON *args, const char *key, struct buf *where)
{
	const cJSON *v;

	if (key && card_is_in(key, strlen(key))) {
		buf_puts(where, "idempotency_key");
		return true;
	}
	if (!args || !card_is_in_json(args))
		return false;
	buf_puts(where, "args");
	cJSON_ArrayForEach (v, args)
		if (card_is_in_json(v) && !card_is_in(v->string, strlen(v->string))) {
			buf_printf(where, ".%.60s", v->string);
			break;
		}
	return true;
}

int outbound_refuse_card(const cJSON *args, const char *idempotency_key, struct err *err)
{
	struct buf where = BUF_INIT;
	int rc = 0;

	if (holds_card(args, idempotency_key, &where))
		rc = err_set(
			err, -EKEYREJECTED, ERR_BAD_JOB, "card number",
			"%s holds a card number: have the partner make a token of the card, and send that",
			buf_str(&where));
	buf_clear(&where);
	return rc;
}

static int write_row(struct pg *p, const struct manifest_action *a, const struct integration *i,
		     const struct outbound_ask *ask, const cJSON *in, int64_t *id, bool *fresh,
		     struct err *err)
{
	struct buf entry = BUF_INIT, print = BUF_INIT, job = BUF_INIT;
	struct request found = { 0 };
	struct request_new n = { .partner = i->partner,
				 .action = a->name,
				 .lane = ask->lane ? ask->lane : "normal",
				 .idempotency_key = ask->idempotency_key,
				 .source = "http",
				 .integration_id = i->id,
				 .steps = a->n_steps,
				 .deadline_in_ms = a->deadline_ms };
	int rc = outbound_entry(a, i->id, in, ask->idempotency_key, NULL, &entry, err);

	outbound_fingerprint(ask->args, &print);
	print_job(ask, &job);
	n.entry = buf_str(&entry);
	n.fingerprint = buf_str(&print);
	n.job = buf_str(&job);
	if (rc == 0)
		rc = request_add(p, &n, id, err);
	*fresh = rc == 0 && *id;
	if (rc == 0 && !*id) {
		struct request_who who = { .partner = i->partner,
					   .entry = n.entry,
					   .integration_id = i->id,
					   .action = a->name,
					   .idempotency_key = ask->idempotency_key };

		rc = request_find(p, &who, &found, err);
		*id = found.id;
		if (rc == 0)
			rc = outbound_check_same(&found, ask->args, ask->idempotency_key, err);
	}
	request_clear(&found);
	buf_clear(&entry);
	buf_clear(&print);
	buf_clear(&job);
	return rc;
}

int outbound_add(struct pg *p, const struct driver_set *drivers, const struct outbound_ask *ask,
		 int64_t *id, bool *fresh, struct err *err)
{
	const struct manifest_action *a = NULL;
	struct integration i = { 0 };
	cJSON *in = NULL;
	int rc = outbound_refuse_card(ask->args, ask->idempotency_key, err);

	if (rc < 0)
		return rc;
	rc = integration_get(p, ask->integration_id, &i, err);
	if (rc == -ENOENT)
		return err_set(err, rc, ERR_BAD_JOB, "integration_id",
			       "integration %lld does not exist", (long long)ask->integration_id);
	if (rc < 0)
		return rc;
	if (strcmp(i.partner, ask->partner) != 0)
		rc = err_set(err, -EINVAL, ERR_BAD_JOB, "integration_id",
			     "integration %lld is one with %s, not with %.60s", (long long)i.id,
			     i.partner, ask->partner);
	if (rc == 0)
		rc = find_action(drivers, &i, ask->action, &a, err);
	if (rc == 0)
		rc = action_in(a, ask->args, &in, err);
	if (rc == 0)
		rc = write_row(p, a, &i, ask, in, id, fresh, err);
	cJSON_Delete(in);
	integration_clear(&i);
	return rc;
}

/* ---- people ---- */

/* The step in doubt: what it keeps must be said, or the next steps have nothing to go on from. */
static int check_kept(struct pg *p, const struct manifest_action *a, const struct request *row,
		      const cJSON *kept, struct err *err)
{
	struct request_step *v = NULL;
	int n = 0, rc = request_steps(p, row->id, &v, &n, err);

	for (int i = 0; i < n && rc == 0; i++) {
		const struct manifest_step *s;

		if (v[i].undo || v[i].undo != row->undo || v[i].state == STEP_DONE ||
		    v[i].step >= a->n_steps)
			continue;
		s = &a->steps[v[i].step];
		for (int k = 0; k < s->keep.n && rc == 0; k++)
			if (!kept || !cJSON_GetObjectItemCaseSensitive(kept, s->keep.v[k].name))
				rc = err_set(err, -EINVAL, ERR_BAD_JOB, "kept",
					     "step %s keeps \"%s\": say what it is, {\"%s\": …}",
					     s->name, s->keep.v[k].name, s->keep.v[k].name);
	}
	free(v);
	return rc;
}

static int check_undo(const struct manifest_action *a, struct err *err)
{
	for (int i = 0; i < a->n_steps; i++)
		if (request_path(&a->steps[i].undo, NULL))
			return 0;
	return err_set(err, -EINVAL, ERR_BAD_JOB, "undo", "no step of %s says how it is undone",
		       a->name);
}

static int check_decision(struct pg *p, const struct driver_set *drivers, const struct request *row,
			  const char *as, const cJSON *kept, struct err *err)
{
	const struct manifest_action *a = NULL;
	struct integration i = { 0 };
	int rc = integration_get(p, row->integration_id, &i, err);

	if (rc == 0)
		rc = find_action(drivers, &i, row->action, &a, err);
	if (rc == 0 && strcmp(as, "done") == 0)
		rc = check_kept(p, a, row, kept, err);
	if (rc == 0 && strcmp(as, "undo") == 0 && row->state == REQUEST_DONE)
		rc = check_undo(a, err);
	integration_clear(&i);
	return rc;
}

static int decide(struct redis *r, struct pg *p, int64_t id, const char *as, const cJSON *kept,
		  int64_t deadline_ms, struct err *err)
{
	char scope[40];
	int rc = request_resolve(p, id, as, kept, err);

	if (rc == 0) {
		snprintf(scope, sizeof(scope), "request:%lld", (long long)id);
		rc = alert_resolve(p, "outbound_unknown", scope, err);
	}
	if (rc == 0)
		outbound_queue_one(r, p, id, deadline_ms);
	return rc;
}

int outbound_resolve(struct redis *r, struct pg *p, const struct driver_set *drivers, int64_t id,
		     const char *as, const cJSON *kept, int64_t deadline_ms, struct err *err)
{
	struct request row = { 0 };
	int rc = request_find(p, &(struct request_who){ .id = id }, &row, err);

	if (kept && card_is_in_json(kept))
		rc = err_set(err, -EKEYREJECTED, ERR_BAD_JOB, "card number",
			     "a card number stands in it");
	if (rc == 0)
		rc = check_decision(p, drivers, &row, as, kept, err);
	if (rc == 0)
		rc = decide(r, p, id, as, kept, deadline_ms, err);
	request_clear(&row);
	return rc;
}

void outbound_keep_told(const struct manifest_action *a, const char *external_id, cJSON *kept)
{
	for (int i = 0; i < a->n_steps; i++)
		for (int k = 0; k < a->steps[i].keep.n; k++) {
			const char *name = a->steps[i].keep.v[k].name;
			bool is_id = external_id && a->external && strcmp(name, a->external) == 0;

			cJSON_DeleteItemFromObjectCaseSensitive(kept, name);
			cJSON_AddItemToObject(kept, name,
					      is_id ? cJSON_CreateString(external_id)
						    : cJSON_CreateNull());
		}
}

int outbound_told(struct redis *r, struct pg *p, const struct driver *d, int64_t id,
		  int64_t deadline_ms, struct err *err)
{
	struct request row = { 0 };
	int rc = request_find(p, &(struct request_who){ .id = id }, &row, err);
	const struct manifest_action *a = rc == 0 ? manifest_action(d->manifest, row.action) : NULL;

	if (rc == 0 && a && a->n_steps == 1 && !row.undo) {
		cJSON *kept = cJSON_CreateObject();

		outbound_keep_told(a, row.external_id, kept);
		rc = decide(r, p, id, "done", kept, deadline_ms, err);
		cJSON_Delete(kept);
	}
	if (rc == -EPERM || rc == -ENOENT) {
		*err = (struct err){ 0 };
		rc = 0;
	}
	request_clear(&row);
	return rc;
}
