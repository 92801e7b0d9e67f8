#include "drivers/kit/notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/card.h"
#include "common/base/config.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/store/request.h"
#include "drivers/kit/action.h"
#include "drivers/kit/notify_parts.h"
#include "drivers/kit/outbound.h"

#define NAME_MAX_BYTES 100
#define SLICE 200

int notify_wrong(struct notify *n, const char *fmt, const char *what)
{
	return err_set(n->err, -EINVAL, ERR_BAD_JOB, "args", fmt, what);
}

/* ---- what is asked ---- */

static int check_names(struct notify *n)
{
	static const char *const known[] = { "company_id", "template", "to",
					     "values",     "urgent",   "rather_twice" };
	const cJSON *c;

	if (!cJSON_IsObject(n->ask->args))
		return notify_wrong(n, "%s must be an object", "args");
	cJSON_ArrayForEach (c, n->ask->args) {
		size_t i = 0;
		const char *near;

		while (i < ARRAY_LEN(known) && strcmp(known[i], c->string) != 0)
			i++;
		if (i < ARRAY_LEN(known))
			continue;
		near = config_nearest(c->string, known, ARRAY_LEN(known));
		return err_set(n->err, -EINVAL, ERR_BAD_JOB, "args",
			       "args.%.60s: notify asks for no such thing%s%s%s", c->string,
			       near ? "; did you mean \"" : "", near ? near : "",
			       near ? "\"?" : "");
	}
	return 0;
}

static int read_flag(struct notify *n, const char *name, bool *out)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(n->ask->args, name);

	if (v && !cJSON_IsBool(v))
		return notify_wrong(n, "args.%s must be true or false", name);
	*out = cJSON_IsTrue(v);
	return 0;
}

static int read_args(struct notify *n)
{
	const cJSON *args = n->ask->args;
	int rc = outbound_refuse_card(args, n->ask->idempotency_key, n->err);

	if (rc == 0)
		rc = check_names(n);
	if (rc < 0)
		return rc;
	if (!json_int(args, "company_id", &n->company_id) || n->company_id <= 0)
		return notify_wrong(n, "args.company_id must be a company's number%s",
				    "; `longshore company list` shows them");
	n->template = json_str(args, "template");
	if (!n->template || !*n->template || strlen(n->template) > NAME_MAX_BYTES)
		return notify_wrong(n, "args.template must be the name of a template%s", "");
	n->values = cJSON_GetObjectItemCaseSensitive(args, "values");
	if (n->values && !cJSON_IsObject(n->values))
		return notify_wrong(n, "args.values must be an object%s", "");
	if (!n->values)
		n->values = n->own = cJSON_CreateObject();
	rc = read_flag(n, "urgent", &n->urgent);
	return rc < 0 ? rc : read_flag(n, "rather_twice", &n->in_doubt);
}

/* ---- the company's channels ---- */

static int no_channel(struct notify *n, const struct integration *i)
{
	return err_set(
		n->err, -EINVAL, ERR_BAD_JOB, "channels",
		"integration %lld, a channel of company %lld, is one with %s, which has no \"channel\" in its manifest",
		(long long)i->id, (long long)n->company_id, i->partner);
}

static int add_choice(struct notify *n, const struct driver_set *drivers, int64_t id)
{
	struct notify_choice *c = &n->choices[n->n_choices];
	const struct driver *d;
	int rc = integration_get(n->p, id, &c->integration, n->err);

	if (rc == -ENOENT)
		return 0; /* it is gone: the others remain */
	if (rc < 0)
		return rc;
	n->n_choices++;
	d = driver_find(drivers, c->integration.partner);
	if (d)
		d = driver_for(d, c->integration.id, c->integration.settings, NULL, n->err);
	if (!d || !d->manifest->channel.kind)
		return no_channel(n, &c->integration);
	c->manifest = d->manifest;
	c->action = manifest_action(d->manifest, d->manifest->channel.action);
	c->section = cJSON_GetObjectItemCaseSensitive(n->parts, d->manifest->channel.kind);
	return 0;
}

