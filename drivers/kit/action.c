#include "drivers/kit/action.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/body.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/mail.h"
#include "drivers/kit/paginate_parts.h"
#include "drivers/kit/params.h"
#include "drivers/kit/subst.h"

/* ---- names ---- */

struct naming {
	const struct action_values *v;
	struct buf keep;
};

/* The value itself; NULL: there is none. */
static const cJSON *value_of(const struct action_values *v, const char *name)
{
	const cJSON *found = NULL;

	if (strncmp(name, "in.", 3) == 0)
		found = json_path(v->in, name + 3);
	else if (strncmp(name, "kept.", 5) == 0)
		found = json_path(v->kept, name + 5);
	return found && !cJSON_IsNull(found) ? found : NULL;
}

static const char *text_of(const char *name, void *arg)
{
	struct naming *n = arg;
	const cJSON *v;

	buf_reset(&n->keep);
	if (strcmp(name, "key") == 0)
		return n->v->key;
	if (strcmp(name, "now") == 0) {
		format_time(NULL, n->v->now_us, &n->keep);
		return buf_str(&n->keep);
	}
	if (strncmp(name, "cfg.", 4) == 0)
		return cfg_text(n->v->c->driver->manifest, n->v->c->integration, name + 4,
				&n->keep);
	v = value_of(n->v, name);
	if (v && !json_scalar_text(v, &n->keep))
		json_print(v, &n->keep);
	return v ? buf_str(&n->keep) : NULL;
}

/* "{in.X}" and nothing else: the value as it is, a number or a list too. */
static bool whole_name(const char *text, char name[SUBST_NAME_MAX])
{
	const char *p = text;

	return text[0] == '{' && subst_next(&p, name) && !*p && strlen(text) == strlen(name) + 2 &&
	       (strncmp(name, "in.", 3) == 0 || strncmp(name, "kept.", 5) == 0);
}

/* A setting that need not be there, and is not. */
static bool is_unset(const struct action_values *v, const char *name)
{
	const struct manifest_setting *s = manifest_setting(v->c->driver->manifest, name);
	struct buf keep = BUF_INIT;
	bool unset = s && !s->required &&
		     !cfg_text(v->c->driver->manifest, v->c->integration, name, &keep);

	buf_clear(&keep);
	return unset;
}

/* A param or a setting that was left out takes along what names it. */
static bool is_left_out(const struct action_values *v, const char *template)
{
	char name[SUBST_NAME_MAX];

	while (subst_next(&template, name))
		if ((strncmp(name, "in.", 3) == 0 && !value_of(v, name)) ||
		    (strncmp(name, "cfg.", 4) == 0 && is_unset(v, name + 4)))
			return true;
	return false;
}

/* The same, and of what earlier steps kept. */
static bool names_nothing(const struct action_values *v, const char *template)
{
	const char *p = template;
	char name[SUBST_NAME_MAX];

	while (subst_next(&p, name))
		if (strncmp(name, "kept.", 5) == 0 && !value_of(v, name))
			return true;
	return is_left_out(v, template);
}

/* Whether all that the texts name is there. */
static bool has_all(const cJSON *t, const struct action_values *v)
{
	const cJSON *c;

	if (cJSON_IsString(t))
		return !is_left_out(v, t->valuestring);
	cJSON_ArrayForEach (c, t)
		if (!has_all(c, v))
			return false;
	return true;
}

/* ---- bodies ---- */

static int fill(const cJSON *t, struct naming *n, cJSON **out, struct err *err);

static int fill_text(const char *text, struct naming *n, cJSON **out, struct err *err)
{
	char name[SUBST_NAME_MAX];
	struct buf filled = BUF_INIT;
	int rc = 0;

	if (whole_name(text, name) && value_of(n->v, name)) {
		*out = cJSON_Duplicate(value_of(n->v, name), true);
	} else {
		rc = subst(text, SUBST_RAW, text_of, n, &filled, err);
		if (rc == 0)
			*out = cJSON_CreateString(buf_str(&filled));
	}
	buf_clear(&filled);
	return rc;
}

static int fill_members(const cJSON *t, struct naming *n, cJSON *out, struct err *err)
{
	const cJSON *c;
	int rc = 0;

	cJSON_ArrayForEach (c, t) {
		cJSON *v = NULL;

		if (cJSON_IsString(c) && is_left_out(n->v, c->valuestring))
			continue;
		if (!c->string && !has_all(c, n->v))
			continue; /* an element of a list goes whole */
		if (c->string && strcmp(c->string, "//") == 0)
			continue;
		rc = fill(c, n, &v, err);
		if (rc < 0)
			return rc;
		if (c->string)
			cJSON_AddItemToObject(out, c->string, v);
		else
			cJSON_AddItemToArray(out, v);
	}
	return 0;
}

