#include "drivers/kit/classify.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define RETRY_MIN_MS 1000 /* "0", or a moment that is past: not at once, or it is asked in a loop */
#define RETRY_MAX_MS \
	86400000 /* a day: a header that is wrong must not silence an integration for ever */
#define RETRY_FALLBACK_MS 60000 /* a 429 that does not say */
#define SNIPPET_MAX 160         /* of a body that is no JSON */

/* ---- rules ---- */

static bool status_matches(const struct manifest_rule *rule, int status)
{
	for (int i = 0; i < rule->n_statuses; i++) {
		int s = rule->statuses[i];

		if (s < 0 ? status / 100 == -s : status == s)
			return true;
	}
	return rule->n_statuses == 0;
}

/* Alike as values, or as texts: partners send a code as 602 here and as "602" there. */
static bool same_value(const cJSON *a, const cJSON *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool same = cJSON_Compare(a, b, true);

	if (!same && json_scalar_text(a, &x) && json_scalar_text(b, &y))
		same = strcmp(buf_str(&x), buf_str(&y)) == 0;
	buf_clear(&x);
	buf_clear(&y);
	return same;
}

static bool value_in(const cJSON *v, const cJSON *list)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, list)
		if (same_value(v, c))
			return true;
	return false;
}

static bool value_contains(const cJSON *v, const char *what)
{
	struct buf text = BUF_INIT;
	bool found;

	if (!json_scalar_text(v, &text))
		json_print(v, &text);
	found = strstr(buf_str(&text), what) != NULL;
	buf_clear(&text);
	return found;
}

static bool json_matches(const struct manifest_rule *rule, const cJSON *json)
{
	const cJSON *v = json ? json_path(json, rule->json) : NULL;

	if (rule->not_in)
		return !v || !value_in(v, rule->not_in);
	if (!v || (cJSON_IsNull(v) && !rule->in))
		return false;
	if (rule->in && !value_in(v, rule->in))
		return false;
	return !rule->contains || value_contains(v, rule->contains);
}

static bool body_contains(const struct http_response *r, const char *what)
{
	return r->body.len && memmem(r->body.data, r->body.len, what, strlen(what)) != NULL;
}

bool rule_matches(const struct manifest_rule *rule, const struct http_response *r,
		  const cJSON *json, bool at_token_url)
{
	if (rule->at_token_url && !at_token_url)
		return false;
	if (r->status == 0 || !status_matches(rule, r->status))
		return false;
	if (rule->header && !http_response_header(r, rule->header))
		return false;
	if (rule->json)
		return json_matches(rule, json);
	return !rule->contains || body_contains(r, rule->contains);
}

/* ---- Retry-After and its kin ---- */

/* The partner's own idea of now: what its clock is off then cancels out. */
static int64_t server_now_ms(const struct http_response *r, int64_t now_ms)
{
	const char *date = http_response_header(r, "date");
	int64_t us;

	return date && clock_parse_time(date, &us, NULL) == 0 ? us / 1000 : now_ms;
}

/* How long from now; false if the value says nothing that can be used.  Numbers are told apart by size, since
 * the same header carries seconds at one partner and an epoch at the next. */
static bool wait_of(const char *value, const struct http_response *r, int64_t now_ms,
		    int64_t *wait_ms)
{
	char *end;
	double n;
	int64_t us;

	value += strspn(value, " \t");
	if (isdigit((unsigned char)*value)) {
		n = strtod(value, &end);
		end += strspn(end, " \t");
		if (!*end || *end == 's' || *end == ';' || *end == ',') {
			if (n < 1e8)
				*wait_ms = (int64_t)(n * 1000 + 0.999);
			else if (n >= 1e12 && n < 1e14)
				*wait_ms = (int64_t)n - server_now_ms(r, now_ms);
			else if (n >= 1e9 && n < 1e11)
				*wait_ms = (int64_t)(n * 1000) - server_now_ms(r, now_ms);
			else
				return false;
			return true;
		}
	}
	if (*value == '-' || clock_parse_time(value, &us, NULL) < 0)
		return false;
	*wait_ms = us / 1000 - server_now_ms(r, now_ms);
	return true;
}

int64_t retry_after_ms(const struct manifest *m, const struct http_response *r, int64_t now_ms)
{
	bool any = false;

	for (int i = 0; i < m->n_retry_after; i++) {
		const char *value = http_response_header(r, m->retry_after[i]);
		int64_t wait;

		if (!value || !wait_of(value, r, now_ms, &wait))
			continue;
		any = true;
		if (wait > 0)
			return wait < RETRY_MIN_MS   ? RETRY_MIN_MS
			       : wait > RETRY_MAX_MS ? RETRY_MAX_MS
						     : wait;
	}
	return any ? RETRY_MIN_MS : 0;
}

/* A 503 that says when: not before.  Only the standard header; a reset of a window is no word on an outage. */
static int64_t told_ms(const struct http_response *r, int64_t now_ms, int64_t otherwise_ms)
{
	const char *value = http_response_header(r, "retry-after");
	int64_t wait;

	if (otherwise_ms || !value || !wait_of(value, r, now_ms, &wait) || wait <= 0)
		return otherwise_ms;
	return wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS;
}

/* ---- what the partner says ---- */

static const char *message_of(const cJSON *json, struct buf *out)
{
	static const char *const paths[] = {
		"error.message", "message", "error_description", "error", "errors[0].message",
		"errors[0]",     "result"
	};

	for (size_t i = 0; json && i < ARRAY_LEN(paths); i++) {
		const char *s = json_str(json, paths[i]);

		if (s && *s) {
			buf_puts(out, s);
			return buf_str(out);
		}
	}
	return NULL;
}

