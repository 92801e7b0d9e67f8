#include "drivers/kit/call_door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "drivers/kit/auth_sign.h"
#include "drivers/kit/auth_store.h"
#include "drivers/kit/charset.h"
#include "drivers/kit/classify.h"
#include "drivers/kit/decode.h"
#include "drivers/kit/tape.h"

static int request_headers(const struct exchange *x, const struct signing *s,
			   const struct hook_fields *signature, struct http_header *out)
{
	const struct route *r = x->route;
	int n = 0;

	for (int i = 0; i < r->n_headers; i++)
		if (!x->spec->content_type || strcasecmp(r->headers[i].name, "content-type") != 0)
			out[n++] = r->headers[i];
	if (x->spec->content_type)
		out[n++] = (struct http_header){ "Content-Type", x->spec->content_type };
	if (x->auth_header)
		out[n++] = (struct http_header){ x->auth_name, x->auth_header };
	for (int i = 0; i < x->n_more && i < EXCHANGE_MORE_MAX; i++)
		out[n++] = x->more[i];
	for (int i = 0; i < x->spec->n_headers && i < HOOK_FIELDS_MAX; i++)
		out[n++] = x->spec->headers[i];
	for (int i = 0; i < signature->n; i++)
		out[n++] = (struct http_header){ signature->v[i].name, signature->v[i].value };
	for (int i = 0; i < s->n; i++)
		out[n++] = s->headers[i];
	return n;
}

/* The token that stands behind the prefix, and whose it is: the setting `user`, else the sender. */
static void token_login(const struct caller *c, const struct exchange *x, struct buf *login,
			struct http_mail *out)
{
	const struct manifest *m = x->route->driver->manifest;
	size_t prefix = m->auth.prefix ? strlen(m->auth.prefix) : 0;
	struct buf keep = BUF_INIT;
	const char *user = cfg_text(m, c->integration, "user", &keep);

	buf_puts(login, x->auth_header + prefix);
	buf_putc(login, '\0');
	buf_puts(login, user && *user ? user : out->from);
	out->token = login->data;
	out->user = login->data + strlen(login->data) + 1;
	buf_clear(&keep);
}

/* How a mail goes: by a token, or the credential of basic auth is who logs in (no user: nobody does); the setting `tls` says whether
 * STARTTLS must be. */
static int mail_of(const struct caller *c, const struct exchange *x, struct buf *login,
		   struct http_mail *out)
{
	const char *basic = x->auth_header, *tls;
	struct buf keep = BUF_INIT;
	char *colon;

	tls = cfg_text(x->route->driver->manifest, c->integration, "tls", &keep);
	*out = (struct http_mail){ .from = x->spec->mail_from,
				   .to = x->spec->mail_to,
				   .plain = tls && strcmp(tls, "none") == 0 };
	buf_clear(&keep);
	if (auth_has_token(x->route->driver->manifest)) {
		if (basic)
			token_login(c, x, login, out);
		else if (tape_replays(c->door->tape)) /* which has nobody's */
			out->user = out->token = "***";
		return 0;
	}
	if (!basic || strncmp(basic, "Basic ", 6) != 0)
		return 0;
	if (base64_decode(basic + 6, strlen(basic + 6), login) < 0)
		return -EINVAL;
	colon = strchr(buf_str(login), ':');
	if (!colon || colon == login->data)
		return 0;
	*colon = '\0';
	out->user = login->data;
	out->password = colon + 1;
	return 0;
}

static size_t body_max(const struct budget *memory)
{
	int64_t left = budget_left(memory);

	return left < 1 ? 1 : left < DOOR_BODY_MAX_BYTES ? (size_t)left : DOOR_BODY_MAX_BYTES;
}

static void hold_body(struct call_result *r)
{
	if (budget_take(r->memory, (int64_t)r->http.body.len)) /* body_max saw to it */
		r->body_bytes = (uint32_t)r->http.body.len;
}

struct sending {
	struct limiter *limiter;
	struct permit *permit;
	bool *handed; /* NULL, or set when the request may have reached the partner */
	struct call_mark *mark;
	const struct call_spec *spec;
	struct err *err;
	bool repeatable, sent, again, unmarked;
};

/* A mail is in doubt from its end on, and no sooner. */
static int mark_ending(void *arg)
{
	struct sending *s = arg;
	int rc = exchange_mark(s->spec, s->err);

	s->unmarked = rc < 0;
	if (rc == 0 && s->mark && clock_mono_ms() > s->mark->until_ms)
		return -ESTALE;
	if (rc == 0 && s->mark)
		s->mark->handed = true;
	return rc;
}

