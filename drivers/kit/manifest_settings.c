/* settings: what {cfg.NAME} may be, and what a value must be to fit. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/plan.h"

const struct manifest_setting *manifest_setting(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->n_typed; i++)
		if (strcmp(m->typed[i].name, name) == 0)
			return &m->typed[i];
	return NULL;
}

/* ---- a value ---- */

static bool is_int(const char *s)
{
	size_t n = strspn(s + (*s == '-'), "0123456789");

	return n >= 1 && n <= 18 && !s[(*s == '-') + n];
}

static bool is_number(const char *s)
{
	char *end;

	if (!*s || s[strspn(s, "0123456789+-.eE")])
		return false;
	return isfinite(strtod(s, &end)) && !*end;
}

static bool is_url(const char *s)
{
	size_t n = strncmp(s, "https://", 8) == 0 ? 8 : strncmp(s, "http://", 7) == 0 ? 7 : 0;

	return n && s[n] && !strchr("/?#:", s[n]) && !s[strcspn(s, " \t\r\n")];
}

static bool is_of_type(enum setting_type type, const char *s)
{
	switch (type) {
	case SETTING_TEXT:
		return *s && !s[strcspn(s, "\r\n")];
	case SETTING_INT:
		return is_int(s);
	case SETTING_NUMBER:
		return is_number(s);
	case SETTING_BOOL:
		return strcmp(s, "true") == 0 || strcmp(s, "false") == 0;
	case SETTING_URL:
		return is_url(s);
	}
	return false;
}

static void choices_text(const struct manifest_setting *s, struct buf *out)
{
	buf_puts(out, "one of ");
	for (int i = 0; i < s->n_choices; i++)
		buf_printf(out, "%s%s", i ? ", " : "", s->choices[i]);
}

bool setting_fits(const struct manifest_setting *s, const char *text, struct buf *wanted)
{
	static const char *const types[] = { "a text of one line, not empty", "a whole number",
					     "a number", "true or false",
					     "an address that begins with http:// or https://" };
	bool fits = is_of_type(s->type, text);

	if (!fits)
		buf_puts(wanted, types[s->type]);
	if (!fits || s->n_choices == 0)
		return fits;
	for (int i = 0; i < s->n_choices; i++)
		if (strcmp(s->choices[i], text) == 0)
			return true;
	choices_text(s, wanted);
	return false;
}

/* ---- the manifest ---- */

static void check_value(struct manifest_reader *r, const struct manifest_setting *s,
			const char *text, const char *path)
{
	struct buf wanted = BUF_INIT;

	if (!setting_fits(s, text, &wanted))
		reader_problem_at(r, path, "\"%s\" does not fit: expected %s", text,
				  buf_str(&wanted));
	buf_clear(&wanted);
}

static void check_setting(struct manifest_reader *r, const struct manifest_setting *s)
{
	static const char *const own[] = { "in_flight", "adapter", "chaos", "deletes_brake",
					   "deletes_few" };
	const char *path = arena_printf(r->arena, "settings.%s", s->name);
	struct manifest_setting type = { .type = s->type };
	bool taken = plan_has_setting(s->name);
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		taken |= strcmp(s->name, own[i]) == 0;
	if (taken)
		reader_problem_at(r, path, "every integration has this setting already");
	if (s->required && s->fallback)
		reader_problem_at(r, path,
				  "what has a default is never missing: drop \"required\"");
	for (int i = 0; i < s->n_choices; i++)
		check_value(r, &type, s->choices[i],
			    arena_printf(r->arena, "%s.choices[%d]", path, i));
	if (s->fallback && json_scalar_text(s->fallback, &text))
		check_value(r, s, buf_str(&text), arena_printf(r->arena, "%s.default", path));
	else if (s->fallback)
		reader_problem_at(r, arena_printf(r->arena, "%s.default", path),
				  "expected a text, a number, true or false");
	buf_clear(&text);
}

void manifest_check_settings(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;

	for (int i = 0; i < m->n_typed; i++) {
		check_setting(r, &m->typed[i]);
		for (int k = 0; k < i; k++)
			if (strcmp(m->typed[k].name, m->typed[i].name) == 0)
				reader_problem_at(r,
						  arena_printf(r->arena, "settings.%s",
							       m->typed[i].name),
						  "given twice");
	}
}