static int find_choices(struct notify *n, const struct driver_set *drivers)
{
	int64_t ids[8];
	int count = 0, rc;

	rc = notify_template_get(n->p, n->company_id, n->template, &n->parts, n->err);
	if (rc == -ENOENT)
		return err_set(
			n->err, -EINVAL, ERR_BAD_JOB, "args.template",
			"args.template: company %lld has no template \"%s\"; `longshore notify template NAME FILE` makes one",
			(long long)n->company_id, n->template);
	if (rc == 0)
		rc = notify_channels(n->p, n->company_id, ids, &count, n->err);
	if (rc == -ENOENT)
		return err_set(
			n->err, -EINVAL, ERR_BAD_JOB, "channels",
			"company %lld has no channels; `longshore notify channels` says which and in what order",
			(long long)n->company_id);
	for (int i = 0; i < count && rc == 0; i++)
		rc = add_choice(n, drivers, ids[i]);
	return rc;
}

/* ---- rows ---- */

static void name_entry(const struct notify *n, const struct notify_recipient *r, int index,
		       struct buf *out)
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];
	struct buf text = BUF_INIT;

	if (!n->ask->idempotency_key) {
		buf_printf(out, "job:%s:%d", n->ask->origin, index);
		return;
	}
	buf_printf(&text, "%lld\n%s\n%s", (long long)n->company_id, n->ask->idempotency_key,
		   r->who);
	crypto_sha256(text.data, text.len, digest);
	crypto_hex(digest, sizeof(digest), hex);
	buf_printf(out, "key:%s", hex);
	buf_clear(&text);
}

static int write_row(struct notify *n, const struct notify_recipient *r, int index,
		     const cJSON *plan, struct buf *ids)
{
	struct buf entry = BUF_INIT, text = BUF_INIT, print = BUF_INIT, before = BUF_INIT;
	struct notification_new new = { .company_id = n->company_id,
					.attempts = cJSON_GetArraySize(plan),
					.template = n->template,
					.recipient = r->who,
					.job_id = n->ask->job_id,
					.urgent = n->urgent,
					.in_doubt = n->in_doubt };
	bool same = true;
	int64_t id = 0;
	int rc;

	name_entry(n, r, index, &entry);
	outbound_fingerprint(n->ask->args, &print);
	outbound_fingerprint_before(n->ask->args, &before);
	json_print(plan, &text);
	new.entry = buf_str(&entry);
	new.fingerprint = buf_str(&print);
	new.fingerprint_before = buf_str(&before);
	new.plan = buf_str(&text);
	rc = notification_add(n->p, &new, &id, &same, n->err);
	if (rc == 0 && !same)
		rc = err_set(
			n->err, -EEXIST, ERR_BAD_JOB, "idempotency_key",
			"notification %lld has this key and other args: a key is for one request",
			(long long)id);
	if (rc == 0)
		buf_printf(ids, "%s%lld", ids->len && ids->data[ids->len - 1] != '[' ? "," : "",
			   (long long)id);
	buf_clear(&entry);
	buf_clear(&text);
	buf_clear(&print);
	buf_clear(&before);
	return rc;
}

/* Of two values that hold none, and the words around them, a card number may be made: what no worker would send is not accepted. */
static int check_text(struct notify *n, const cJSON *plan)
{
	if (!card_is_in_json(plan))
		return 0;
	return err_set(
		n->err, -EKEYREJECTED, ERR_BAD_JOB, "card number",
		"args.values: what template %.60s says with them holds what looks like a card number",
		n->template);
}

/* All of them are looked at before the first is written. */
static int each_recipient(struct notify *n, struct buf *ids)
{
	const cJSON *to = cJSON_GetObjectItemCaseSensitive(n->ask->args, "to"), *c;
	bool many = cJSON_IsArray(to);
	int count = many ? cJSON_GetArraySize(to) : 1, rc = 0;
	struct notify_recipient *v;
	cJSON **plans;

	if (!to || count == 0)
		return notify_wrong(n, "args.to must say who: %s",
				    "{\"email\": …, \"phone\": …}, or a list of them");
	if (count > NOTIFY_TO_MAX)
		return notify_wrong(n, "args.to has too many recipients: at most %s in one job",
				    "100");
	v = mem_zalloc(sizeof(*v) * (size_t)count);
	plans = mem_zalloc(sizeof(*plans) * (size_t)count);
	c = many ? to->child : to;
	for (int i = 0; i < count && rc == 0; i++, c = c->next) {
		v[i].to = c;
		if (many)
			snprintf(v[i].place, sizeof(v[i].place), "to[%d]", i);
		else
			snprintf(v[i].place, sizeof(v[i].place), "to");
		plans[i] = cJSON_CreateArray();
		rc = notify_plan(n, &v[i], plans[i]);
		if (rc == 0)
			rc = check_text(n, plans[i]);
	}
	buf_putc(ids, '[');
	for (int i = 0; i < count && rc == 0; i++)
		rc = write_row(n, &v[i], i, plans[i], ids);
	buf_putc(ids, ']');
	for (int i = 0; i < count; i++)
		cJSON_Delete(plans[i]);
	free(plans);
	free(v);
	return rc;
}