/* libcurl begins anew by itself where a kept connection died under the request, or refused it.  The partner may have counted the first
 * time: its permit stays used, and another goes with the second time.  What is not to be sent twice is not. */
static bool may_send(void *arg)
{
	struct sending *s = arg;

	s->again = s->sent;
	if (s->again && (s->permit || !s->repeatable))
		return false;
	if (s->mark && !s->spec->mail_to && clock_mono_ms() > s->mark->until_ms)
		return false;
	s->sent = !s->permit || limiter_sent(s->limiter, s->permit);
	if (s->sent && s->handed)
		*s->handed = true;
	if (s->sent && s->mark && !s->spec->mail_to)
		s->mark->handed = true;
	return s->sent;
}

/* Whether the first time did anything nobody knows. */
static int lost_on_the_way(struct call_result *r)
{
	r->http.status = 0;
	r->http.failure = "reset";
	snprintf(r->http.detail, sizeof(r->http.detail),
		 "the connection was lost before the answer began");
	return 0;
}

static bool is_signed(const struct caller *c, const struct exchange *x)
{
	const struct driver_hooks *h = c->driver->hooks;

	return h && h->sign_request && !x->spec->no_auth && !tape_replays(c->door->tape);
}

/* rc: how it went through the door. */
static int exchange_passed(const struct exchange *x, const struct sending *s, struct call_result *r,
			   int rc, struct err *err)
{
	if (rc == 0 && r->http.unsent && x->spec->mark)
		x->spec->mark->handed = false;
	if (rc == -ESTALE && s->again && !x->spec->repeatable)
		rc = lost_on_the_way(r);
	if (rc == -EINVAL)
		return err_set(
			err, rc, ERR_CLIENT, "request",
			"%s %s cannot be sent: its URL is none, or a header or the credential has a line break in it%s",
			x->spec->method, x->spec->endpoint,
			x->spec->mail_to
				? ", an address is none, or the message has half a line break or a NUL in it"
				: "");
	if (rc < 0 && rc != -ESTALE && rc != -ENOENT && !s->unmarked)
		err_set(err, rc, rc == -ECANCELED ? ERR_CANCELLED : ERR_TRANSIENT, "call",
			rc == -ECANCELED ? "cancelled while %s %s was under way"
					 : "the job's time ended while %s %s was under way",
			x->spec->method, x->spec->endpoint);
	else if (rc == 0)
		hold_body(r);
	return rc;
}

int exchange_send(struct caller *c, const struct exchange *x, struct call_result *r,
		  struct err *err)
{
	const struct manifest *m = x->route->driver->manifest;
	struct http_header
		headers[DOOR_HEADERS_MAX + 2 + 2 * EXCHANGE_MORE_MAX + 2 * HOOK_FIELDS_MAX];
	struct hook_fields signature = { .n = 0 };
	struct arena *arena = NULL;
	struct buf url = BUF_INIT, login = BUF_INIT;
	struct http_mail mail;
	struct mail_dialogue dialogue = { 0 };
	struct signing signing = { .n = 0 };
	struct sending sending = { .limiter = c->door->limiter,
				   .permit = x->permit,
				   .handed = x->handed,
				   .mark = x->spec->mark,
				   .spec = x->spec,
				   .err = err,
				   .repeatable = x->spec->repeatable };
	struct http_request q = {
		.sending = may_send,
		.sending_arg = &sending,
		.ending = mark_ending,
		.method = x->spec->method,
		.headers = headers,
		.body = x->spec->body,
		.body_len = x->spec->body_len,
		.wait_ms = m->wait_ms,
		.connect_ms = m->connect_ms,
		.write_ms = m->write_ms,
		.read_ms = x->read_ms,
		.total_ms = x->total_ms,
		/* A token may be good for one call, and each is counted; what must not come twice must not be in doubt
		 * because a kept connection had died. */
		.once = x->at_token_url || (x->spec->mark && !x->spec->repeatable),
	};
	int rc = route_url(x->route, x->spec, x->auth_query ? x->auth_name : NULL, x->auth_query,
			   &url, err);

