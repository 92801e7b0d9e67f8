/* Checks of webhooks: what each scheme needs, whom events name. */
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/subst.h"

/* ---- webhooks.verify ---- */

enum {
	TAKES_HEADER = 1,
	NEEDS_HEADER = 2,
	IS_GENERAL = 4, /* signed, alg, encoding, timestamp, id, split are the manifest's */
	IS_UNSIGNED = 8 /* anybody could have sent it: nothing of it is believed */
};

static const struct {
	const char *name;
	unsigned is;
} schemes[] = {
	[VERIFY_STANDARD] = { "standard_webhooks", 0 },
	[VERIFY_STRIPE] = { "stripe", TAKES_HEADER },
	[VERIFY_SLACK] = { "slack", TAKES_HEADER },
	[VERIFY_TWILIO] = { "twilio", TAKES_HEADER },
	[VERIFY_SENDGRID] = { "sendgrid", TAKES_HEADER },
	[VERIFY_GITHUB] = { "github", TAKES_HEADER },
	[VERIFY_SHOPIFY] = { "shopify", TAKES_HEADER },
	[VERIFY_HMAC] = { "hmac", TAKES_HEADER | NEEDS_HEADER | IS_GENERAL },
	[VERIFY_SHA256_SUFFIX] = { "sha256_suffix", TAKES_HEADER | NEEDS_HEADER },
	[VERIFY_BASIC] = { "basic", TAKES_HEADER },
	[VERIFY_HEADER_TOKEN] = { "header_token", TAKES_HEADER | NEEDS_HEADER },
	[VERIFY_URL_SECRET] = { "url_secret", IS_UNSIGNED },
	[VERIFY_NOTHING] = { "none", IS_UNSIGNED },
};

#define VERIFY_AT "webhooks.verify"

static void not_of_scheme(struct manifest_reader *r, const struct manifest_verify *v,
			  const char *key, bool given, unsigned is)
{
	if (given && !(schemes[v->scheme].is & is))
		reader_problem_at(r, arena_printf(r->arena, VERIFY_AT ".%s", key),
				  "means nothing with the scheme \"%s\"", schemes[v->scheme].name);
}

static void check_signed(struct manifest_reader *r, const struct manifest_verify *v)
{
	static const char *const known[] = { "body", "url", "id", "ts", "method", "sorted_form" };
	const char *p = v->signed_bytes;
	char name[SUBST_NAME_MAX];

	while (p && subst_next(&p, name)) {
		size_t i = 0;

		while (i < ARRAY_LEN(known) && strcmp(known[i], name) != 0)
			i++;
		if (i == ARRAY_LEN(known))
			reader_problem_at(r, VERIFY_AT ".signed", "{%s} is not known%s", name,
					  reader_nearest(r, name, known, ARRAY_LEN(known)));
		else if (strcmp(name, "ts") == 0 && !v->timestamp && !v->split)
			reader_problem_at(
				r, VERIFY_AT ".signed",
				"{ts} needs \"timestamp\", the header it is in, or \"split\"");
		else if (strcmp(name, "id") == 0 && !v->id)
			reader_problem_at(r, VERIFY_AT ".signed",
					  "{id} needs \"id\", the header it is in");
	}
}

static void check_verify(struct manifest_reader *r, const struct manifest_verify *v)
{
	if (v->scheme == VERIFY_NO_WEBHOOKS)
		return;
	not_of_scheme(r, v, "header", v->header != NULL, TAKES_HEADER);
	not_of_scheme(r, v, "signed", v->signed_bytes != NULL, IS_GENERAL);
	not_of_scheme(r, v, "timestamp", v->timestamp != NULL, IS_GENERAL);
	not_of_scheme(r, v, "id", v->id != NULL, IS_GENERAL);
	not_of_scheme(r, v, "split", v->split != NULL, IS_GENERAL);
	not_of_scheme(r, v, "encoding", v->base64, IS_GENERAL);
	not_of_scheme(r, v, "alg", v->alg != VERIFY_SHA256, IS_GENERAL);
	if ((schemes[v->scheme].is & NEEDS_HEADER) && !v->header)
		reader_problem_at(r, VERIFY_AT ".header", "missing: the scheme \"%s\" needs it",
				  schemes[v->scheme].name);
	if (v->scheme == VERIFY_HMAC && !v->signed_bytes)
		reader_problem_at(
			r, VERIFY_AT ".signed",
			"missing: what the partner signs, such as \"{body}\" or \"{ts}.{body}\"");
	if (v->scheme == VERIFY_STANDARD && v->prefix && strcmp(v->prefix, "webhook-") != 0 &&
	    strcmp(v->prefix, "svix-") != 0)
		reader_problem_at(r, VERIFY_AT ".prefix",
				  "expected \"webhook-\" or \"svix-\", found \"%s\"", v->prefix);
	if (v->scheme == VERIFY_NOTHING && !v->i_know)
		reader_problem_at(
			r, VERIFY_AT ".i_know",
			"missing: anybody can send what is not verified; say \"i_know\": true to have it so");
	if (v->scheme != VERIFY_NOTHING && v->i_know)
		reader_problem_at(r, VERIFY_AT ".i_know", "is for the scheme \"none\" alone");
	check_signed(r, v);
}