/* As deep as a manifest is, which json_parse bounds. */
static int fill(const cJSON *t, struct naming *n, cJSON **out, struct err *err)
{
	cJSON *v;
	int rc;

	if (cJSON_IsString(t))
		return fill_text(t->valuestring, n, out, err);
	if (!cJSON_IsObject(t) && !cJSON_IsArray(t)) {
		*out = cJSON_Duplicate(t, true);
		return 0;
	}
	v = cJSON_IsObject(t) ? cJSON_CreateObject() : cJSON_CreateArray();
	rc = fill_members(t, n, v, err);
	if (rc < 0)
		cJSON_Delete(v);
	else
		*out = v;
	return rc;
}

/* ---- the call ---- */

static int make_query(const struct manifest_request *q, struct naming *n, struct action_call *out,
		      struct err *err)
{
	struct manifest_pair *v = arena_alloc(out->arena, sizeof(*v) * (size_t)(q->query.n + 1));
	int rc = 0, k = 0;

	for (int i = 0; i < q->query.n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		if (is_left_out(n->v, q->query.v[i].value))
			continue;
		rc = subst(q->query.v[i].value, SUBST_RAW, text_of, n, &value, err);
		v[k++] = (struct manifest_pair){ q->query.v[i].name,
						 arena_strdup(out->arena, buf_str(&value)) };
		buf_clear(&value);
	}
	out->spec.query = v;
	out->spec.n_query = k;
	return rc;
}

static int make_body(const struct manifest_request *q, struct naming *n, struct action_call *out,
		     struct err *err)
{
	cJSON *json = NULL;
	int rc = q->json ? fill(q->json, n, &json, err) : 0;

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

static int make_key(const struct manifest_step *s, struct naming *n, struct action_call *out,
		    struct err *err)
{
	struct buf key = BUF_INIT;
	int rc = 0;

	if (!s || !s->idempotency_header)
		return 0;
	rc = subst(s->idempotency_key, SUBST_RAW, text_of, n, &key, err);
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
	struct naming n = { .v = v };
	struct buf path = BUF_INIT;
	const char *method = "GET", *template = request_path(q, &method);
	int rc;

	*out = (struct action_call){ .arena = arena_new() };
	rc = subst(template, SUBST_PATH, text_of, &n, &path, err);
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

/* ---- input ---- */

static bool is_number(const struct manifest_param *p)
{
	return p->as == PARAM_NUMBER || p->as == PARAM_INT || p->as == PARAM_AMOUNT;
}

static cJSON *typed(const struct manifest_param *p, const cJSON *given, const char *text)
{
	if (is_number(p))
		return cJSON_CreateNumber(strtod(text, NULL));
	if (p->as == PARAM_BOOL || p->as == PARAM_JSON)
		return cJSON_Duplicate(given && !cJSON_IsNull(given) ? given : p->fallback, true);
	return cJSON_CreateString(text);
}

int action_in(const struct manifest_action *a, const cJSON *args, cJSON **out, struct err *err)
{
	struct params_of of = { a->params, a->n_params, "args", "args.", a->name, .prose = true };
	const char **values;
	struct arena *arena;
	cJSON *in;
	int rc;

	if (!a->n_params) {
		*out = args ? cJSON_Duplicate(args, true) : cJSON_CreateObject();
		return 0;
	}
	arena = arena_new();
	values = arena_alloc(arena, sizeof(*values) * (size_t)a->n_params);
	rc = params_read(&of, args, arena, values, err);
	in = cJSON_CreateObject();
	for (int i = 0; rc == 0 && i < a->n_params; i++)
		if (values[i])
			cJSON_AddItemToObject(in, a->params[i].name,
					      typed(&a->params[i],
						    args ? cJSON_GetObjectItemCaseSensitive(
								   args, a->params[i].name)
							 : NULL,
						    values[i]));
	arena_free(arena);
	if (rc < 0)
		cJSON_Delete(in);
	else
		*out = in;
	return rc;
}

int action_once(const struct manifest_action *a, const cJSON *in, struct buf *out, struct err *err)
{
	struct action_values v = { .in = in };
	struct naming n = { .v = &v };
	int rc = subst(a->once, SUBST_QUERY, text_of, &n, out, err);

	buf_clear(&n.keep);
	return rc < 0 ? -EINVAL : 0;
}

static bool may_be_left_out(const struct manifest_action *of, const char *name)
{
	for (int i = 0; i < of->n_params; i++)
		if (strcmp(of->params[i].name, name) == 0)
			return of->params[i].optional || of->params[i].fallback;
	return false;
}

static const char *missing_arg(const struct manifest_action *of, const struct manifest_then *t,
			       const struct action_values *v)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, t->args)
		if (!has_all(c, v) && !(t->when && may_be_left_out(of, c->string)))
			return c->string;
	return NULL;
}

