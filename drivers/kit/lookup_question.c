/* Params to a question: one form for what means the same, however it was written. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/mem.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/lookup_parts.h"
#include "drivers/kit/subst.h"

#define TEXT_MAX_BYTES 512
#define LIST_MAX 64

struct values {
	const struct caller *c;
	const struct manifest_lookup *lookup;
	const char *v[LOOKUP_PARAMS_MAX]; /* NULL: left out */
	struct buf keep;
};

static int wrong(const struct manifest_param *p, struct err *err, const char *what)
{
	return err_set(err, -EINVAL, ERR_BAD_JOB, "args.params", "params.%s %s", p->name, what);
}

/* ---- one value ---- */

static int out_of_range(const struct manifest_param *p, struct err *err)
{
	char text[96];

	if (p->min && p->max)
		snprintf(text, sizeof(text), "must be %.10g to %.10g", p->min->valuedouble,
			 p->max->valuedouble);
	else
		snprintf(text, sizeof(text), "must be at %s %.10g", p->min ? "least" : "most",
			 (p->min ? p->min : p->max)->valuedouble);
	return wrong(p, err, text);
}

/* "52.5200" and 52.52 are the same, and so is what rounds to it; -0 is 0. */
static const char *number_text(double d, int digits, struct arena *arena)
{
	char text[48];
	size_t n = (size_t)snprintf(text, sizeof(text), "%.*f", digits, d);

	if (strchr(text, '.')) {
		while (text[n - 1] == '0')
			n--;
		if (text[n - 1] == '.')
			n--;
	}
	text[n] = '\0';
	return arena_strdup(arena, strcmp(text, "-0") == 0 ? "0" : text);
}

static int number_value(const struct manifest_param *p, const char *s, struct arena *arena,
			const char **out, struct err *err)
{
	char *end;
	double d = strtod(s, &end);

	/* strtod alone would take "inf", "nan", "0x1p3" */
	if (!*s || *end || s[strspn(s, "0123456789+-.eE")] || !isfinite(d) || fabs(d) > 1e15)
		return wrong(p, err, "must be a number");
	if (p->as == PARAM_INT && d != floor(d))
		return wrong(p, err, "must be a whole number");
	if ((p->min && d < p->min->valuedouble) || (p->max && d > p->max->valuedouble))
		return out_of_range(p, err);
	*out = number_text(d, p->as == PARAM_INT ? 0 : p->digits, arena);
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static char in_case(char c, int letters)
{
	return (char)(letters == CASE_LOWER   ? tolower((unsigned char)c)
		      : letters == CASE_UPPER ? toupper((unsigned char)c)
					      : c);
}

/* Without blanks around it, one between words; letters beyond ASCII stay as they are. */
static int text_value(const struct manifest_param *p, const char *s, struct arena *arena,
		      const char **out, struct err *err)
{
	size_t len = strlen(s), n = 0;
	char *text;

	if (len > TEXT_MAX_BYTES)
		return wrong(p, err, "is too long: at most 512 bytes");
	text = arena_alloc(arena, len + 1);
	for (; *s; s++) {
		if ((unsigned char)*s < ' ' && !is_blank(*s))
			return wrong(p, err, "holds a control character");
		if (!is_blank(*s))
			text[n++] = in_case(*s, p->letters);
		else if (n && text[n - 1] != ' ')
			text[n++] = ' ';
	}
	if (n && text[n - 1] == ' ')
		n--;
	text[n] = '\0';
	if (!n)
		return wrong(p, err, "is empty");
	*out = text;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "usd, EUR,usd" and "EUR,USD" are the same. */
static int list_value(const struct manifest_param *p, const char *s, struct arena *arena,
		      const char **out, struct err *err)
{
	char *words[LIST_MAX], *text, *save = NULL;
	struct buf list = BUF_INIT;
	const char *line;
	int n = 0, rc = text_value(p, s, arena, &line, err);

	if (rc < 0)
		return rc;
	text = arena_strdup(arena, line);
	for (char *w = strtok_r(text, ", ", &save); w; w = strtok_r(NULL, ", ", &save)) {
		if (n == LIST_MAX)
			return wrong(p, err, "has too many words: at most 64");
		words[n++] = w;
	}
	qsort(words, (size_t)n, sizeof(*words), by_text);
	for (int i = 0; i < n; i++)
		if (i == 0 || strcmp(words[i], words[i - 1]) != 0)
			buf_printf(&list, "%s%s", i ? "," : "", words[i]);
	*out = arena_strdup(arena, buf_str(&list));
	buf_clear(&list);
	return n ? 0 : wrong(p, err, "is empty");
}

static int value_of(struct values *v, int i, const cJSON *given, struct arena *arena,
		    struct err *err)
{
	const struct manifest_param *p = &v->lookup->params[i];

	if (!given || cJSON_IsNull(given))
		given = p->fallback;
	if (!given && p->optional)
		return 0;
	if (!given)
		return wrong(p, err, "is missing");
	buf_reset(&v->keep);
	if (cJSON_IsBool(given) || !json_scalar_text(given, &v->keep))
		return wrong(p, err, "must be a text or a number");
	if (p->as == PARAM_TEXT)
		return text_value(p, buf_str(&v->keep), arena, &v->v[i], err);
	if (p->as == PARAM_LIST)
		return list_value(p, buf_str(&v->keep), arena, &v->v[i], err);
	return number_value(p, buf_str(&v->keep), arena, &v->v[i], err);
}

/* ---- all of them ---- */

static int check_names(const struct manifest_lookup *l, const cJSON *params, struct err *err)
{
	const char *names[LOOKUP_PARAMS_MAX], *near;
	const cJSON *c;

	for (int i = 0; i < l->n_params; i++)
		names[i] = l->params[i].name;
	cJSON_ArrayForEach (c, params) {
		int i = 0;

		while (i < l->n_params && strcmp(names[i], c->string) != 0)
			i++;
		if (i < l->n_params)
			continue;
		near = config_nearest(c->string, names, l->n_params);
		return err_set(err, -EINVAL, ERR_BAD_JOB, "args.params",
			       "params.%.60s: %s asks for no such thing%s%s%s", c->string, l->name,
			       near ? "; did you mean \"" : "", near ? near : "",
			       near ? "\"?" : "");
	}
	return 0;
}

static int read_values(struct values *v, const cJSON *params, struct arena *arena, struct err *err)
{
	const struct manifest_lookup *l = v->lookup;
	int rc = 0;

	if (params && !cJSON_IsObject(params))
		return err_set(err, -EINVAL, ERR_BAD_JOB, "args.params",
			       "params must be an object, such as {\"lat\": 52.52, \"lon\": 13.4}");
	rc = check_names(l, params, err);
	for (int i = 0; rc == 0 && i < l->n_params; i++)
		rc = value_of(v, i,
			      params ? cJSON_GetObjectItemCaseSensitive(params, l->params[i].name)
				     : NULL,
			      arena, err);
	return rc;
}

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

int question_make(const struct caller *c, const struct manifest_lookup *l, const cJSON *params,
		  struct question *out, struct err *err)
{
	struct values v = { .c = c, .lookup = l };
	int rc;

	memset(out, 0, sizeof(*out));
	out->arena = arena_new();
	rc = read_values(&v, params, out->arena, err);
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