/* The beginning of a body that is no JSON, on one line. */
static void put_snippet(const struct http_response *r, struct buf *out)
{
	bool blank = true;

	for (size_t i = 0; i < r->body.len && out->len < SNIPPET_MAX; i++) {
		unsigned char c = (unsigned char)r->body.data[i];
		bool space = c <= ' ' || c == 0x7f;

		if (!space || !blank)
			buf_putc(out, space ? ' ' : (char)c);
		blank = space;
	}
}

static void set_text(const struct http_response *r, const cJSON *json, enum err_class class,
		     const char *rule, struct err *out)
{
	struct buf text = BUF_INIT;

	if (!message_of(json, &text) && !json)
		put_snippet(r, &text);
	if (text.len)
		err_set(out, 0, class, rule, "status %d: %s", r->status, buf_str(&text));
	else
		err_set(out, 0, class, rule, "status %d", r->status);
	buf_clear(&text);
}

/* ---- the table of E1 ---- */

/* First match wins; 0 as `to` means `from` alone. */
static const struct {
	int from, to;
	enum err_class class;
	const char *rule;
} table[] = {
	{ 200, 299, ERR_NONE, "" },
	{ 401, 0, ERR_AUTH, "status 401" },
	{ 408, 0, ERR_TRANSIENT, "status 408" }, /* request timeout: the partner gave up waiting */
	{ 425, 0, ERR_TRANSIENT, "status 425" }, /* too early */
	{ 429, 0, ERR_RATE_LIMIT, "status 429" },
	{ 300, 399, ERR_CLIENT,
	  "status 3xx" }, /* redirects are not followed: credentials would go along */
	{ 400, 499, ERR_CLIENT, "status 4xx" },
	{ 500, 599, ERR_TRANSIENT, "status 5xx" },
	{ 0, 999, ERR_DATA, "status unknown" },
};

/* A server of mail counts the other way round: what it says of 4yz it may take later, what of 5yz never.  Either is its word, so a mail
 * that got one was not sent. */
static const struct {
	int from, to;
	enum err_class class;
	const char *rule;
} mail_table[] = {
	{ 200, 299, ERR_NONE, "" },
	{ 421, 0, ERR_TRANSIENT, "smtp 421" }, /* it closes */
	{ 400, 499, ERR_TRANSIENT, RULE_SMTP_LATER },
	{ 530, 0, ERR_AUTH, "smtp 530" },
	{ 534, 535, ERR_AUTH, "smtp 535" },
	{ 0, 999, ERR_CLIENT, "smtp 5yz" },
};

static void classify_mail(const struct http_response *r, struct err *out)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(mail_table) &&
	       (r->status < mail_table[i].from ||
		r->status > (mail_table[i].to ? mail_table[i].to : mail_table[i].from)))
		i++;
	if (mail_table[i].class != ERR_NONE)
		set_text(r, NULL, mail_table[i].class, mail_table[i].rule, out);
}

static void classify_status(const struct http_response *r, const cJSON *json, struct err *out)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(table) &&
	       (r->status < table[i].from ||
		r->status > (table[i].to ? table[i].to : table[i].from)))
		i++;
	if (table[i].class != ERR_NONE)
		set_text(r, json, table[i].class, table[i].rule, out);
	else if (!json && r->body.len)
		set_text(r, json, ERR_DATA, "not JSON", out);
}

/* What a person looks for first: whose clock, whose name, whose authority. */
static const char *tls_problem(const char *detail)
{
	static const struct {
		const char *words, *name;
	} known[] = {
		{ "has expired", " expired" },
		{ "not yet valid", " not yet valid" },
		{ "alternative certificate subject name", " wrong host" },
		{ "does not match target host", " wrong host" },
		{ "self-signed", " untrusted" },
		{ "self signed", " untrusted" },
		{ "unable to get local issuer", " untrusted" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strstr(detail, known[i].words))
			return known[i].name;
	return "";
}

/* No status: the network's fault, and worth another try, but for an answer that is too large every time. */
static void classify_failure(const struct http_response *r, struct err *out)
{
	const char *failure = r->failure ? r->failure : "network";
	bool data = strcmp(failure, "too_large") == 0;
	char rule[64];

	snprintf(rule, sizeof(rule), "%s%s%s", strcmp(failure, "network") == 0 ? "" : "network ",
		 failure, strcmp(failure, "tls") == 0 ? tls_problem(r->detail) : "");
	err_set(out, 0, data ? ERR_DATA : ERR_TRANSIENT, rule, "%s%s%s", failure,
		*r->detail ? ": " : "", r->detail);
}

void classify(const struct manifest *m, const struct http_response *r, const cJSON *json,
	      bool at_token_url, int64_t now_ms, struct err *out)
{
	char rule[32];
	int i = 0;

	*out = (struct err){ 0 };
	if (r->status == 0) {
		classify_failure(r, out);
		return;
	}
	while (i < m->n_errors && !rule_matches(&m->errors[i], r, json, at_token_url))
		i++;
	if (i < m->n_errors) {
		snprintf(rule, sizeof(rule), "errors[%d]", i);
		set_text(r, json, m->errors[i].class, rule, out);
		out->action = m->errors[i].action;
	} else if (r->mail) {
		classify_mail(r, out);
	} else {
		classify_status(r, json, out);
	}
	if (out->action == ACT_HOLD)
		out->retry_after_ms = m->errors[i].action_ms;
	if (out->class == ERR_TRANSIENT)
		out->retry_after_ms = told_ms(r, now_ms, out->retry_after_ms);
	if (out->class != ERR_RATE_LIMIT || out->action == ACT_HOLD)
		return;
	out->retry_after_ms = retry_after_ms(m, r, now_ms);
	if (out->retry_after_ms == 0)
		out->retry_after_ms = RETRY_FALLBACK_MS;
}
