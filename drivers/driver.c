/* Reads the folders of drivers and pairs each manifest with the C of its folder, where it has some. */
#include "drivers/driver.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "drivers/kit/overlay.h"

int driver_overlaid(const struct driver *base, const char *shown, const char *overrides,
		    struct driver **out, struct buf *problems)
{
	static uint64_t serial;
	struct manifest *m = NULL;
	struct driver *d;
	int rc =
		manifest_overlay(base->manifest, shown, overrides, strlen(overrides), &m, problems);

	if (rc < 0)
		return rc;
	d = mem_new(struct driver);
	*d = *base;
	d->manifest = m;
	d->adapters = NULL;
	d->serial = ++serial;
	*out = d;
	return 0;
}

void driver_overlaid_free(struct driver *d)
{
	if (!d)
		return;
	manifest_free((struct manifest *)d->manifest);
	free(d);
}

struct driver_set {
	struct driver *v; /* sorted by partner; manifest and dir are owned */
	int n;
};

static void driver_clear(struct driver *d)
{
	free((struct driver *)d->adapters); /* their manifests are the manifest's */
	manifest_free((struct manifest *)d->manifest);
	free((char *)d->dir);
}

void driver_set_free(struct driver_set *s)
{
	if (!s)
		return;
	for (int i = 0; i < s->n; i++)
		driver_clear(&s->v[i]);
	free(s->v);
	free(s);
}

int driver_set_count(const struct driver_set *s)
{
	return s->n;
}

const struct driver *driver_at(const struct driver_set *s, int i)
{
	return i >= 0 && i < s->n ? &s->v[i] : NULL;
}

static int find(const struct driver_set *s, const char *partner, bool *there)
{
	int low = 0, high = s->n;

	*there = false;
	while (low < high) {
		int middle = (low + high) / 2;
		int order = strcmp(s->v[middle].manifest->partner, partner);

		if (order == 0) {
			*there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct driver *driver_find(const struct driver_set *s, const char *partner)
{
	bool there;
	int i = find(s, partner, &there);

	return there ? &s->v[i] : NULL;
}

static const struct driver_hooks *hooks_of(const char *partner)
{
	for (const struct driver_hooks *const *h = driver_hooks_table; *h; h++)
		if ((*h)->partner && strcmp((*h)->partner, partner) == 0)
			return *h;
	return NULL;
}

/* A hook runs only if manifest and C both say so: one without the other is a mistake of the folder's. */
static bool hook_agrees(const struct manifest *m, const char *name, bool said, bool in_c,
			struct buf *problems)
{
	if (said == in_c)
		return true;
	if (in_c)
		buf_printf(problems, "%s:1: hooks.%s: missing, though driver_%s in C has it\n",
			   m->path, name, m->partner);
	else
		buf_printf(
			problems,
			"%s:1: hooks.%s: driver_%s in C, which this program was built with, has no %s\n",
			m->path, name, m->partner, name);
	return false;
}

static bool hooks_agree(const struct manifest *m, const struct driver_hooks *h,
			struct buf *problems)
{
	const struct {
		const char *name;
		bool said, in_c;
	} v[] = {
		{ "decode_body", m->hooks.decode_body, h && h->decode_body },
		{ "sign_request", m->hooks.sign_request, h && h->sign_request },
		{ "login", m->hooks.login, h && h->login },
		{ "next_page", m->hooks.next_page, h && h->next_page },
		{ "adapt_item", m->hooks.adapt_item, h && h->adapt_item },
		{ "verify_webhook", m->hooks.verify_webhook, h && h->verify_webhook },
		{ "plan_action", m->hooks.plan_action, h && h->plan_action },
	};
	bool agree = true;

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		agree &= hook_agrees(m, v[i].name, v[i].said, v[i].in_c, problems);
	return agree;
}

static const struct driver *adapters_of(const struct driver *d)
{
	const struct manifest *m = d->manifest;
	struct driver *v = m->n_adapters ? mem_zalloc(sizeof(*v) * (size_t)m->n_adapters) : NULL;

	for (int i = 0; i < m->n_adapters; i++)
		v[i] = (struct driver){ .manifest = m->adapters[i].manifest,
					.hooks = d->hooks,
					.dir = d->dir,
					.adapter = m->adapters[i].name };
	return v;
}

/* Keeps the order by partner.  Of two with one name the one that was there first stays. */
static void add(struct driver_set *s, struct manifest *m, const char *dir)
{
	bool there;
	int at = find(s, m->partner, &there);

	if (there) {
		manifest_free(m);
		return;
	}
	s->v = mem_realloc(s->v, sizeof(*s->v) * (size_t)(s->n + 1));
	memmove(&s->v[at + 1], &s->v[at], sizeof(*s->v) * (size_t)(s->n - at));
	s->v[at] = (struct driver){ .manifest = m,
				    .hooks = hooks_of(m->partner),
				    .dir = mem_strdup(dir) };
	s->v[at].adapters = adapters_of(&s->v[at]);
	s->n++;
}

static void load_one(struct driver_set *s, const char *dir, struct buf *problems)
{
	char *file = mem_printf("%s/manifest.json", dir);
	struct manifest *m;

	if (access(file, F_OK) == 0 && manifest_load(file, &m, problems) == 0) {
		if (hooks_agree(m, hooks_of(m->partner), problems))
			add(s, m, dir);
		else
			manifest_free(m);
	}
	free(file);
}

int driver_read(const char *manifest_file, struct driver **out, struct buf *problems)
{
	const char *slash = strrchr(manifest_file, '/');
	struct manifest *m = NULL;
	struct driver *d;
	int rc = manifest_load(manifest_file, &m, problems);

	if (rc < 0)
		return rc;
	if (!hooks_agree(m, hooks_of(m->partner), problems)) {
		manifest_free(m);
		return -EINVAL;
	}
	d = mem_new(struct driver);
	*d = (struct driver){ .manifest = m,
			      .hooks = hooks_of(m->partner),
			      .dir = slash ? mem_strndup(manifest_file,
							 (size_t)(slash - manifest_file))
					   : mem_strdup(".") };
	d->adapters = adapters_of(d);
	*out = d;
	return 0;
}

void driver_free(struct driver *d)
{
	if (d)
		driver_clear(d);
	free(d);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_partner(const struct dirent *e)
{
	return e->d_name[0] != '.' && strcmp(e->d_name, "kit") != 0 &&
	       strcmp(e->d_name, "template") != 0;
}

static int load_dir(struct driver_set *s, const char *dir, struct buf *problems, struct err *err)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_partner, by_name);

	if (n < 0)
		return err_set(err, errno == ENOTDIR ? -ENOENT : -errno, ERR_INTERNAL, "drivers",
			       "the folder of drivers %s cannot be read: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *path = mem_printf("%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/",
					entries[i]->d_name);

		load_one(s, path, problems);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return 0;
}

int driver_set_load(const char *dirs, struct driver_set **out, struct buf *problems,
		    struct err *err)
{
	struct driver_set *s = mem_new(struct driver_set);
	int rc = 0;

	for (const char *p = dirs; *p && rc == 0;) {
		size_t n = strcspn(p, ":");
		char *dir = mem_strndup(p, n);

		if (n > 0)
			rc = load_dir(s, dir, problems, err);
		free(dir);
		p += n + (p[n] == ':');
	}
	if (rc < 0) {
		driver_set_free(s);
		return rc;
	}
	*out = s;
	return 0;
}
