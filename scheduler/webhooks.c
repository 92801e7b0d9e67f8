#include "scheduler/webhooks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/hooks.h"
#include "scheduler/webhook_delivery.h"

#define PATH "/webhooks/"
#define PARTNER_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_"
#define SECRET_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define PARTNER_MAX 40
#define ID_DIGITS_MAX 15
#define JOBS_MAX WEBHOOK_EVENTS_MAX
#define WHOSE_MAX_BYTES 200

static void next_event(struct delivery *d);

static void refuse_unknown(struct delivery *d)
{
	delivery_refuse(d, 404, "unknown_integration",
			"there is no such integration, or its partner sends no webhooks here");
}

static void refuse_unavailable(struct delivery *d, const char *error)
{
	delivery_refuse(d, 503, error, "not taken in: please send it again in a moment");
}

/* ---- the address ---- */

/* The characters of the path up to the next slash, or its end, which are all of `chars`; -1: there are others, or too many. */
static int segment(const char **p, const char *chars, size_t max)
{
	const char *s = *p;
	size_t n = strspn(s, chars);

	if (n == 0 || n > max || (s[n] && s[n] != '/'))
		return -1;
	*p = s + n + (s[n] == '/' && s[n + 1] ? 1 : 0);
	return (int)n;
}

/* Strictly as it is written in the address that we gave, before any decoding: an address has one spelling. */
static bool address_read(struct delivery *d, char partner[PARTNER_MAX + 1])
{
	const char *p = httpd_raw_path(d->q), *s;
	int n;

	if (strncmp(p, PATH, sizeof(PATH) - 1) != 0)
		return false;
	s = p += sizeof(PATH) - 1;
	n = segment(&p, PARTNER_CHARS, PARTNER_MAX);
	if (n < 0)
		return false;
	memcpy(partner, s, (size_t)n);
	partner[n] = '\0';
	s = p;
	if (!*p || *p == '/')
		return !*p;
	n = segment(&p, "0123456789", ID_DIGITS_MAX);
	if (n < 0 || *s == '0')
		return false;
	d->integration = strtoll(s, NULL, 10);
	s = p;
	if (!*p || *p == '/')
		return !*p;
	n = segment(&p, SECRET_CHARS, sizeof(d->secret) - 1);
	if (n < 0 || *p)
		return false;
	memcpy(d->secret, s, (size_t)n);
	d->secret[n] = '\0';
	return true;
}

static void address_print(const struct delivery *d, struct buf *out)
{
	const char *host = httpd_header(d->q, "Host"), *query = httpd_raw_query(d->q);

	if (d->s->public_url)
		buf_puts(out, d->s->public_url);
	else
		buf_printf(out, "http://%s", host ? host : "localhost");
	buf_puts(out, httpd_raw_path(d->q));
	if (*query)
		buf_printf(out, "?%s", query);
}

/* ---- whose it is, and whether it is the partner's ---- */

/* One that came twice may be read as either: nobody guesses which. */
static const char *header_value(const char *name, void *arg)
{
	struct delivery *d = arg;

	if (!d->doubled[0] && httpd_header_count(d->q, name) > 1)
		snprintf(d->doubled, sizeof(d->doubled), "%s", name);
	return httpd_header(d->q, name);
}

static bool refuse_doubled(struct delivery *d)
{
	char text[128];

	if (!d->doubled[0])
		return false;
	snprintf(text, sizeof(text), "the header %s came more than once", d->doubled);
	delivery_refuse(d, 400, "doubled_header", text);
	return true;
}

static bool read_body(struct delivery *d)
{
	struct err err = { 0 };
	size_t len;
	const char *body = httpd_body(d->q, &len);
	const char *type = header_value("content-type", d);
	int rc;

	if (refuse_doubled(d))
		return false;
	rc = webhook_read(d->driver->manifest, type, body, len, &d->events, &err);
	if (rc == -EINVAL)
		delivery_refuse(d, 400, "unparseable", err.text);
	else if (rc == -ENOTSUP)
		delivery_refuse(d, 415, "content_type", err.text);
	else if (rc < 0)
		delivery_refuse(d, 413, "too_large", err.text);
	return rc == 0;
}

static void split_up(struct delivery *d, const struct hook_event *said)
{
	struct hook_values headers = { header_value, d };
	const char *param = d->driver->manifest->webhooks.callback_param;
	struct err err = { 0 };

	if (webhook_split(d->driver->manifest, &headers, said,
			  param ? httpd_query(d->q, param) : NULL, &d->events, &err) < 0)
		delivery_refuse(d, 413, "too_many_events", err.text);
	else if (!refuse_doubled(d))
		next_event(d);
}

static bool answer_challenge(struct delivery *d)
{
	const char *type = json_str(d->events.tree, "type"),
		   *challenge = json_str(d->events.tree, "challenge");

	if (d->driver->manifest->webhooks.verify.scheme != VERIFY_SLACK || !type || !challenge ||
	    strcmp(type, "url_verification") != 0)
		return false;
	delivery_reply(d, challenge);
	return true;
}