int notify_add(struct pg *p, const struct driver_set *drivers, const struct notify_ask *ask,
	       struct buf *ids, struct err *err)
{
	struct notify n = { .p = p, .ask = ask, .err = err };
	int rc = read_args(&n);

	if (rc == 0)
		rc = find_choices(&n, drivers);
	if (rc == 0)
		rc = each_recipient(&n, ids);
	for (int i = 0; i < n.n_choices; i++)
		integration_clear(&n.choices[i].integration);
	cJSON_Delete(n.parts);
	cJSON_Delete(n.own);
	return rc;
}

/* Before anything is written: other args may be for other people, of whom no row would say that the key is taken. */
static int check_key(struct pg *p, const char *entry, const cJSON *args, struct err *err)
{
	struct request old = { 0 };
	int rc = request_find(p, &(struct request_who){ .partner = "longshore", .entry = entry },
			      &old, err);

	if (rc == 0)
		rc = outbound_check_same(&old, args, true, err);
	request_clear(&old);
	return rc == -ENOENT ? 0 : rc;
}

int notify_request(struct pg *p, const struct driver_set *drivers, const cJSON *args,
		   const char *idempotency_key, int64_t *id, struct err *err)
{
	struct buf ids = BUF_INIT, entry = BUF_INIT, print = BUF_INIT, text = BUF_INIT;
	char origin[ID_LEN + 1];
	struct notify_ask ask = { .args = args,
				  .idempotency_key = idempotency_key,
				  .origin = origin };
	struct notify n = { .ask = &ask };
	struct notify_recipient all = { .who = "" };
	struct notification_new row = { 0 };
	int rc;

	id_new(origin);
	(void)json_int(args, "company_id", &n.company_id);
	name_entry(&n, &all, 0, &entry);
	outbound_fingerprint(args, &print);
	json_print(args, &text);
	row.entry = buf_str(&entry);
	row.fingerprint = buf_str(&print);
	rc = idempotency_key && n.company_id ? check_key(p, row.entry, args, err) : 0;
	if (rc == 0)
		rc = notify_add(p, drivers, &ask, &ids, err);
	if (rc == 0)
		rc = notification_request(p, &row, buf_str(&text), buf_str(&ids), id, err);
	buf_clear(&ids);
	buf_clear(&entry);
	buf_clear(&print);
	buf_clear(&text);
	return rc;
}

/* ---- what goes on ---- */

/* Sent, or refused, or nobody knows and whoever asked would rather have it twice. */
static int go_on(struct redis *r, struct pg *p, const struct notification_due *d,
		 int64_t deadline_ms, struct err *err)
{
	bool unknown = strcmp(d->state, "unknown") == 0;
	int64_t request = 0;
	int rc;

	if (strcmp(d->state, "done") == 0 && strcmp(d->tells, "bounce") != 0)
		return notification_end(p, d, "sent", err);
	if (d->attempt == d->attempts)
		return notification_end(p, d, unknown ? NULL : "failed", err);
	rc = notification_begin(p, d, &request, err);
	if (rc == 0 && request) {
		log_event(LOG_INFO, "notification_goes_on", LI("notification", d->id),
			  LI("attempt", d->attempt + 1), LI("request", request),
			  LS("after", *d->state ? d->state : NULL));
		outbound_queue_one(r, p, request, deadline_ms);
	}
	return rc;
}

int notify_go_on(struct redis *r, struct pg *p, int64_t deadline_ms, bool *more, struct err *err)
{
	struct notification_due *v = NULL;
	int64_t given_up = 0;
	int n = 0, rc = notification_give_up(p, SLICE, &given_up, err);

	if (rc == 0)
		rc = notification_due(p, SLICE, &v, &n, err);
	for (int i = 0; i < n && rc == 0; i++)
		rc = go_on(r, p, &v[i], deadline_ms, err);
	*more = rc == 0 && (n >= SLICE || given_up == SLICE);
	free(v);
	return rc;
}
