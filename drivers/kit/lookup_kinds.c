#include "drivers/kit/lookup_kinds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

static const char *setting = "";
static struct lookup_kind kinds[LOOKUP_KINDS_MAX];
static int n_kinds;
static char *texts; /* what the names above stand in */

int lookup_kinds_options(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "lookup-kinds",
		.env = "LONGSHORE_LOOKUP_KINDS",
		.value_name = "KIND=PARTNER/NAME[:PARTNER/NAME...],...",
		.help = "who answers lookups by kind: the first, and where he has no answer the next",
		.fallback = "",
		.out = &setting
	};
	return 1;
}

const char *lookup_kinds_setting(void)
{
	return setting;
}

void lookup_kinds_free(void)
{
	free(texts);
	texts = NULL;
	n_kinds = 0;
}

static bool is_name(const char *s)
{
	return *s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-")];
}

static int wrong(struct buf *problem, const char *at, const char *why)
{
	buf_printf(problem, "--lookup-kinds: \"%.60s\": %s", at, why);
	lookup_kinds_free();
	return -EINVAL;
}

static int read_choices(struct lookup_kind *k, char *rest, struct buf *problem)
{
	char *one;

	while ((one = strsep(&rest, ":"))) {
		char *slash = strchr(one, '/');

		if (slash)
			*slash = '\0';
		if (!slash || !is_name(one) || !is_name(slash + 1))
			return wrong(problem, k->name, "PARTNER/NAME is expected of each choice");
		if (k->n == LOOKUP_CHOICES_MAX)
			return wrong(problem, k->name, "it has more than 8 choices");
		k->choices[k->n].partner = one;
		k->choices[k->n++].name = slash + 1;
	}
	return 0;
}

static const struct lookup_kind *find(const char *name)
{
	for (int i = 0; i < n_kinds; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

static int read_kind(char *text, struct buf *problem)
{
	char *equals = strchr(text, '=');
	struct lookup_kind k = { .name = text };
	int rc;

	if (equals)
		*equals = '\0';
	if (!equals || !is_name(text))
		return wrong(problem, text, "KIND=PARTNER/NAME is expected");
	if (strlen(text) > LOOKUP_KIND_MAX_BYTES)
		return wrong(problem, text, "a kind has at most 60 characters");
	if (find(text))
		return wrong(problem, text, "it is there twice");
	if (n_kinds == LOOKUP_KINDS_MAX)
		return wrong(problem, text, "there are more than 32 kinds");
	rc = read_choices(&k, equals + 1, problem);
	if (rc == 0)
		kinds[n_kinds++] = k;
	return rc;
}

int lookup_kinds_parse(const char *text, struct buf *problem)
{
	char *rest, *one;
	int rc = 0;

	lookup_kinds_free();
	if (!*text)
		return 0;
	rest = texts = mem_strdup(text);
	while (rc == 0 && (one = strsep(&rest, ",")))
		rc = read_kind(one, problem);
	return rc;
}

int lookup_kinds_read(struct buf *problem)
{
	return lookup_kinds_parse(setting, problem);
}

/* Of any of its versions. */
static bool has_lookup(const struct manifest *m, const char *name)
{
	bool has = manifest_lookup(m, name) != NULL;

	for (int i = 0; i < m->n_adapters && !has; i++)
		has = manifest_lookup(m->adapters[i].manifest, name) != NULL;
	return has;
}

void lookup_kinds_check(const struct driver_set *drivers, struct buf *problems)
{
	for (int i = 0; i < n_kinds; i++)
		for (int k = 0; k < kinds[i].n; k++) {
			const char *partner = kinds[i].choices[k].partner,
				   *name = kinds[i].choices[k].name;
			const struct driver *d = driver_find(drivers, partner);

			if (!d || !has_lookup(d->manifest, name))
				buf_printf(problems, "--lookup-kinds: %s: there is no %s %s%s%s\n",
					   kinds[i].name, d ? "lookup" : "partner",
					   d ? name : partner, d ? " of " : "", d ? partner : "");
		}
}

void lookup_kinds_print(struct buf *out)
{
	buf_putc(out, '[');
	for (int i = 0; i < n_kinds; i++)
		buf_printf(out, "%s\"%s\"", i ? "," : "", kinds[i].name);
	buf_putc(out, ']');
}

void lookup_kinds_tell(struct buf *out)
{
	for (int i = 0; i < n_kinds; i++)
		buf_printf(out, "%s%s", i ? ", " : "", kinds[i].name);
	if (!n_kinds)
		buf_puts(out, "none");
}

const struct lookup_kind *lookup_kind(const char *name, struct err *err)
{
	const struct lookup_kind *k = find(name);
	const char *names[LOOKUP_KINDS_MAX], *near;
	struct buf all = BUF_INIT;

	if (k)
		return k;
	for (int i = 0; i < n_kinds; i++)
		names[i] = kinds[i].name;
	near = config_nearest(name, names, n_kinds);
	lookup_kinds_tell(&all);
	err_set(err, -ENOENT, ERR_BAD_JOB, "kind",
		"--lookup-kinds names no kind \"%.60s\"%s%s%s; it names: %s", name,
		near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "",
		buf_str(&all));
	buf_clear(&all);
	return NULL;
}

bool lookup_failure_is_ours(int rc, const struct err *e)
{
	if (e->class == ERR_INTERNAL)
		return strcmp(e->rule, "credentials") != 0;
	return rc == -ECANCELED || rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -ESTALE ||
	       (rc == -EPROTO && e->class == ERR_TRANSIENT);
}
