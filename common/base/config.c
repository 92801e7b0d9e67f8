#include "common/base/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config_parts.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#define TABLES_MAX 8

/* One call of config_load: kept, since a program may have a second table. */
struct table {
	struct config_option *options; /* our copy */
	bool *by_flag; /* which were given as a flag: a later table does not touch them */
	int count;
	char *file; /* NULL if none */
};

static struct table tables[TABLES_MAX];
static int table_count;

/* Strings handed out live for ever; what a later table replaced hangs here so that it is no leak. */
static char **strings;
static size_t string_count;

static const char *keep(const char *s)
{
	strings = mem_realloc(strings, (string_count + 1) * sizeof(*strings));
	strings[string_count] = mem_strdup(s);
	return strings[string_count++];
}

static void store(const struct config_option *o, const struct config_value *v)
{
	if (o->type == CONFIG_STRING) {
		const char **out = o->out;

		if (!v->text || !*out || strcmp(*out, v->text) != 0)
			*out = v->text ? keep(v->text) : NULL;
	} else if (o->type == CONFIG_BOOL) {
		*(bool *)o->out = v->number != 0;
	} else {
		*(int64_t *)o->out = v->number;
	}
}

static bool flag_of_any_table(const struct config_option *o)
{
	for (int t = 0; t < table_count; t++)
		for (int i = 0; i < tables[t].count; i++)
			if (tables[t].by_flag[i] && tables[t].options[i].out == o->out)
				return true;
	return false;
}

/* The text in force: environment over file over default.  `place` names it for messages. */
static const char *text_of(const struct config_option *o, const struct config_file *file,
			   struct buf *place)
{
	const char *text = o->env ? getenv(o->env) : NULL;
	const struct config_line *line;

	buf_reset(place);
	if (text && *text) {
		buf_puts(place, o->env);
		return text;
	}
	line = config_file_find(file, o->name);
	if (line) {
		buf_printf(place, "%s:%d: %s", file->path, line->number, o->name);
		return line->value;
	}
	buf_printf(place, "the default of --%s", o->name);
	return o->fallback;
}

/* Everything but the flags. */
static int apply(const struct table *t, const struct config_file *file, struct buf *why)
{
	struct buf place = BUF_INIT, bad = BUF_INIT;
	int rc = 0;

	for (int i = 0; i < t->count && rc == 0; i++) {
		const struct config_option *o = &t->options[i];
		struct config_value v = { 0 };
		const char *text;

		if (t->by_flag[i] || flag_of_any_table(o))
			continue;
		text = text_of(o, file, &place);
		rc = text ? config_value_parse(o, text, &v, &bad) : 0;
		if (rc < 0)
			buf_printf(why, "%s: %s", place.data, bad.data);
		else
			store(o, &v);
	}
	buf_clear(&place);
	buf_clear(&bad);
	return rc;
}

static const struct config_option *find(const struct table *t, const char *name, size_t len)
{
	for (int i = 0; i < t->count; i++)
		if (strlen(t->options[i].name) == len && memcmp(t->options[i].name, name, len) == 0)
			return &t->options[i];
	return NULL;
}

static bool is_known(const char *name)
{
	for (int t = 0; t <= table_count && t < TABLES_MAX; t++)
		if (tables[t].options && find(&tables[t], name, strlen(name)))
			return true;
	return false;
}

static void suggest(const struct table *t, const char *name, const char *dashes, struct buf *why)
{
	const char **names = mem_alloc((size_t)(t->count + 3) * sizeof(*names)), *near;
	int n = 0;

	for (int i = 0; i < t->count; i++)
		names[n++] = t->options[i].name;
	if (*dashes) {
		names[n++] = "help";
		names[n++] = "version";
		names[n++] = "config";
	}
	near = config_nearest(name, names, n);
	if (near)
		buf_printf(why, "; did you mean %s%s?", dashes, near);
	free(names);
}

/* Unknown names are refused, but for those of another table of this program. */
static int check_file(const struct table *t, const struct config_file *file, struct buf *why)
{
	for (int i = 0; i < file->count; i++) {
		const struct config_line *line = &file->lines[i];

		if (is_known(line->name))
			continue;
		buf_printf(why, "%s:%d: unknown setting \"%s\"", file->path, line->number,
			   line->name);
		suggest(t, line->name, "", why);
		return -EINVAL;
	}
	return 0;
}

struct args {
	int argc, at;
	char **argv;
	const char *config; /* --config, if given */
	bool help, version;
};

/* The value of `--name=value` or the next word. */
static const char *value_of(struct args *a, const char *equals)
{
	const char *next = a->at + 1 < a->argc ? a->argv[a->at + 1] : NULL;

	if (equals)
		return equals + 1;
	if (!next || strncmp(next, "--", 2) == 0) /* a flag whose value was forgotten */
		return NULL;
	a->at++;
	return next;
}

