#include "drivers/kit/subst.h"

#include <errno.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/io/http.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* One piece of a template: literal bytes, or a name. */
struct piece {
	const char *start;
	size_t len;
	bool is_name;
};

bool subst_name_is_known(const char *name)
{
	static const char *const whole[] = {
		"id",           "ids",        "since",    "until",
		"now",          "cursor",     "key",      "callback_url",
		"events",       "webhook.id", "event",    "event.object",
		"event.action", "method",     "path",     "webhook.secret",
		"query",        "body",       "ts",       "nonce",
		"body_sha256",  "signature",  "reference"
	};
	static const char *const prefixes[] = { "parent.", "cfg.", "cred.", "in.", "kept." };

	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		if (strcmp(name, whole[i]) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (strncmp(name, prefixes[i], n) == 0 && name[n])
			return true;
	}
	return false;
}

/* The length of "{name}" at p, 0 if what stands there is no name in braces (JSON, mostly). */
static size_t name_len(const char *p)
{
	size_t n;

	if (*p != '{')
		return 0;
	n = strspn(p + 1, NAME_CHARS);
	return n > 0 && n < SUBST_NAME_MAX && p[n + 1] == '}' ? n + 2 : 0;
}

/* *open counts the {{ that wait for their }}.  False at the end. */
static bool next_piece(const char **p, int *open, struct piece *out)
{
	size_t n;

	if (!**p)
		return false;
	*out = (struct piece){ *p, 1, false };
	n = name_len(*p);
	if ((*p)[0] == '{' && (*p)[1] == '{') {
		++*open;
		*p += 2;
	} else if ((*p)[0] == '}' && (*p)[1] == '}' && *open > 0) {
		--*open;
		*p += 2;
	} else if (n) {
		*out = (struct piece){ *p + 1, n - 2, true };
		*p += n;
	} else {
		out->len += strcspn(*p + 1, "{}");
		*p += out->len;
	}
	return true;
}

bool subst_next(const char **p, char name[SUBST_NAME_MAX])
{
	struct piece piece;
	int open = 0;

	while (next_piece(p, &open, &piece)) {
		if (!piece.is_name)
			continue;
		memcpy(name, piece.start, piece.len);
		name[piece.len] = '\0';
		return true;
	}
	return false;
}

static void append_escaped(const char *s, enum subst_escape how, struct buf *out)
{
	struct buf quoted = BUF_INIT;

	switch (how) {
	case SUBST_RAW:
		buf_puts(out, s);
		return;
	case SUBST_PATH:
	case SUBST_QUERY:
	case SUBST_FORM:
		http_escape(out, s, strlen(s));
		return;
	case SUBST_JSON:
		json_quote(&quoted, s, strlen(s));
		buf_append(out, quoted.data + 1, quoted.len - 2);
		buf_clear(&quoted);
		return;
	}
}

static int append_value(const struct piece *piece, enum subst_escape how, subst_lookup fn,
			void *arg, struct buf *out, struct err *err)
{
	char name[SUBST_NAME_MAX];
	const char *value;

	memcpy(name, piece->start, piece->len);
	name[piece->len] = '\0';
	value = subst_name_is_known(name) ? fn(name, arg) : NULL;
	if (!value && strncmp(name, "cfg.", 4) == 0)
		return err_set(
			err, -ENOENT, ERR_BAD_JOB, "template",
			"{%s} has no value: the integration needs the setting \"%s\" (--set %s=…)",
			name, name + 4, name + 4);
	if (!value)
		return err_set(err, -ENOENT, ERR_BAD_JOB, "template", "{%s} has no value here",
			       name);
	if (how == SUBST_PATH && (!*value || strcmp(value, ".") == 0 || strcmp(value, "..") == 0))
		return err_set(err, -EINVAL, ERR_BAD_JOB, "template",
			       "{%s} is \"%s\", which would lead to another address", name, value);
	append_escaped(value, how, out);
	return 0;
}

int subst(const char *template, enum subst_escape how, subst_lookup fn, void *arg, struct buf *out,
	  struct err *err)
{
	size_t before = out->len;
	struct piece piece;
	int open = 0, rc = 0;

	while (rc == 0 && next_piece(&template, &open, &piece)) {
		if (piece.is_name)
			rc = append_value(&piece, how, fn, arg, out, err);
		else
			buf_append(out, piece.start, piece.len);
	}
	if (rc < 0 && out->data) {
		out->len = before;
		out->data[before] = '\0';
	}
	return rc;
}

int subst_pairs(const struct manifest_pairs *p, subst_lookup fn, void *arg, struct arena *a,
		const struct manifest_pair **out, struct err *err)
{
	struct manifest_pair *v = arena_alloc(a, sizeof(*v) * (size_t)(p->n + 1));
	struct buf value = BUF_INIT;
	int rc = 0;

	for (int i = 0; i < p->n && rc == 0; i++) {
		buf_reset(&value);
		rc = subst(p->v[i].value, SUBST_RAW, fn, arg, &value, err);
		v[i] = (struct manifest_pair){ p->v[i].name, arena_strdup(a, buf_str(&value)) };
	}
	buf_clear(&value);
	if (rc == 0)
		*out = v;
	return rc;
}
