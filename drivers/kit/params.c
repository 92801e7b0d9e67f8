/* Params of lookups and actions: one form for what means the same, however it was written. */
#include "drivers/kit/params.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/mem.h"
#include "drivers/kit/map_value.h"

#define TEXT_MAX_BYTES 512
#define PROSE_MAX_BYTES (64 * 1024)
#define LIST_MAX 64
#define AMOUNT_DIGITS_MAX 12

/* One value on its way. */
struct reading {
	const struct params_of *of;
	const struct manifest_param *p;
	struct arena *arena;
	struct err *err;
};

static int wrong(const struct reading *r, const char *what)
{
	return err_set(r->err, -EINVAL, ERR_BAD_JOB, r->of->rule, "%s%s %s", r->of->shown,
		       r->p->name, what);
}

/* ---- one value ---- */

static int out_of_range(const struct reading *r)
{
	const struct manifest_param *p = r->p;
	char text[96];

	if (p->min && p->max)
		snprintf(text, sizeof(text), "must be %.10g to %.10g", p->min->valuedouble,
			 p->max->valuedouble);
	else
		snprintf(text, sizeof(text), "must be at %s %.10g", p->min ? "least" : "most",
			 (p->min ? p->min : p->max)->valuedouble);
	return wrong(r, text);
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

static int number_value(const struct reading *r, const char *s, const char **out)
{
	const struct manifest_param *p = r->p;
	char *end;
	double d = strtod(s, &end);

	/* strtod alone would take "inf", "nan", "0x1p3" */
	if (!*s || *end || s[strspn(s, "0123456789+-.eE")] || !isfinite(d) || fabs(d) > 1e15)
		return wrong(r, "must be a number");
	if (p->as == PARAM_INT && d != floor(d))
		return wrong(r, "must be a whole number");
	if ((p->min && d < p->min->valuedouble) || (p->max && d > p->max->valuedouble))
		return out_of_range(r);
	*out = number_text(d, p->as == PARAM_INT ? 0 : p->digits, r->arena);
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
static int text_value(const struct reading *r, const char *s, const char **out)
{
	size_t len = strlen(s), n = 0;
	char *text;

	if (len > TEXT_MAX_BYTES)
		return wrong(r, "is too long: at most 512 bytes");
	text = arena_alloc(r->arena, len + 1);
	for (; *s; s++) {
		if ((unsigned char)*s < ' ' && !is_blank(*s))
			return wrong(r, "holds a control character");
		if (!is_blank(*s))
			text[n++] = in_case(*s, r->p->letters);
		else if (n && text[n - 1] != ' ')
			text[n++] = ' ';
	}
	if (n && text[n - 1] == ' ')
		n--;
	text[n] = '\0';
	if (!n)
		return wrong(r, "is empty");
	*out = text;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "usd, EUR,usd" and "EUR,USD" are the same. */
static int list_value(const struct reading *r, const char *s, const char **out)
{
	char *words[LIST_MAX], *text, *save = NULL;
	struct buf list = BUF_INIT;
	const char *line;
	int n = 0, rc = text_value(r, s, &line);

	if (rc < 0)
		return rc;
	text = arena_strdup(r->arena, line);
	for (char *w = strtok_r(text, ", ", &save); w; w = strtok_r(NULL, ", ", &save)) {
		if (n == LIST_MAX)
			return wrong(r, "has too many words: at most 64");
		words[n++] = w;
	}
	qsort(words, (size_t)n, sizeof(*words), by_text);
	for (int i = 0; i < n; i++)
		if (i == 0 || strcmp(words[i], words[i - 1]) != 0)
			buf_printf(&list, "%s%s", i ? "," : "", words[i]);
	*out = arena_strdup(r->arena, buf_str(&list));
	buf_clear(&list);
	return n ? 0 : wrong(r, "is empty");
}

/* Cents, or whatever the currency has least of: never a fraction, never nothing, never negative. */
static int amount_value(const struct reading *r, const char *s, const char **out)
{
	size_t n = strlen(s);

	if (!n || n > AMOUNT_DIGITS_MAX || s[strspn(s, "0123456789")] || s[0] == '0')
		return wrong(
			r,
			"must be a whole number of the currency's smallest unit, above 0, without a point: 1250 for"
			" 12.50 EUR, 500 for 500 JPY");
	*out = arena_strdup(r->arena, s);
	return r->p->max && strtod(s, NULL) > r->p->max->valuedouble   ? out_of_range(r)
	       : r->p->min && strtod(s, NULL) < r->p->min->valuedouble ? out_of_range(r)
								       : 0;
}

static int currency_value(const struct reading *r, const char *s, const char **out)
{
	char code[4];
	char *text;

	if (currency_digits(s, code) < 0)
		return wrong(r, "must be a currency's code of ISO 4217, such as EUR");
	text = arena_strdup(r->arena, code);
	for (char *p = text; *p; p++)
		*p = in_case(*p, r->p->letters);
	*out = text;
	return 0;
}

static int prose_value(const struct reading *r, const char *s, const char **out)
{
	char *text;

	if (strlen(s) > PROSE_MAX_BYTES)
		return wrong(r, "is too long: at most 64 KiB");
	text = arena_strdup(r->arena, s);
	for (char *p = text; *p; p++)
		*p = in_case(*p, r->p->letters);
	*out = text;
	return 0;
}

static int scalar_value(const struct reading *r, const char *s, const char **out)
{
	switch (r->p->as) {
	case PARAM_LIST:
		return list_value(r, s, out);
	case PARAM_NUMBER:
	case PARAM_INT:
		return number_value(r, s, out);
	case PARAM_AMOUNT:
		return amount_value(r, s, out);
	case PARAM_CURRENCY:
		return currency_value(r, s, out);
	default:
		return r->of->prose ? prose_value(r, s, out) : text_value(r, s, out);
	}
}

/* What is not brought to a form: its JSON. */
static int printed_value(const struct reading *r, const cJSON *given, struct buf *text,
			 const char **out)
{
	if (r->p->as == PARAM_BOOL && !cJSON_IsBool(given))
		return wrong(r, "must be true or false");
	json_print(given, text);
	*out = arena_strdup(r->arena, buf_str(text));
	return 0;
}

static int value_of(const struct reading *r, const cJSON *given, const char **out)
{
	struct buf text = BUF_INIT;
	int rc;

	if (!given || cJSON_IsNull(given))
		given = r->p->fallback;
	if (!given)
		return r->p->optional ? 0 : wrong(r, "is missing");
	if (r->p->as == PARAM_BOOL || r->p->as == PARAM_JSON)
		rc = printed_value(r, given, &text, out);
	else if (cJSON_IsBool(given) || !json_scalar_text(given, &text))
		rc = wrong(r, "must be a text or a number");
	else
		rc = scalar_value(r, buf_str(&text), out);
	buf_clear(&text);
	return rc;
}

/* ---- all of them ---- */

static int check_names(const struct params_of *of, const cJSON *given, struct err *err)
{
	const char **names = mem_alloc(sizeof(*names) * (size_t)(of->n + 1)), *near;
	const cJSON *c;
	int rc = 0;

	for (int i = 0; i < of->n; i++)
		names[i] = of->v[i].name;
	cJSON_ArrayForEach (c, given) {
		int i = 0;

		while (i < of->n && strcmp(names[i], c->string) != 0)
			i++;
		if (i < of->n || rc < 0)
			continue;
		near = config_nearest(c->string, names, of->n);
		rc = err_set(err, -EINVAL, ERR_BAD_JOB, of->rule,
			     "%s%.60s: %s asks for no such thing%s%s%s", of->shown, c->string,
			     of->name, near ? "; did you mean \"" : "", near ? near : "",
			     near ? "\"?" : "");
	}
	free(names);
	return rc;
}

int params_read(const struct params_of *of, const cJSON *given, struct arena *arena,
		const char **out, struct err *err)
{
	int rc;

	if (given && !cJSON_IsObject(given))
		return err_set(err, -EINVAL, ERR_BAD_JOB, of->rule,
			       "%.*s must be an object, such as {\"lat\": 52.52, \"lon\": 13.4}",
			       (int)strcspn(of->shown, "."), of->shown);
	rc = check_names(of, given, err);
	for (int i = 0; rc == 0 && i < of->n; i++) {
		struct reading r = { of, &of->v[i], arena, err };

		out[i] = NULL;
		rc = value_of(&r,
			      given ? cJSON_GetObjectItemCaseSensitive(given, of->v[i].name) : NULL,
			      &out[i]);
	}
	return rc;
}