/* ---- webhooks.events ---- */

static void check_whom(struct manifest_reader *r, const struct manifest_event *e, const char *path)
{
	const struct manifest *m = &r->owner->m;
	const struct manifest_collection *c =
		e->collection ? manifest_collection(m, e->collection) : NULL;
	const char **names = arena_alloc(r->arena, sizeof(*names) * (size_t)(m->n_collections + 1));

	if (!e->collection || !e->id) {
		reader_problem_at(r, path,
				  "needs \"collection\" and \"id\", the path of the item's");
		return;
	}
	for (int i = 0; i < m->n_collections; i++)
		names[i] = m->collections[i].name;
	if (!c)
		reader_problem_at(r, arena_printf(r->arena, "%s.collection", path),
				  "there is no collection \"%s\"%s", e->collection,
				  reader_nearest(r, e->collection, names, m->n_collections));
	else if (e->act == EVENT_FETCH && !c->detail)
		reader_problem_at(
			r, path,
			"\"fetch\" reads the item again, and \"%s\" has no \"detail\" to do it with",
			c->name);
}

static bool holds_item(const struct manifest_event *e, const struct manifest_collection *c)
{
	const char *tail = c->id && !strchr(c->id, '|') ? c->id : NULL;
	size_t len = tail ? strlen(tail) : 0;

	if (e->item)
		return true;
	for (const char *p = e->id; tail && *p;) {
		size_t n = strcspn(p, "|");

		if (n >= len && strncmp(p + n - len, tail, len) == 0 &&
		    (n == len || (n > len + 1 && p[n - len - 1] == '.')))
			return true;
		p += n + (p[n] == '|');
	}
	return false;
}

static void check_upsert(struct manifest_reader *r, const struct manifest_event *e,
			 const char *path)
{
	const struct manifest_collection *c =
		e->collection ? manifest_collection(&r->owner->m, e->collection) : NULL;

	if (!c || !e->id)
		return;
	if (c->each)
		reader_problem_at(
			r, path,
			"\"upsert\" has no parent to write an item of \"%s\" under: let the event fetch",
			c->name);
	else if (!holds_item(e, c))
		reader_problem_at(
			r, path,
			"\"upsert\" needs \"item\", the path of what holds the item: \"id\" does not end with the collection's \"%s\"",
			c->id ? c->id : "");
}

static void check_new_credentials(struct manifest_reader *r, const struct manifest_event *e,
				  const char *path)
{
	const char *at = arena_printf(r->arena, "%s.credentials", path);

	if (e->act != EVENT_CREDENTIALS_ROTATED) {
		if (e->credentials.n)
			reader_problem_at(r, at, "is for \"do\": \"credentials_rotated\" alone");
		return;
	}
	if (!e->credentials.n)
		reader_problem_at(
			r, at,
			"missing: which credential stands where in the event, such as {\"client_secret\": \"data.secret\"}");
	for (int i = 0; i < e->credentials.n; i++) {
		const struct manifest_pair *p = &e->credentials.v[i];
		const char *wrong = path_problem(p->value, 0);

		if (!manifest_name_is_valid(p->name))
			reader_problem_at(r, at, "a name is 1 to 40 of a-z, 0-9 and _");
		if (wrong)
			reader_problem_at(r, at, "\"%s\" is no path: %s", p->value, wrong);
	}
}

/* What became of a message, and of which. */
static void check_delivery(struct manifest_reader *r, const struct manifest_event *e,
			   const char *path)
{
	if (e->act != EVENT_DELIVERY) {
		if (e->delivery || e->reference || e->reason)
			reader_problem_at(
				r, path,
				"\"delivery\", \"reference\" and \"reason\" are for \"do\": \"delivery\" alone");
		return;
	}
	if (!e->delivery)
		reader_problem_at(r, arena_printf(r->arena, "%s.delivery", path),
				  "missing: sent, delivered or failed");
	if (!e->id == !e->reference)
		reader_problem_at(
			r, path,
			"needs \"id\" (the partner's, as the action's \"external_id\") or \"reference\" (ours): one of them");
	if (e->collection || e->item)
		reader_problem_at(r, path, "\"collection\" and \"item\" mean nothing here");
	if (!r->owner->m.n_actions)
		reader_problem_at(
			r, path,
			"\"delivery\" is of what an action sent, and there are no \"actions\"");
}

