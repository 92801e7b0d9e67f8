#include "drivers/kit/action.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/action_parts.h"
#include "drivers/kit/params.h"
#include "drivers/kit/subst.h"

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
	struct action_naming n = { .v = &v };
	int rc = subst(a->once, SUBST_QUERY, action_text, &n, out, err);

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
		if (!action_has_all(c, v) && !(t->when && may_be_left_out(of, c->string)))
			return c->string;
	return NULL;
}

int action_then(const struct manifest_action *of, const struct manifest_then *t,
		const struct action_values *v, cJSON **out, const char **missing, struct err *err)
{
	struct action_naming n = { .v = v };
	int rc;

	*out = NULL;
	*missing = NULL;
	if (t->when && action_names_nothing(v, t->when))
		return 0;
	*missing = missing_arg(of, t, v);
	if (*missing)
		return 0;
	rc = action_fill(t->args, &n, out, err);
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
