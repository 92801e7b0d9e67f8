/* Where the reader is, what it says of it; and the texts that stand in a manifest: names, paths. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/config.h"
#include "drivers/kit/manifest_read.h"

/* ---- problems ---- */

/* The line of a path, or of the nearest thing around it that is there. */
static int line_near(const struct manifest_reader *r, const char *path)
{
	char *copy = arena_strdup(r->arena, path);
	int line;

	for (;;) {
		char *dot, *bracket;

		line = json_line_of(r->text, r->len, copy);
		if (line > 0 || !*copy)
			return line > 0 ? line : 1;
		dot = strrchr(copy, '.');
		bracket = strrchr(copy, '[');
		if (bracket > dot)
			dot = bracket;
		if (dot)
			*dot = '\0';
		else
			*copy = '\0';
	}
}

/* One line a problem, whatever a name in the file holds. */
static void __attribute__((format(printf, 3, 0)))
put_line(struct manifest_reader *r, const char *path, const char *fmt, va_list ap)
{
	struct buf line = BUF_INIT;

	if (*path)
		buf_printf(&line, "%s: ", path);
	buf_vprintf(&line, fmt, ap);
	for (size_t i = 0; i < line.len; i++)
		if ((unsigned char)line.data[i] < ' ' || line.data[i] == 0x7f)
			line.data[i] = '?';
	buf_printf(r->problems, "%s:%d: %s\n", r->file, line_near(r, path), buf_str(&line));
	buf_clear(&line);
}

static void problem(struct manifest_reader *r, const char *path, const char *fmt, va_list ap)
{
	if (++r->n_problems <= MANIFEST_PROBLEMS_MAX)
		put_line(r, path, fmt, ap);
	else if (r->n_problems == MANIFEST_PROBLEMS_MAX + 1)
		buf_printf(r->problems, "%s: more problems, not shown\n", r->file);
}

void reader_problem_at(struct manifest_reader *r, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	problem(r, path, fmt, ap);
	va_end(ap);
}

void reader_problem(struct manifest_reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	problem(r, buf_str(&r->path), fmt, ap);
	va_end(ap);
}

static const char *type_name(const cJSON *v)
{
	if (cJSON_IsString(v))
		return "text";
	if (cJSON_IsNumber(v))
		return "a number";
	if (cJSON_IsBool(v))
		return "true or false";
	if (cJSON_IsNull(v))
		return "null";
	return cJSON_IsArray(v) ? "a list" : "an object";
}

void reader_expected(struct manifest_reader *r, const char *what, const cJSON *found)
{
	reader_problem(r, "expected %s, found %s", what, type_name(found));
}

const char *reader_nearest(struct manifest_reader *r, const char *word, const char *const *names,
			   int n)
{
	const char *near = config_nearest(word, names, n);

	return near ? arena_printf(r->arena, "; did you mean \"%s\"?", near) : "";
}

/* ---- places ---- */

size_t reader_down(struct manifest_reader *r, const char *name, int index)
{
	size_t mark = r->path.len;

	if (!name)
		buf_printf(&r->path, "[%d]", index);
	else
		buf_printf(&r->path, "%s%s", mark ? "." : "", name);
	return mark;
}

void reader_up(struct manifest_reader *r, size_t mark)
{
	r->path.len = mark;
	if (r->path.data)
		r->path.data[mark] = '\0';
}

/* ---- texts ---- */

bool is_comment(const char *name)
{
	return strcmp(name, "//") == 0 || strcmp(name, "$schema") == 0;
}

bool manifest_name_is_valid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n >= 1 && n <= 40 && s[n] == '\0';
}

const char *reader_lower(struct manifest_reader *r, const char *s)
{
	char *copy = arena_strdup(r->arena, s);

	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

const char *reader_text(struct manifest_reader *r, const cJSON *node, unsigned flags)
{
	if (!cJSON_IsString(node)) {
		reader_expected(r, "text", node);
		return NULL;
	}
	if (!*node->valuestring && !(flags & KEY_EMPTY)) {
		reader_problem(r, "expected text, found \"\"");
		return NULL;
	}
	return node->valuestring;
}

const char *reader_path(struct manifest_reader *r, const char *path, unsigned flags)
{
	const char *wrong = path_problem(path, flags);

	if (wrong) {
		reader_problem(r, "\"%s\" is no path: %s", path, wrong);
		return NULL;
	}
	if (strncmp(path, "header:", 7) == 0)
		return reader_lower(r, path);
	return path;
}

/* ---- paths ---- */

static bool is_key_char(char c)
{
	return c && !strchr(".[]{}|", c);
}

/* "[3]", "[-1]", "[*]", "{*}" at p: what follows, or NULL. */
static const char *step_end(const char *p, unsigned flags, const char **wrong)
{
	char close = *p == '[' ? ']' : '}';

	if (p[1] == '*' && p[2] == close) {
		if (!(flags & KEY_WILD))
			*wrong = "one value is wanted here, [*] and {*} give many";
		return flags & KEY_WILD ? p + 3 : NULL;
	}
	if (*p == '[') {
		const char *d = p + 1 + (p[1] == '-');
		size_t n = strspn(d, "0123456789");

		if (n >= 1 && n <= 9 && d[n] == ']')
			return d + n + 1;
	}
	*wrong = "inside brackets stands a number or *";
	return NULL;
}

/* One alternative, without its spaces, at s. */
static const char *alternative_problem(const char *s, unsigned flags)
{
	const char *p = s, *wrong = NULL;

	if (!*p)
		return "it is empty";
	if (strcmp(p, "@index") == 0 || strcmp(p, "@key") == 0)
		return flags & KEY_PLACE ? NULL : "@index and @key cannot be used here";
	if (*p == '@' && (!p[1] || p[1] == '.' || p[1] == '[' || p[1] == '{'))
		p++;
	else if (*p == '.')
		return "it begins with a dot";
	for (bool first = p == s; *p; first = false) {
		if (*p == '[' || *p == '{') {
			p = step_end(p, flags, &wrong);
			if (!p)
				return wrong;
			continue;
		}
		if (!first && *p++ != '.')
			return "a bracket or a brace too many";
		if (!is_key_char(*p))
			return "a name is missing";
		while (is_key_char(*p))
			p++;
	}
	return NULL;
}

const char *path_problem(const char *path, unsigned flags)
{
	char one[256];
	const char *end, *wrong = NULL;

	if (strncmp(path, "header:", 7) == 0) {
		size_t n =
			strspn(path + 7,
			       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

		if (!(flags & KEY_ANSWER))
			return "a header cannot be used here";
		return n > 0 && !path[7 + n] ? NULL : "after header: stands the name of one header";
	}
	if (strlen(path) >= sizeof(one))
		return "longer than 255 characters";
	for (;; path = end + 1) {
		const char *p = path + strspn(path, " ");
		size_t n;

		end = path + strcspn(path, "|");
		n = end > p ? (size_t)(end - p) : 0;
		memcpy(one, p, n);
		one[n] = '\0';
		while (n > 0 && one[n - 1] == ' ')
			one[--n] = '\0';
		wrong = alternative_problem(one, flags);
		if (wrong || !*end)
			return wrong;
	}
}