static void check_event(struct manifest_reader *r, const struct manifest_event *e)
{
	const struct manifest_verify *v = &r->owner->m.webhooks.verify;
	const char *path = arena_printf(r->arena, "webhooks.events.%s", e->name);

	if (e->act <= EVENT_DELETE)
		check_whom(r, e, path);
	else if (e->act != EVENT_DELIVERY && (e->collection || e->id || e->item))
		reader_problem_at(r, path, "\"collection\", \"id\" and \"item\" mean nothing here");
	if (e->act == EVENT_UPSERT)
		check_upsert(r, e, path);
	check_new_credentials(r, e, path);
	check_delivery(r, e, path);
	if ((schemes[v->scheme].is & IS_UNSIGNED) && e->act != EVENT_FETCH &&
	    e->act != EVENT_IGNORE)
		reader_problem_at(
			r, arena_printf(r->arena, "%s.do", path),
			"the scheme \"%s\" signs nothing: only \"fetch\" and \"ignore\" are safe",
			schemes[v->scheme].name);
}

/* The signature is over the address too, or over nothing that came (whoever has the token may say anything): else who saw one
 * delivery could have it speak of another message. */
static bool vouches_for_address(const struct manifest *m)
{
	const struct manifest_verify *v = &m->webhooks.verify;

	return m->hooks.verify_webhook || v->scheme == VERIFY_TWILIO || v->scheme == VERIFY_BASIC ||
	       v->scheme == VERIFY_HEADER_TOKEN ||
	       (v->scheme == VERIFY_HMAC && v->signed_bytes && strstr(v->signed_bytes, "{url}"));
}

static void check_callback(struct manifest_reader *r, const struct manifest_webhooks *w)
{
	bool tells = false;

	if (!w->callback_param)
		return;
	if (!manifest_name_is_valid(w->callback_param))
		reader_problem_at(r, "webhooks.callback.param",
				  "a name is 1 to 40 of a-z, 0-9 and _");
	if (!vouches_for_address(&r->owner->m))
		reader_problem_at(
			r, "webhooks.callback",
			"the scheme \"%s\" does not sign the address: what stands in it may be anybody's",
			schemes[w->verify.scheme].name);
	for (int i = 0; i < w->n_events; i++)
		tells |= w->events[i].act == EVENT_DELIVERY;
	if (!tells)
		reader_problem_at(r, "webhooks.callback", "no event does \"delivery\"");
}

/* By the manifest or by the folder's C: one of them. */
static void check_who_verifies(struct manifest_reader *r, const struct manifest_webhooks *w)
{
	bool hook = r->owner->m.hooks.verify_webhook;

	if (w->event && w->verify.scheme == VERIFY_NO_WEBHOOKS && !hook)
		reader_problem_at(
			r, "webhooks",
			"\"verify\" is missing: how it is known that a webhook is the partner's");
	if (w->verify.scheme != VERIFY_NO_WEBHOOKS && hook)
		reader_problem_at(r, VERIFY_AT, "hooks.verify_webhook does it already");
	if (w->whose && w->verify.scheme == VERIFY_URL_SECRET)
		reader_problem_at(
			r, "webhooks.integration",
			"with the scheme \"url_secret\" each integration has an address of its own");
}

static void check_webhooks(struct manifest_reader *r)
{
	const struct manifest_webhooks *w = &r->owner->m.webhooks;

	check_who_verifies(r, w);
	check_verify(r, &w->verify);
	check_callback(r, w);
	for (int i = 0; i < w->n_hash; i++) {
		const char *wrong = path_problem(w->hash[i], 0);

		if (wrong)
			reader_problem_at(r,
					  arena_printf(r->arena, "webhooks.event_id.hash[%d]", i),
					  "\"%s\" is no path: %s", w->hash[i], wrong);
	}
	if (w->event && w->events && w->n_events == 0)
		reader_problem_at(r, "webhooks.events", "names no event");
	for (int i = 0; i < w->n_events; i++)
		check_event(r, &w->events[i]);
}

void manifest_check_events(struct manifest_reader *r)
{
	check_webhooks(r);
}