static void on_known(int rc, const struct known *k, void *arg);

static void ask_known(struct delivery *d, bool anew)
{
	struct known_key key = { .kind = d->integration ? KNOWN_INTEGRATION : KNOWN_APP,
				 .id = d->integration,
				 .partner = d->driver->manifest->partner };

	known_get(&key, anew, on_known, d);
}

/* Its secrets may be older than the partner's, which was told of new ones a moment ago. */
static void refuse_forged(struct delivery *d, const char *verdict, const char *text)
{
	if (d->again) {
		delivery_refuse(d, 401, verdict, text);
		return;
	}
	d->again = true;
	webhook_clear(&d->events);
	ask_known(d, true);
}

static const char *credential_value(const char *name, void *arg)
{
	return json_str(arg, name);
}

static int ask_hook(struct delivery *d, struct hook_webhook *in, const struct secret *json,
		    struct hook_event *said, struct err *err)
{
	cJSON *credential = NULL;
	int rc;

	if (json &&
	    json_parse(secret_reveal(json), json->len, json->len + 1, &credential, NULL) < 0)
		credential = NULL;
	in->credential = (struct hook_values){ credential ? credential_value : NULL, credential };
	*said = (struct hook_event){ 0 };
	rc = hook_verify_webhook(d->driver, in, d->events.arena, said, err);
	json_zero(credential);
	cJSON_Delete(credential);
	return rc;
}

/* By the C of the partner's folder, with each of the credentials that are good now. */
static void judge_by_hook(struct delivery *d, const struct known *k, const struct buf *url)
{
	struct hook_webhook in = { .method = "POST",
				   .url = buf_str(url),
				   .headers = { header_value, d },
				   .now_ms = redis_now_ms(d->s->redis) };
	struct hook_event said = { 0 };
	struct err err = { 0 };
	int rc, i = 0;

	if (!read_body(d))
		return;
	in.body = httpd_body(d->q, &in.body_len);
	in.json = d->events.tree;
	do
		rc = ask_hook(d, &in, i < k->n_credentials ? &k->credentials[i] : NULL, &said,
			      &err);
	while (rc < 0 && rc != -EINVAL && ++i < k->n_credentials);
	if (refuse_doubled(d))
		return;
	if (rc == -EINVAL)
		delivery_refuse(d, 400, "unparseable", err.text);
	else if (rc < 0)
		refuse_forged(d, verify_verdict_name(VERIFY_WRONG), "the signature is not right");
	else
		split_up(d, &said);
}

static void judge(struct delivery *d, const struct known *k, const struct buf *url)
{
	const struct manifest_verify *v = &d->driver->manifest->webhooks.verify;
	struct verify_request in = { .method = "POST",
				     .url = buf_str(url),
				     .path_secret = d->secret[0] ? d->secret : NULL,
				     .headers = { header_value, d },
				     .now_ms = redis_now_ms(d->s->redis) };
	enum webhook_type type;
	enum verify_verdict verdict;
	char text[160];

	in.body = httpd_body(d->q, &in.len);
	in.form = webhook_type_of(httpd_header(d->q, "content-type"), &type) == 0 &&
		  type == WEBHOOK_FORM;
	verdict = verify(v, &k->secrets, &in, text);
	if (refuse_doubled(d))
		return;
	if (verdict != VERIFY_GENUINE) {
		refuse_forged(d, verify_verdict_name(verdict), text);
		return;
	}
	d->believed = verify_is_proof(v->scheme);
	if (read_body(d) && !answer_challenge(d))
		split_up(d, NULL);
}

static bool address_fits(const struct delivery *d)
{
	const struct manifest *m = d->driver->manifest;

	if (!m->webhooks.event || (!d->integration && !m->webhooks.whose))
		return false;
	return !d->secret[0] || m->webhooks.verify.scheme == VERIFY_URL_SECRET;
}

static void on_known(int rc, const struct known *k, void *arg)
{
	struct delivery *d = arg;
	struct buf url = BUF_INIT;

	if (rc == 0 && strcmp(k->driver->manifest->partner, d->driver->manifest->partner) != 0)
		rc = -ENOENT;
	if (rc == 0) {
		d->driver = k->driver;
		if (!address_fits(d))
			rc = -ENOENT;
	}
	if (rc == -ENOENT) {
		refuse_unknown(d);
	} else if (rc < 0) {
		refuse_unavailable(d, "postgres_down");
	} else if (k->unreadable) {
		refuse_unavailable(d, "secret_unreadable");
	} else {
		address_print(d, &url);
		d->believed = true;
		if (d->driver->manifest->hooks.verify_webhook)
			judge_by_hook(d, k, &url);
		else
			judge(d, k, &url);
	}
	buf_clear(&url);
}