static int flag_store(struct table *t, const struct config_option *o, const char *text,
		      struct buf *why)
{
	struct config_value v = { 0 };

	if (o->type == CONFIG_STRING && config_has_password(text)) {
		buf_printf(why,
			   "--%s: a password on the command line is shown by the process list; ",
			   o->name);
		if (o->env)
			buf_printf(why, "set %s, or put it into a file for --config", o->env);
		else
			buf_printf(why, "put it into a file for --config");
		return -EINVAL;
	}
	buf_printf(why, "--%s: ", o->name);
	if (config_value_parse(o, text, &v, why) < 0)
		return -EINVAL;
	buf_reset(why);
	store(o, &v);
	t->by_flag[o - t->options] = true;
	return 0;
}

/* The word at a->at begins with a dash and is no lone "-". */
static int flag_take(struct table *t, struct args *a, struct buf *why)
{
	const char *word = a->argv[a->at], *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct config_option *o;
	const char *value;

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
	    strcmp(word, "--version") == 0) {
		a->help |= word[2] != 'v';
		a->version |= word[2] == 'v';
		return 0;
	}
	o = len > 2 && word[1] == '-' ? find(t, word + 2, len - 2) : NULL;
	if (o && o->type == CONFIG_BOOL)
		return flag_store(t, o, equals ? equals + 1 : "true", why);
	if (!o && !(len == 8 && memcmp(word, "--config", 8) == 0)) {
		char *name = mem_strndup(word, len); /* what follows '=' may be secret */

		buf_printf(why, "unknown flag %s", name);
		suggest(t, name + strspn(name, "-"), "--", why);
		free(name);
		return -EINVAL;
	}
	value = value_of(a, equals);
	if (!value) {
		buf_printf(why, "%.*s needs a value", (int)len, word);
		return -EINVAL;
	}
	if (o)
		return flag_store(t, o, value, why);
	a->config = value;
	return 0;
}

static int take_flags(struct table *t, struct args *a, struct buf *why)
{
	int rc = 0;

	for (a->at = 1; a->at < a->argc && rc == 0; a->at++) {
		const char *word = a->argv[a->at];

		if (word[0] != '-' || word[1] == '\0')
			break;
		if (strcmp(word, "--") == 0) {
			a->at++;
			break;
		}
		rc = flag_take(t, a, why);
	}
	return rc;
}

static int load(struct table *t, struct args *a, struct buf *why)
{
	struct config_file file = { 0 };
	const char *path;
	int rc = take_flags(t, a, why);

	if (rc < 0 || a->help || a->version)
		return rc;
	path = a->config ? a->config : getenv("LONGSHORE_CONFIG");
	if (path && *path) {
		t->file = mem_strdup(path);
		rc = config_file_read(path, &file, why);
		if (rc == 0)
			rc = check_file(t, &file, why);
	}
	if (rc == 0)
		rc = apply(t, &file, why);
	config_file_clear(&file);
	return rc;
}

static void table_clear(struct table *t)
{
	free(t->options);
	free(t->by_flag);
	free(t->file);
	*t = (struct table){ 0 };
}

static void __attribute__((noreturn))
answer(const struct args *a, const char *program, const char *usage,
       const struct config_option *options, int n)
{
	if (a->help)
		config_help(usage, options, n);
	else
		printf("%s %s\n", program, LONGSHORE_VERSION);
	exit(fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED);
}

int config_load(const char *program, const char *usage, const struct config_option *options,
		int n_options, int argc, char **argv, const char **config_file, int *rest)
{
	struct args a = { .argc = argc, .argv = argv };
	struct table *t = &tables[table_count];
	struct buf why = BUF_INIT;
	int rc;

	if (table_count == TABLES_MAX)
		abort(); /* a program of ours with that many tables is a mistake */
	t->count = n_options;
	t->options = mem_alloc((size_t)n_options * sizeof(*options));
	if (n_options)
		memcpy(t->options, options, (size_t)n_options * sizeof(*options));
	t->by_flag = mem_zalloc((size_t)n_options * sizeof(*t->by_flag));
	rc = load(t, &a, &why);
	if (rc == 0 && (a.help || a.version))
		answer(&a, program, usage, options, n_options);
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", program, buf_str(&why));
		buf_clear(&why);
		table_clear(t);
		return EXIT_MISUSED;
	}
	buf_clear(&why);
	table_count++;
	if (config_file)
		*config_file = t->file ? t->file : "";
	*rest = a.at;
	return 0;
}
