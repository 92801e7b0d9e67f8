/* Params to a question: one form for what means the same, however it was written. */
#include <errno.h>
#include <string.h>

#include "common/base/card.h"
#include "common/base/mem.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/lookup_parts.h"
#include "drivers/kit/params.h"
#include "drivers/kit/subst.h"

struct values {
	const struct caller *c;
	const struct manifest_lookup *lookup;
	const char *v[LOOKUP_PARAMS_MAX]; /* NULL: left out */
	struct buf keep;
};

static const char *param_value(const struct values *v, const char *name)
{
	for (int i = 0; i < v->lookup->n_params; i++)
		if (strcmp(v->lookup->params[i].name, name) == 0)
			return v->v[i];
	return NULL;
}

static const char *name_value(const char *name, void *arg)
{
	struct values *v = arg;

	if (strncmp(name, "in.", 3) == 0)
		return param_value(v, name + 3);
	return strncmp(name, "cfg.", 4) == 0
		       ? cfg_text(v->c->driver->manifest, v->c->integration, name + 4, &v->keep)
		       : NULL;
}

/* A parameter of the query goes with the param that it names and that was left out. */
static bool is_left_out(const struct values *v, const char *template)
{
	char name[SUBST_NAME_MAX];

	while (subst_next(&template, name))
		if (strncmp(name, "in.", 3) == 0 && !param_value(v, name + 3))
			return true;
	return false;
}

/* ---- the question ---- */

static int fill_query(struct values *v, struct question *q, struct err *err)
{
	const struct manifest_pairs *p = &v->lookup->query;
	int rc = 0;

	q->query = arena_alloc(q->arena, sizeof(*q->query) * (size_t)(p->n + 1));
	for (int i = 0; i < p->n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		if (is_left_out(v, p->v[i].value))
			continue;
		rc = subst(p->v[i].value, SUBST_RAW, name_value, v, &value, err);
		if (rc == 0)
			q->query[q->n_query++] =
				(struct manifest_pair){ p->v[i].name,
							arena_strdup(q->arena, buf_str(&value)) };
		buf_clear(&value);
	}
	return rc;
}

static int fill_path(struct values *v, struct question *q, struct err *err)
{
	struct buf path = BUF_INIT;
	int rc = subst(v->lookup->get, SUBST_PATH, name_value, v, &path, err);

	if (rc == 0)
		q->path = arena_strdup(q->arena, buf_str(&path));
	buf_clear(&path);
	return rc;
}

/* What tells questions apart: where it goes, what it asks, what is made of the answer; and of a company's own integration,
 * whose answers are nobody else's, which one. */
static void name_it(struct values *v, struct question *q)
{
	const struct caller *c = v->c;
	struct buf what = BUF_INIT, host = BUF_INIT;

	manifest_print_lookup(v->lookup, &what);
	buf_putc(&what, '\n');
	call_base_url(c->driver, c->integration, &what);
	buf_puts(&what, q->path);
	for (int i = 0; i < q->n_query; i++) {
		buf_putc(&what, '\0');
		buf_puts(&what, q->query[i].name);
		buf_putc(&what, '=');
		buf_puts(&what, q->query[i].value);
	}
	if (c->integration->company_id)
		buf_printf(&what, "\n%lld", (long long)c->integration->id);
	call_host(c->driver, c->integration, &host);
	cache_key_of(c->driver->manifest->partner, buf_str(&host), v->lookup->name, what.data,
		     what.len, &q->key);
	buf_clear(&what);
	buf_clear(&host);
}

/* Numbers are brought to a few digits before anything is made of them; texts may hold what may not come in (O2). */
static int check_cards(const struct manifest_lookup *l, const cJSON *params, struct err *err)
{
	for (int i = 0; i < l->n_params; i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(params, l->params[i].name);

		if (v && (l->params[i].as == PARAM_TEXT || l->params[i].as == PARAM_LIST) &&
		    card_is_in_json(v))
			return err_set(err, -EINVAL, ERR_BAD_JOB, "card number",
				       "params.%s holds what looks like a card number",
				       l->params[i].name);
	}
	return 0;
}

int question_make(const struct caller *c, const struct manifest_lookup *l, const cJSON *params,
		  struct question *out, struct err *err)
{
	struct values v = { .c = c, .lookup = l };
	struct params_of of = { l->params, l->n_params, "args.params",
				"params.", l->name,     .prose = false };
	int rc;

	memset(out, 0, sizeof(*out));
	out->arena = arena_new();
	rc = check_cards(l, params, err);
	if (rc == 0)
		rc = params_read(&of, params, out->arena, v.v, err);
	if (rc == 0)
		rc = fill_path(&v, out, err);
	if (rc == 0)
		rc = fill_query(&v, out, err);
	if (rc == 0)
		name_it(&v, out);
	else
		question_clear(out);
	buf_clear(&v.keep);
	return rc;
}

struct call_spec question_call(const struct manifest_lookup *l, const struct question *q)
{
	return (struct call_spec){ .endpoint = l->get,
				   .method = "GET",
				   .group = l->group,
				   .path = q->path,
				   .query = q->query,
				   .n_query = q->n_query,
				   .repeatable = true };
}

void question_clear(struct question *q)
{
	arena_free(q->arena);
	memset(q, 0, sizeof(*q));
}