/* ---- into Redis ---- */

static void on_taken(int rc, const char *fresh, int n, void *arg)
{
	struct delivery *d = arg;

	if (rc < 0)
		refuse_unavailable(d, "redis_down");
	else
		delivery_accept(d, fresh);
}

static void take_in(struct delivery *d)
{
	struct buf payloads = BUF_INIT;
	size_t at = 0;
	bool fits = true;
	int rc = 0;

	d->queued = mem_zalloc(((size_t)d->n_jobs + 1) * sizeof(*d->queued));
	for (int i = 0; i < d->n_jobs; i++) {
		const struct job_of *j = &d->jobs[i];
		struct queue_event *q = &d->queued[i];
		size_t before = payloads.len;

		q->lane = webhook_lane(j->event);
		q->unheld = webhook_is_unheld(j->event);
		q->integration = j->integration;
		webhook_hash(j->event, j->integration, q->hash);
		if (rc == 0)
			rc = webhook_job(j->event, d->s->keyring, j->integration, q->hash,
					 d->received_us, d->believed, &payloads);
		q->len = payloads.len - before;
		fits &= q->len <= JOB_MAX_BYTES;
	}
	for (int i = 0; i < d->n_jobs; i++) {
		d->queued[i].payload = payloads.data + at;
		at += d->queued[i].len;
	}
	if (rc < 0)
		refuse_unavailable(d, "no_secret_key");
	else if (!fits)
		delivery_refuse(d, 413, "too_large", "an event is larger than 1 MiB with its job");
	else if (d->n_jobs == 0)
		delivery_accept(d, "");
	else
		queue_take_in(d->queue, d->queued, d->n_jobs, on_taken, d);
	buf_clear(&payloads);
}

/* ---- whose each event is ---- */

static void add_job(struct delivery *d, int64_t integration)
{
	if (d->n_jobs == d->cap_jobs) {
		d->cap_jobs = d->cap_jobs ? 2 * d->cap_jobs : 4;
		d->jobs = mem_realloc(d->jobs, (size_t)d->cap_jobs * sizeof(*d->jobs));
	}
	d->jobs[d->n_jobs++] = (struct job_of){ &d->events.v[d->at], integration };
}

static void on_whose(int rc, const struct known *k, void *arg)
{
	struct delivery *d = arg;

	for (int i = 0; rc == 0 && i < k->n_ids && d->n_jobs < JOBS_MAX; i++)
		add_job(d, k->ids[i]);
	if (rc < 0 && rc != -ENOENT)
		d->whose_rc = rc;
	d->at++;
	d->told = true;
	if (d->waits) {
		d->waits = false;
		next_event(d);
	}
}

static void find_whose(struct delivery *d, const char *value)
{
	const struct manifest_webhooks *w = &d->driver->manifest->webhooks;
	struct known_key key = { .kind = KNOWN_WHOSE,
				 .partner = d->driver->manifest->partner,
				 .setting = w->whose_setting,
				 .value = value };

	d->told = false;
	known_get(&key, false, on_whose, d);
	d->waits = !d->told;
}

static void next_event(struct delivery *d)
{
	while (d->at < d->events.n && d->whose_rc == 0) {
		const char *whose = d->events.v[d->at].whose;

		if (d->integration) {
			add_job(d, d->integration);
			d->at++;
		} else if (!whose || strlen(whose) > WHOSE_MAX_BYTES) {
			d->at++;
		} else {
			find_whose(d, whose);
			if (d->waits)
				return;
		}
	}
	if (d->whose_rc < 0)
		refuse_unavailable(d, "postgres_down");
	else if (d->n_jobs == 0 && d->events.n > 0)
		delivery_refuse(d, 404, "unknown_integration",
				"no integration here is of the account that it names");
	else
		take_in(d);
}

/* ---- routes ---- */

static void receive(struct httpd_request *q, void *arg)
{
	struct scheduler *s = arg;
	struct delivery *d = mem_new(struct delivery);
	char partner[PARTNER_MAX + 1];

	d->s = s;
	d->q = q;
	d->received_us = redis_now_us(s->redis);
	d->began_us = clock_mono_us();
	if (address_read(d, partner))
		d->driver = driver_find(s->drivers, partner);
	if (!d->driver) {
		refuse_unknown(d);
		return;
	}
	d->queue = scheduler_queue(s, partner);
	if (!redis_is_up(s->redis))
		refuse_unavailable(d, "redis_down");
	else
		ask_known(d, false);
}

void webhooks_routes(struct scheduler *s, struct httpd *h)
{
	httpd_route_direct(h, "POST", PATH, receive, s);
}

int webhooks_start(struct scheduler *s)
{
	return known_start(s);
}

void webhooks_stop(int64_t deadline_ms)
{
	known_stop(deadline_ms);
}

void webhooks_free(void)
{
	known_free();
}