	if (rc == 0 && x->spec->mail_to) {
		rc = mail_of(c, x, &login, &mail);
		mail.dialogue = c->door->tape ? &dialogue : NULL;
		q.mail = &mail;
	}
	if (rc == 0 && x->sign)
		rc = auth_sign(c, x->spec, buf_str(&url), &signing, err);
	if (rc == 0 && is_signed(c, x)) {
		arena = arena_new();
		rc = exchange_sign(c, x, &url, arena, &signature, err);
	}
	if (rc == 0) {
		/* A token is for all jobs: its answer counts for none. */
		r->memory = x->at_token_url ? NULL : c->memory;
		q.max_body_bytes = body_max(r->memory);
		q.url = buf_str(&url);
		q.n_headers = request_headers(x, &signing, &signature, headers);
		c->calls++;
		c->observed_us = r->observed_us = door_now_us(c->door);
		if (x->permit)
			limiter_sending(c->door->limiter, x->permit);
		rc = exchange_passed(x, &sending, r, exchange_pass(c, x, &q, r, err), err);
	}
	signing_clear(&signing);
	mail_dialogue_clear(&dialogue);
	secret_free_buf(&login);
	secret_free_buf(&url); /* may hold a key */
	arena_free(arena);
	return rc;
}

static int decode(const struct caller *c, const struct http_response *h, struct buf *out,
		  struct err *err)
{
	const struct driver_hooks *hooks = c->driver->hooks;

	if (!hooks || !hooks->decode_body)
		return 0;
	return hooks->decode_body(buf_str(&h->body), h->body.len, out, err);
}

static bool is_success(const struct http_response *h)
{
	return h->status >= 200 && h->status < 300;
}

/* What is wrong is often said in JSON whatever else is asked for; and tokens always are. */
static bool has_format(const struct manifest *m, const struct exchange *x,
		       const struct http_response *h)
{
	const char *type = http_response_header(h, "content-type");

	if (m->format == FORMAT_JSON || x->at_token_url)
		return false;
	return is_success(h) || !type || !strcasestr(type, "json");
}

#define FEWER "ask for fewer fields, lower \"size\" of the manifest's pagination"

/* A body that was not read to its end: of more than is left to the job, or than is read of any answer. */
static void over_body(const struct call_result *r, const struct exchange *x, struct err *why)
{
	const struct budget *m = r->memory;
	size_t most = body_max(m);

	if (most == DOOR_BODY_MAX_BYTES)
		err_set(why, 0, ERR_MEMORY, "answer size",
			"the answer of %s %s is longer than %zu KiB, the most that is read of one: " FEWER,
			x->spec->method, x->spec->endpoint, most >> 10);
	else
		err_set(why, 0, ERR_MEMORY, "job memory",
			"the answer of %s %s is longer than %zu KiB; a job may hold %lld KiB and held %lld: " FEWER
			", or raise --job-memory",
			x->spec->method, x->spec->endpoint, most >> 10, (long long)m->limit >> 10,
			(long long)m->held >> 10);
}

static void over_tree(const struct call_result *r, const struct exchange *x, size_t tree,
		      struct err *why)
{
	const struct budget *m = r->memory;

	err_set(why, 0, ERR_MEMORY, "job memory",
		"the answer of %s %s takes %zu KiB in memory, its %zu KiB of text beside them; a job may "
		"hold %lld KiB and held %lld: " FEWER ", or raise --job-memory",
		x->spec->method, x->spec->endpoint, tree >> 10, r->http.body.len >> 10,
		(long long)m->limit >> 10, (long long)(m->held - r->body_bytes) >> 10);
}

/* Of the JSON that another format becomes, and of what it takes to make it. */
static size_t decode_max(int64_t left)
{
	return left < 1 ? 1 : left < DOOR_BODY_MAX_BYTES ? (size_t)left : DOOR_BODY_MAX_BYTES;
}

/* XML says its own charset, and C of a driver reads what it knows. */
static void mend_charset(const struct caller *c, const struct exchange *x, struct call_result *r)
{
	const struct manifest *m = c->driver->manifest;
	struct buf *body = &r->http.body, mended = BUF_INIT;
	const char *how;

	if (m->format == FORMAT_XML || m->hooks.decode_body || !body->len ||
	    !charset_mend(http_response_header(&r->http, "content-type"), body->data, body->len,
			  &mended, &how))
		return;
	log_event(LOG_WARN, "charset_mended", LS("endpoint", x->spec->endpoint), LS("how", how),
		  LI("from_byte", (int64_t)utf8_valid_prefix(body->data, body->len)));
	if (mended.len > body->len && !budget_take(r->memory, (int64_t)(mended.len - body->len))) {
		buf_clear(&mended); /* as it is it is refused as no UTF-8 */
		return;
	}
	if (mended.len > body->len)
		r->body_bytes += (uint32_t)(mended.len - body->len);
	buf_clear(body);
	*body = mended;
}

