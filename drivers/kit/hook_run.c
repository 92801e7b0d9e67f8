#include "drivers/kit/hooks.h"

#include <errno.h>
#include <string.h>

#include "drivers/kit/call_door.h"

static const char *setting_value(const char *name, void *arg)
{
	struct hook_settings *s = arg;
	struct buf text = BUF_INIT;
	const char *v = cfg_text(s->manifest, s->integration, name, &text);

	v = v ? arena_strdup(s->arena, v) : NULL;
	buf_clear(&text);
	return v;
}

struct hook_values hook_settings_of(struct hook_settings *s)
{
	return (struct hook_values){ setting_value, s };
}

void hook_spec(const struct hook_request *q, struct manifest_pair *query,
	       struct http_header *headers, struct call_spec *out)
{
	for (int i = 0; i < q->query.n; i++)
		query[i] = (struct manifest_pair){ q->query.v[i].name, q->query.v[i].value };
	for (int i = 0; i < q->headers.n; i++)
		headers[i] = (struct http_header){ q->headers.v[i].name, q->headers.v[i].value };
	*out = (struct call_spec){ .endpoint = q->endpoint ? q->endpoint : q->path,
				   .method = q->method ? q->method : "GET",
				   .path = q->path,
				   .query = query,
				   .n_query = q->query.n,
				   .headers = headers,
				   .n_headers = q->headers.n,
				   .body = q->body,
				   .body_len = q->body_len,
				   .content_type = q->content_type,
				   .repeatable = q->repeatable };
}

int hook_verify_webhook(const struct driver *d, const struct hook_webhook *in, struct arena *a,
			struct hook_event *out, struct err *err)
{
	struct hook_event event = { 0 };
	int rc;

	if (!d->hooks || !d->hooks->verify_webhook)
		return -ENOSYS;
	rc = d->hooks->verify_webhook(in, a, &event, err);
	if (rc == 0)
		*out = event;
	return rc;
}

/* ---- actions ---- */

/* One call of the dialogue.  What the partner refused is an answer too: the hook decides. */
static int ask_partner(struct caller *c, const struct hook_request *ask, struct call_result *r,
		       struct err *err)
{
	struct manifest_pair query[HOOK_FIELDS_MAX];
	struct http_header headers[HOOK_FIELDS_MAX];
	struct call_spec spec;
	int rc;

	hook_spec(ask, query, headers, &spec);
	rc = call(c, &spec, r, err);
	return rc == -EREMOTEIO && r->http.status && err->class == ERR_CLIENT ? 0 : rc;
}

static int never_ends(const char *what, struct err *err)
{
	return err_set(err, -EINVAL, ERR_INTERNAL, "hook", "%s asked for more than %d calls", what,
		       HOOK_CALLS_MAX);
}

static int next_step(struct caller *c, struct hook_action *in, struct arena *a,
		     struct call_result *r, const cJSON **result, struct err *err)
{
	struct hook_request ask = { 0 };
	int rc = c->driver->hooks->plan_action(in, a, &ask, result, err);

	if (rc != HOOK_ASKS)
		return rc;
	call_result_clear(r); /* the hook has read it, and kept what it needs */
	call_result_init(r);
	rc = ask_partner(c, &ask, r, err);
	in->talk.step++;
	return rc < 0 ? rc : HOOK_ASKS;
}

int hook_run_action(struct caller *c, const char *name, const cJSON *in, const char *key,
		    struct arena *a, const cJSON **result, struct err *err)
{
	struct hook_settings settings = { c->driver->manifest, c->integration, a };
	const cJSON *kept = NULL, *got = NULL;
	struct call_result r;
	struct hook_answer answer = { &r.http, NULL };
	struct hook_action action = { .name = name,
				      .in = in,
				      .key = key,
				      .settings = hook_settings_of(&settings),
				      .now_ms = door_now_ms(c->door),
				      .talk.kept = &kept };
	int rc = HOOK_ASKS;

	if (!c->driver->hooks || !c->driver->hooks->plan_action)
		return -ENOSYS;
	call_result_init(&r);
	while (rc == HOOK_ASKS && action.talk.step <= HOOK_CALLS_MAX) {
		rc = next_step(c, &action, a, &r, &got, err);
		answer.json = r.json;
		action.talk.answer = &answer;
	}
	call_result_clear(&r);
	if (rc == HOOK_ASKS)
		rc = never_ends(name, err);
	if (rc == 0)
		*result = got;
	return rc;
}
