/* The test's own door, under /_control/: what is there, what was sent, which faults come next.  No
 * partner has it; its requests are in no log and under no limit. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"
#include "tests/sandbox/news.h"

#define CONTROL_BODY_MAX (1024 * 1024)

static void reply(struct httpd_request *q, int status, struct buf *json)
{
	httpd_reply(q, status, "application/json; charset=utf-8", buf_str(json), json->len);
	buf_clear(json);
}

static void refuse(struct httpd_request *q, int status, const char *message)
{
	struct buf out = BUF_INIT;

	buf_puts(&out, "{\"error\":\"control\",\"message\":");
	json_quote(&out, message, strlen(message));
	buf_putc(&out, '}');
	reply(q, status, &out);
}

static void reply_ok(struct httpd_request *q)
{
	struct buf out = BUF_INIT;

	buf_puts(&out, "{\"ok\":true}");
	reply(q, 200, &out);
}

/* The request's JSON object (the caller's), or NULL: refused already.  An empty body is {}. */
static cJSON *body_object(struct httpd_request *q)
{
	size_t len;
	const char *body = httpd_body(q, &len);
	struct json_error error;
	cJSON *tree;

	if (len == 0)
		return cJSON_CreateObject();
	if (json_parse(body, len, CONTROL_BODY_MAX, &tree, &error) < 0) {
		refuse(q, 400, error.text);
		return NULL;
	}
	if (cJSON_IsObject(tree))
		return tree;
	cJSON_Delete(tree);
	refuse(q, 400, "a JSON object is expected");
	return NULL;
}

static int64_t query_number(const struct httpd_request *q, const char *name, int64_t fallback)
{
	const char *text = httpd_query(q, name);

	return text ? strtoll(text, NULL, 10) : fallback;
}

/* ---- faults ---- */

static void faults_post(struct httpd_request *q, void *arg)
{
	struct sandbox *s = arg;
	char problem[160];
	cJSON *rule = body_object(q);

	if (!rule)
		return;
	if (faults_add(s->faults, rule, problem) < 0)
		refuse(q, 400, problem);
	else
		reply_ok(q);
	cJSON_Delete(rule);
}

static void faults_get(struct httpd_request *q, void *arg)
{
	struct sandbox *s = arg;
	struct buf out = BUF_INIT;

	faults_print(s->faults, &out);
	reply(q, 200, &out);
}

static void faults_delete(struct httpd_request *q, void *arg)
{
	struct sandbox *s = arg;

	faults_clear(s->faults);
	reply_ok(q);
}

/* ---- what happened ---- */

static void log_get(struct httpd_request *q, void *arg)
{
	struct sandbox *s = arg;
	struct buf out = BUF_INIT;

	journal_print(s->journal, (uint64_t)query_number(q, "since", 0),
		      (int)query_number(q, "limit", JOURNAL_MAX),
		      account_number(httpd_query(q, "account")), &out);
	reply(q, 200, &out);
}

struct stats {
	struct buf accounts;
	int64_t minted, refused;
	int most_in_flight;
};

static void stats_of(struct account *a, void *arg)
{
	struct stats *stats = arg;
	struct buf *out = &stats->accounts;

	stats->minted += a->minted;
	stats->refused += a->refused;
	if (a->most_in_flight > stats->most_in_flight)
		stats->most_in_flight = a->most_in_flight;
	buf_printf(
		out,
		"%s\"acct-%d\":{\"tokens_minted\":%lld,\"refused\":%lld,\"in_flight\":%d,\"max_in_flight\":%d,"
		"\"windows\":[",
		out->len ? ",\n" : "", a->number, (long long)a->minted, (long long)a->refused,
		a->in_flight, a->most_in_flight);
	for (int i = 0; i < a->n_tiers; i++)
		buf_printf(out, "%s{\"limit\":%lld,\"window_ms\":%lld,\"max\":%lld}", i ? "," : "",
			   (long long)a->seen[i].tier.limit,
			   (long long)(a->seen[i].tier.length_us / 1000),
			   (long long)a->seen[i].most);
	buf_puts(out, "]}");
}

static void stats_get(struct httpd_request *q, void *arg)
{
	struct sandbox *s = arg;
	struct stats stats = { BUF_INIT, 0, 0, 0 };
	struct buf out = BUF_INIT;

	accounts_each(s->accounts, stats_of, &stats);
	buf_printf(
		&out,
		"{\"now_us\":%lld,\"tokens_minted\":%lld,\"refused\":%lld,\"max_in_flight\":%d,\"status\":",
		(long long)journal_now_us(s->journal), (long long)stats.minted,
		(long long)stats.refused, stats.most_in_flight);
	journal_counts_print(s->journal, &out);
	buf_printf(&out, ",\n\"accounts\":{%s}}", buf_str(&stats.accounts));
	buf_clear(&stats.accounts);
	reply(q, 200, &out);
}

/* ---- what is there ---- */

static struct account *account_wanted(struct sandbox *s, const char *name)
{
	struct account *a = accounts_get(s->accounts, name ? account_number(name) : 1);

	if (a)
		account_fill(s->accounts, a);
	return a;
}

static void items_get(struct httpd_request *q, void *arg)
{
	struct account *a = account_wanted(arg, httpd_query(q, "account"));
	const char *noun = httpd_query(q, "noun");
	struct buf out = BUF_INIT;

	if (!a) {
		refuse(q, 404, "no such account; they are named acct-1, acct-2 and so on");
		return;
	}
	if (!noun || strcmp(noun, "listing") == 0)
		collection_describe(&a->listings, &out);
	if (!noun || strcmp(noun, "reservation") == 0)
		collection_describe(&a->reservations, &out);
	httpd_reply(q, 200, "application/x-ndjson; charset=utf-8", buf_str(&out), out.len);
	buf_clear(&out);
}