/* NULL and a text where there is a body that is not what it should be. */
static cJSON *parse(const struct caller *c, const struct exchange *x, struct call_result *r,
		    struct err *why)
{
	const struct http_response *h = &r->http;
	int64_t left = budget_left(r->memory);
	struct buf decoded = BUF_INIT;
	size_t tree = 0;
	const struct buf *text = &h->body;
	struct json_error bad;
	cJSON *json = NULL;
	int rc;

	if (h->body.len == 0)
		return NULL;
	/* a token endpoint answers in JSON, whatever the partner's data is like */
	if (has_format(c->driver->manifest, x, h))
		rc = decode_answer(c->driver->manifest, h->body.data, h->body.len, decode_max(left),
				   &decoded, why);
	else
		rc = x->at_token_url ? 0 : decode(c, h, &decoded, why);
	if (rc < 0) {
		if (rc == -ENOMEM)
			over_tree(r, x, decode_max(left), why);
		else if (why->class == ERR_NONE)
			err_set(why, 0, ERR_DATA, "decode_body",
				"the answer's body could not be decoded");
		buf_clear(&decoded);
		return NULL;
	}
	if (decoded.len)
		text = &decoded;
	left = left > (int64_t)decoded.len ? left - (int64_t)decoded.len : 0;
	rc = json_parse_within(text->data, text->len, DOOR_BODY_MAX_BYTES, (size_t)left, &tree,
			       &json, &bad);
	if (rc == 0 && budget_take(r->memory, (int64_t)tree))
		r->tree_bytes = (uint32_t)tree;
	if (rc == -ENOMEM)
		over_tree(r, x, tree, why);
	else if (rc < 0)
		err_set(why, 0, ERR_DATA, "json",
			"the answer is not the JSON that was expected: line %d, column %d: %s",
			bad.line, bad.column, bad.text);
	buf_clear(&decoded);
	return json;
}

static void log_call(const struct exchange *x, const struct http_response *h, const struct err *e)
{
	struct buf limits = BUF_INIT;
	char status[16];

	if (!log_enabled(LOG_INFO))
		return;
	snprintf(status, sizeof(status), "%d", h->status);
	route_limits_seen(x->route, h, &limits);
	log_event(e->class == ERR_NONE ? LOG_INFO : LOG_WARN, "api_call",
		  LS("method", x->spec->method), LS("endpoint", x->spec->endpoint),
		  LS("status", h->status ? status : h->failure), LI("dur_ms", h->duration_ms),
		  LI("bytes", h->body.len), LS("limits", limits.len ? buf_str(&limits) : NULL),
		  LS("retry_after", http_response_header(h, "retry-after")),
		  LS("class", e->class == ERR_NONE ? NULL : err_class_name(e->class)),
		  LS("detail", h->status ? NULL : h->detail),
		  LS("rule", e->class == ERR_NONE ? NULL : e->rule));
	buf_clear(&limits);
}

/* A partner may say our own secret back to us. */
static void redact_text(struct err *e)
{
	struct buf text = BUF_INIT;

	buf_puts(&text, e->text);
	secret_redact(&text);
	snprintf(e->text, sizeof(e->text), "%s", buf_str(&text));
	secret_free_buf(&text);
}

void exchange_read(struct caller *c, const struct exchange *x, struct call_result *r,
		   struct err *out)
{
	struct err unread = { 0 };

	mend_charset(c, x, r);
	r->json = parse(c, x, r, &unread);
	if (r->memory && r->http.failure && !strcmp(r->http.failure, "too_large"))
		over_body(r, x, &unread);
	memset(out, 0, sizeof(*out));
	classify(c->driver->manifest, &r->http, r->json, x->at_token_url, door_now_ms(c->door),
		 out);
	/* an error page need not be JSON; a success must be */
	if (unread.class == ERR_MEMORY && (r->http.failure || is_success(&r->http)))
		*out = unread;
	else if (out->class == ERR_NONE && unread.class != ERR_NONE)
		*out = unread;
	else if (strcmp(out->rule, "not JSON") == 0 && unread.class == ERR_DATA &&
		 strcmp(unread.rule, "json") != 0)
		*out = unread; /* what was to become JSON says better what is wrong */
	if (out->class != ERR_NONE)
		redact_text(out);
	door_count(x->route->partner, x->spec->endpoint, &r->http);
	log_call(x, &r->http, out);
}
