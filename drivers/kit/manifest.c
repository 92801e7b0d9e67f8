/* A manifest's life: read, checked, found in, freed. */
#include "drivers/kit/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_adapters.h"
#include "drivers/kit/manifest_read.h"

struct manifest_owner *manifest_owner_new(const char *file)
{
	struct manifest_owner *o = mem_new(struct manifest_owner);

	o->arena = arena_new();
	o->m.path = arena_strdup(o->arena, file);
	return o;
}

void manifest_free(struct manifest *m)
{
	struct manifest_owner *o = (struct manifest_owner *)m;

	if (!o)
		return;
	manifest_free_adapters(m);
	for (struct kept_tree *k = o->trees; k; k = k->next)
		cJSON_Delete(k->tree);
	arena_free(o->arena);
	free(o);
}

int manifest_text_parse(const char *file, const char *text, size_t len, struct manifest_owner *o,
			struct buf *problems)
{
	struct kept_tree *k = arena_new_of(o->arena, struct kept_tree);
	struct json_error where;

	if (json_parse(text, len, MANIFEST_MAX_BYTES, &k->tree, &where) < 0) {
		buf_printf(problems, "%s:%d: not JSON: %s", file, where.line ? where.line : 1,
			   where.text);
		if (where.column)
			buf_printf(problems, " (column %d)", where.column);
		buf_putc(problems, '\n');
		return -EINVAL;
	}
	o->trees = k;
	o->tree = k->tree;
	return 0;
}

/* What the owner's tree says; the owner is freed where it is wrong. */
static int read_tree(struct manifest_reader *r, struct manifest **out)
{
	struct manifest_owner *o = r->owner;

	reader_object(r, &manifest_table, o->tree, &o->m);
	if (cJSON_IsObject(o->tree))
		manifest_check(r);
	if (r->n_problems == 0 && manifest_make_adapters(r) < 0)
		r->n_problems++;
	buf_clear(&r->path);
	if (r->n_problems) {
		manifest_free(&o->m);
		return -EINVAL;
	}
	*out = &o->m;
	return 0;
}

int manifest_parse(const char *file_shown, const char *text, size_t len, struct manifest **out,
		   struct buf *problems)
{
	struct manifest_owner *o = manifest_owner_new(file_shown);
	struct manifest_reader r = { .owner = o,
				     .arena = o->arena,
				     .file = file_shown,
				     .text = text,
				     .len = len,
				     .problems = problems };

	if (manifest_text_parse(file_shown, text, len, o, problems) < 0) {
		manifest_free(&o->m);
		return -EINVAL;
	}
	return read_tree(&r, out);
}

int manifest_parse_tree(const char *path, const char *shown, const char *text, size_t len,
			cJSON *tree, struct manifest **out, struct buf *problems)
{
	struct manifest_owner *o = manifest_owner_new(path);
	struct manifest_reader r = { .owner = o,
				     .arena = o->arena,
				     .file = shown,
				     .text = text,
				     .len = len,
				     .problems = problems };
	struct kept_tree *k = arena_new_of(o->arena, struct kept_tree);

	k->tree = tree;
	o->trees = k;
	o->tree = tree;
	return read_tree(&r, out);
}

static int read_file(const char *file, struct buf *out)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char block[2048];
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (out->len <= MANIFEST_MAX_BYTES && (n = read(fd, block, sizeof(block))) > 0)
		buf_append(out, block, (size_t)n);
	n = n < 0 ? -errno : 0;
	close(fd);
	return (int)n;
}

int manifest_load(const char *file, struct manifest **out, struct buf *problems)
{
	struct buf text = BUF_INIT;
	int rc = read_file(file, &text);

	if (rc == 0)
		rc = manifest_parse(file, buf_str(&text), text.len, out, problems);
	else
		buf_printf(problems, "%s:1: cannot be read: %s\n", file, strerror(-rc));
	buf_clear(&text);
	return rc == -ENOENT || rc == 0 ? rc : -EINVAL;
}

const char *manifest_fixtures(const struct manifest *m)
{
	return m->fixtures ? m->fixtures : "cassettes";
}

const struct manifest_collection *manifest_collection(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->n_collections; i++)
		if (strcmp(m->collections[i].name, name) == 0)
			return &m->collections[i];
	return NULL;
}
