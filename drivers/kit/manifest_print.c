/* Prints by the tables that were read by. */
#include <string.h>

#include "drivers/kit/manifest_read.h"

void print_ms(int64_t ms, struct buf *out)
{
	static const struct {
		int64_t ms;
		const char *name;
	} units[] = {
		{ 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" }
	};
	int i = 0;

	while (ms == 0 ? i < 3 : ms % units[i].ms != 0)
		i++;
	buf_printf(out, "\"%lld%s\"", (long long)(ms / units[i].ms), units[i].name);
}

static bool print_texts(const char *const *v, int n, struct buf *out)
{
	buf_putc(out, '[');
	for (int i = 0; i < n; i++) {
		if (i)
			buf_putc(out, ',');
		json_quote(out, v[i], strlen(v[i]));
	}
	buf_putc(out, ']');
	return true;
}

static bool print_pairs(const struct manifest_pairs *p, struct buf *out)
{
	for (int i = 0; i < p->n; i++) {
		buf_putc(out, i ? ',' : '{');
		json_quote(out, p->v[i].name, strlen(p->v[i].name));
		buf_putc(out, ':');
		json_quote(out, p->v[i].value, strlen(p->v[i].value));
	}
	if (p->n)
		buf_putc(out, '}');
	return p->n > 0;
}

static bool print_word(const struct key_word *w, int value, struct buf *out)
{
	while (w->name && w->value != value)
		w++;
	if (!w->name)
		return false;
	json_quote(out, w->name, strlen(w->name));
	return true;
}

static bool print_list(const struct manifest_key *k, const char *base, struct buf *out)
{
	const char *v = *(const char *const *)(base + k->at);
	int n = *(const int *)(base + k->n_at);
	bool named = k->type == KEY_NAMED;

	buf_putc(out, named ? '{' : '[');
	for (int i = 0; i < n; i++, v += k->of->size) {
		if (i)
			buf_putc(out, ',');
		if (named) {
			const char *name = *(const char *const *)(v + k->of->name_at);

			json_quote(out, name, strlen(name));
			buf_putc(out, ':');
		}
		manifest_print_object(k->of, v, out);
	}
	buf_putc(out, named ? '}' : ']');
	return true;
}

static bool print_json(const cJSON *v, struct buf *out)
{
	if (v)
		json_print(v, out);
	return v != NULL;
}

static bool print_share(double share, struct buf *out)
{
	cJSON v = { .type = cJSON_Number, .valuedouble = share };

	return json_scalar_text(&v, out);
}

static bool print_scalar(const struct manifest_key *k, const char *at, struct buf *out)
{
	const char *s;

	switch (k->type) {
	case KEY_BOOL:
		buf_puts(out, *(const bool *)at ? "true" : "false");
		return true;
	case KEY_INT:
		buf_putint(out, *(const int *)at);
		return true;
	case KEY_INT64:
		buf_putint(out, *(const int64_t *)at);
		return true;
	case KEY_SHARE:
		return print_share(*(const double *)at, out);
	case KEY_DURATION:
		print_ms(*(const int64_t *)at, out);
		return true;
	case KEY_FORMAT:
		buf_putc(out, '1');
		return true;
	case KEY_FIXED:
		return print_word(k->words, k->words->value, out);
	case KEY_WORD:
		return print_word(k->words, *(const int *)at, out);
	case KEY_WORD_BOOL:
		return print_word(k->words, *(const bool *)at, out);
	default:
		s = *(const char *const *)at;
		if (s)
			json_quote(out, s, strlen(s));
		return s != NULL;
	}
}

static bool print_value(const struct manifest_key *k, const char *base, struct buf *out)
{
	switch (k->type) {
	case KEY_OWN:
		return k->print(base, out);
	case KEY_OBJECT:
		if (k->of->present && !k->of->present(base + k->at))
			return false;
		manifest_print_object(k->of, base + k->at, out);
		return true;
	case KEY_LIST:
	case KEY_NAMED:
		return print_list(k, base, out);
	case KEY_TEXTS:
	case KEY_HEADERS:
		return print_texts(*(const char *const *const *)(base + k->at),
				   *(const int *)(base + k->n_at), out);
	case KEY_PAIRS:
		return print_pairs((const struct manifest_pairs *)(base + k->at), out);
	case KEY_JSON:
	case KEY_JSON_LIST:
	case KEY_JSON_TEXTS:
	case KEY_JSON_OBJECT:
		return print_json(*(const cJSON *const *)(base + k->at), out);
	default:
		return print_scalar(k, base + k->at, out);
	}
}

void manifest_print_object(const struct key_table *t, const void *base, struct buf *out)
{
	struct buf value = BUF_INIT;
	bool first = true;

	buf_putc(out, '{');
	for (int i = 0; i < t->n; i++) {
		buf_reset(&value);
		if (!print_value(&t->keys[i], base, &value))
			continue;
		buf_printf(out, "%s\"%s\":", first ? "" : ",", t->keys[i].name);
		buf_append(out, value.data, value.len);
		first = false;
	}
	buf_putc(out, '}');
	buf_clear(&value);
}

void manifest_print(const struct manifest *m, struct buf *out)
{
	manifest_print_object(&manifest_table, m, out);
}
