/* Lines of `name = value`.  A value goes to the end of its line, so a # in a password is no
 * comment; comments have their own line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config_parts.h"
#include "common/base/mem.h"

static char *trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r\n");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r\n", end[-1]))
		end--;
	*end = '\0';
	return s;
}

void config_file_clear(struct config_file *f)
{
	for (int i = 0; i < f->count; i++) {
		free(f->lines[i].name);
		free(f->lines[i].value);
	}
	free(f->lines);
	free(f->path);
	*f = (struct config_file){ 0 };
}

const struct config_line *config_file_find(const struct config_file *f, const char *name)
{
	for (int i = f->count - 1; i >= 0; i--)
		if (strcmp(f->lines[i].name, name) == 0)
			return &f->lines[i];
	return NULL;
}

static int line_add(struct config_file *f, char *text, int number, struct buf *why)
{
	char *name = trim(text), *equals = strchr(name, '=');

	if (*name == '\0' || *name == '#')
		return 0;
	if (!equals || equals == name) {
		buf_printf(why, "%s:%d: expected name = value", f->path, number);
		return -EINVAL;
	}
	*equals = '\0';
	f->lines = mem_realloc(f->lines, (size_t)(f->count + 1) * sizeof(*f->lines));
	f->lines[f->count++] = (struct config_line){ mem_strdup(trim(name)),
						     mem_strdup(trim(equals + 1)), number };
	return 0;
}

int config_file_read(const char *path, struct config_file *out, struct buf *why)
{
	struct config_file f = { .path = mem_strdup(path) };
	FILE *in = fopen(path, "re");
	size_t cap = 0;
	char *line = NULL;
	int rc = 0;

	if (!in)
		rc = -errno;
	for (int number = 1; rc == 0 && getline(&line, &cap, in) >= 0; number++)
		rc = line_add(&f, line, number, why);
	if (rc == 0 && ferror(in))
		rc = -EIO; /* a folder, say */
	if (rc < 0 && why->len == 0)
		buf_printf(why, "cannot read %s: %s", path, strerror(-rc));
	if (in)
		fclose(in);
	free(line);
	if (rc < 0)
		config_file_clear(&f);
	else
		*out = f;
	return rc;
}