int action_then(const struct manifest_action *of, const struct manifest_then *t,
		const struct action_values *v, cJSON **out, const char **missing, struct err *err)
{
	struct naming n = { .v = v };
	int rc;

	*out = NULL;
	*missing = NULL;
	if (t->when && names_nothing(v, t->when))
		return 0;
	*missing = missing_arg(of, t, v);
	if (*missing)
		return 0;
	rc = fill(t->args, &n, out, err);
	buf_clear(&n.keep);
	return rc < 0 ? -EINVAL : 0;
}

/* ---- answers ---- */

static void set(cJSON *kept, const char *name, cJSON *v)
{
	cJSON_DeleteItemFromObjectCaseSensitive(kept, name);
	cJSON_AddItemToObject(kept, name, v);
}

static cJSON *answer_value(const struct call_result *r, const cJSON *json, const char *path)
{
	char name[80] = "";
	const char *header;
	const cJSON *v;

	if (strncmp(path, "header:", 7) == 0) {
		for (size_t i = 0; path[7 + i] && i + 1 < sizeof(name); i++)
			name[i] = (char)tolower((unsigned char)path[7 + i]);
		header = http_response_header(&r->http, name);
		return header ? cJSON_CreateString(header) : NULL;
	}
	v = json ? json_path(json, path) : NULL;
	return v && !cJSON_IsNull(v) ? cJSON_Duplicate(v, true) : NULL;
}

static int keep_of(const struct manifest_pairs *keep, const struct call_result *r,
		   const cJSON *json, cJSON *kept, const char *what, struct err *err)
{
	for (int i = 0; i < keep->n; i++) {
		cJSON *v = answer_value(r, json, keep->v[i].value);

		if (!v)
			return err_set(err, -EBADMSG, ERR_DATA, "keep",
				       "%s has no %s, which \"%s\" is read from", what,
				       keep->v[i].value, keep->v[i].name);
		set(kept, keep->v[i].name, v);
	}
	return 0;
}

int action_keep(const struct manifest_step *s, const struct call_result *r, cJSON *kept,
		struct err *err)
{
	return keep_of(&s->keep, r, r->json, kept, "the answer", err);
}

struct finding {
	const struct manifest_step *s;
	const cJSON *one;
	int n;
};

static int see(const cJSON *v, const char *key, int index, void *arg)
{
	struct finding *f = arg;
	const cJSON *id, *c;

	(void)key;
	(void)index;
	if (cJSON_IsArray(v)) {
		cJSON_ArrayForEach (c, v)
			see(c, NULL, 0, f);
		return 0;
	}
	id = json_path(v, f->s->find_id);
	if (id && !cJSON_IsNull(id)) {
		f->one = v;
		f->n++;
	}
	return 0;
}

int action_found(const struct manifest_step *s, const struct call_result *r, cJSON *kept,
		 struct err *err)
{
	const struct manifest_pairs *keep = s->find_keep.n ? &s->find_keep : &s->keep;
	struct finding f = { .s = s };
	int rc;

	if (r->json)
		json_path_each(r->json, s->find_records, see, &f);
	if (f.n == 0)
		return 0;
	if (f.n > 1)
		return err_set(err, -EEXIST, ERR_DATA, "find_first",
			       "find_first found %d records, where one was made at most", f.n);
	rc = keep_of(keep, r, f.one, kept, "the record that was found", err);
	return rc < 0 ? rc : 1;
}

void action_key(const char *partner, int64_t integration, const char *action, const char *entry,
		const char *step, char out[ACTION_KEY_BYTES])
{
	uint8_t digest[SHA256_BYTES];
	struct buf text = BUF_INIT;

	buf_printf(&text, "%s\n%lld\n%s\n%s\n%s", partner, (long long)integration, action, entry,
		   step);
	crypto_sha256(text.data, text.len, digest);
	crypto_hex(digest, sizeof(digest), out);
	buf_clear(&text);
}
