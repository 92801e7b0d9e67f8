/* One step of an action as a call: where it goes, what it carries, under which key. */
#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/action_parts.h"
#include "drivers/kit/body.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/mail.h"
#include "drivers/kit/subst.h"

static int make_query(const struct manifest_request *q, struct action_naming *n,
		      struct action_call *out, struct err *err)
{
	struct manifest_pair *v = arena_alloc(out->arena, sizeof(*v) * (size_t)(q->query.n + 1));
	int rc = 0, k = 0;

	for (int i = 0; i < q->query.n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		if (action_leaves_out(n->v, q->query.v[i].value))
			continue;
		rc = subst(q->query.v[i].value, SUBST_RAW, action_text, n, &value, err);
		v[k++] = (struct manifest_pair){ q->query.v[i].name,
						 arena_strdup(out->arena, buf_str(&value)) };
		buf_clear(&value);
	}
	out->spec.query = v;
	out->spec.n_query = k;
	return rc;
}

static int make_body(const struct manifest_request *q, struct action_naming *n,
		     struct action_call *out, struct err *err)
{
	cJSON *json = NULL;
	int rc = q->json ? action_fill(q->json, n, &json, err) : 0;

	if (rc == 0 && json && n->v->c->driver->manifest->body == BODY_MAIL) {
		const char *from = NULL, *to = NULL;

		rc = mail_write(json, n->v->key, n->v->now_us, &out->body, &from, &to, err);
		if (rc == 0) {
			out->spec.mail_from = arena_strdup(out->arena, from);
			out->spec.mail_to = arena_strdup(out->arena, to);
		}
	} else if (rc == 0 && json) {
		out->spec.content_type = body_write(n->v->c->driver->manifest, json, &out->body);
	}
	if (out->body.len) {
		out->spec.body = buf_str(&out->body);
		out->spec.body_len = out->body.len;
	}
	cJSON_Delete(json);
	return rc;
}

static int make_key(const struct manifest_step *s, struct action_naming *n, struct action_call *out,
		    struct err *err)
{
	struct buf key = BUF_INIT;
	int rc = 0;

	if (!s || !s->idempotency_header)
		return 0;
	rc = subst(s->idempotency_key, SUBST_RAW, action_text, n, &key, err);
	out->header = (struct http_header){ s->idempotency_header,
					    arena_strdup(out->arena, buf_str(&key)) };
	out->spec.headers = &out->header;
	out->spec.n_headers = 1;
	buf_clear(&key);
	return rc;
}

int action_call_make(const struct manifest_request *q, const struct manifest_step *s,
		     const struct action_values *v, struct action_call *out, struct err *err)
{
	struct action_naming n = { .v = v };
	struct buf path = BUF_INIT;
	const char *method = "GET", *template = request_path(q, &method);
	int rc;

	*out = (struct action_call){ .arena = arena_new() };
	rc = subst(template, SUBST_PATH, action_text, &n, &path, err);
	out->spec = (struct call_spec){ .endpoint = template, .method = method };
	out->spec.path = arena_strdup(out->arena, buf_str(&path));
	if (rc == 0)
		rc = make_query(q, &n, out, err);
	if (rc == 0)
		rc = make_body(q, &n, out, err);
	if (rc == 0)
		rc = make_key(s, &n, out, err);
	buf_clear(&path);
	buf_clear(&n.keep);
	return rc < 0 ? -EINVAL : 0;
}

void action_call_clear(struct action_call *c)
{
	buf_clear(&c->body);
	arena_free(c->arena);
	memset(c, 0, sizeof(*c));
}