/* How many items of a collection a change touched; who is subscribed is told. */
static int change_items(struct account *a, struct collection *c, const char *id,
			const cJSON *fields, bool remove)
{
	const struct item *item = collection_find(c, id);

	if (!item)
		return 0;
	if (remove) {
		news_of(a, c->noun, CHANGE_REMOVED, item->tree, NULL);
		return collection_remove(c, id);
	}
	int n = collection_update(c, id, fields, clock_real_ms());
	news_of(a, c->noun, CHANGE_UPDATED, item->tree, fields);
	return n;
}

static int change_apply(struct account *a, const cJSON *change)
{
	const char *id = json_str(change, "id");
	const cJSON *fields = cJSON_GetObjectItemCaseSensitive(change, "fields");
	bool remove = json_bool(change, "remove", false);
	const cJSON *append = cJSON_GetObjectItemCaseSensitive(change, "append");
	const char *noun = json_str(change, "noun");

	if (cJSON_IsObject(append)) {
		bool reservation = noun && strcmp(noun, "reservation") == 0;
		struct collection *c = reservation ? &a->reservations : &a->listings;

		collection_append(c, append);
		news_of(a, c->noun, CHANGE_NEW, append, NULL);
		return 1;
	}
	if (!id)
		return 0;
	return change_items(a, &a->listings, id, fields, remove) +
	       change_items(a, &a->reservations, id, fields, remove);
}

static void update_post(struct httpd_request *q, void *arg)
{
	cJSON *change = body_object(q);
	struct account *a;
	struct buf out = BUF_INIT;
	int changed;

	if (!change)
		return;
	a = account_wanted(arg, json_str(change, "account"));
	changed = a ? change_apply(a, change) : 0;
	cJSON_Delete(change);
	if (!changed) {
		refuse(q, 404, "nothing with that id in that account");
		return;
	}
	buf_printf(&out, "{\"changed\":%d}", changed);
	reply(q, 200, &out);
}

/* ---- settings ---- */

static void reset_account(struct account *a, void *arg)
{
	const cJSON *what = arg;
	const cJSON *one;

	cJSON_ArrayForEach (one, what) {
		const char *word = cJSON_IsString(one) ? one->valuestring : "";

		if (strcmp(word, "limits") == 0)
			account_reset_limits(a);
		if (strcmp(word, "tokens") == 0)
			a->n_tokens = 0;
		if (strcmp(word, "items") == 0)
			account_empty(a);
	}
}

/* {"what": ["log", "faults", "limits", "tokens", "items"]}; without it log, faults and limits. */
static void reset_post(struct httpd_request *q, void *arg)
{
	static const char *const usual[] = { "log", "faults", "limits" };
	struct sandbox *s = arg;
	cJSON *body = body_object(q), *made = NULL;
	const cJSON *what, *one;

	if (!body)
		return;
	what = cJSON_GetObjectItemCaseSensitive(body, "what");
	if (!what)
		what = made = cJSON_CreateStringArray(usual, (int)ARRAY_LEN(usual));
	cJSON_ArrayForEach (one, what) {
		if (cJSON_IsString(one) && strcmp(one->valuestring, "log") == 0)
			journal_reset(s->journal);
		if (cJSON_IsString(one) && strcmp(one->valuestring, "faults") == 0)
			faults_clear(s->faults);
	}
	accounts_each(s->accounts, reset_account, (void *)what);
	cJSON_Delete(made);
	cJSON_Delete(body);
	reply_ok(q);
}

/* {"latency_ms", "jitter_ms", "limits": "15/1s,…", "in_flight", "token_life_s"}: each may be left out. */
static void settings_post(struct httpd_request *q, void *arg)
{
	struct sandbox *s = arg;
	cJSON *body = body_object(q);
	struct account_limits limits = *accounts_limits(s->accounts);
	const char *tiers;
	int64_t n;

	if (!body)
		return;
	if (json_int(body, "latency_ms", &n))
		s->latency_ms = n;
	if (json_int(body, "jitter_ms", &n))
		s->jitter_ms = n;
	if (json_int(body, "token_life_s", &n))
		limits.token_life_us = n * 1000000;
	if (json_int(body, "in_flight", &n))
		limits.in_flight = (int)n;
	tiers = json_str(body, "limits");
	limits.n_tiers = tiers ? tiers_parse(tiers, limits.tiers) : limits.n_tiers;
	if (limits.n_tiers < 0) {
		refuse(q, 400, "limits reads like 15/1s,120/60s or none");
	} else {
		if (tiers || json_int(body, "in_flight", &n) || json_int(body, "token_life_s", &n))
			accounts_set_limits(s->accounts, &limits);
		reply_ok(q);
	}
	cJSON_Delete(body);
}

void control_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", "/_control/faults", faults_post, s);
	httpd_route(h, "GET", "/_control/faults", faults_get, s);
	httpd_route(h, "DELETE", "/_control/faults", faults_delete, s);
	httpd_route(h, "GET", "/_control/log", log_get, s);
	httpd_route(h, "GET", "/_control/stats", stats_get, s);
	httpd_route(h, "GET", "/_control/items", items_get, s);
	httpd_route(h, "POST", "/_control/update", update_post, s);
	httpd_route(h, "POST", "/_control/reset", reset_post, s);
	httpd_route(h, "POST", "/_control/settings", settings_post, s);
}
