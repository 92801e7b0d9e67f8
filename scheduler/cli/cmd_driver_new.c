#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "scheduler/cli/cli.h"

#define TEMPLATE "template"
#define FILE_MAX_BYTES (1024 * 1024)

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The first of --drivers that has (with `below`) or is (without) a folder. NULL: none. The
 * caller's. */
static char *first_dir(const struct cli *c, const char *below)
{
	char *dirs = mem_strdup(c->common.drivers), *rest = dirs, *dir, *path = NULL;

	while (!path && (dir = strsep(&rest, ":"))) {
		path = below ? mem_printf("%s/%s", dir, below) : mem_strdup(dir);
		if (!is_dir(path)) {
			free(path);
			path = NULL;
		}
	}
	free(dirs);
	return path;
}

/* Where nobody said --drivers, a new partner belongs into the project people stand in, not
 * beside the program. */
static char *target_dir(const struct cli *c, const char *name)
{
	bool given = strcmp(c->common.drivers, args_drivers_default()) != 0;
	char *dir = given || !is_dir("drivers") ? first_dir(c, NULL) : mem_strdup("drivers"), *path;

	if (!dir)
		return NULL;
	path = mem_printf("%s/%s", dir, name);
	free(dir);
	return path;
}

static void replace_names(struct buf *text, const char *name)
{
	struct buf out = BUF_INIT;
	const char *at = buf_str(text), *hit;

	while ((hit = strstr(at, TEMPLATE))) {
		buf_append(&out, at, (size_t)(hit - at));
		buf_puts(&out, name);
		at = hit + strlen(TEMPLATE);
	}
	buf_puts(&out, at);
	buf_clear(text);
	*text = out;
}

static int write_file(const struct cli *c, const char *path, const struct buf *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), failed = 0;
	size_t done = 0;

	if (fd < 0)
		return cli_fail(c, EXIT_FAILED, "%s: %s", path, strerror(errno));
	while (done < text->len && !failed) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0)
			failed = errno;
		else
			done += (size_t)n;
	}
	if (close(fd) < 0 && !failed)
		failed = errno;
	return failed ? cli_fail(c, EXIT_FAILED, "%s: %s", path, strerror(failed)) : 0;
}

static int copy_tree(const struct cli *c, const char *from, const char *to, const char *name);

static int copy_entry(const struct cli *c, const char *from, const char *to, const char *name,
		      const char *entry)
{
	struct buf named = BUF_INIT, text = BUF_INIT;
	char *source = mem_printf("%s/%s", from, entry), *target;
	int rc;

	buf_puts(&named, entry);
	replace_names(&named, name);
	target = mem_printf("%s/%s", to, named.data);
	if (is_dir(source)) {
		rc = copy_tree(c, source, target, name);
	} else {
		rc = read_input(c, "the template", source, FILE_MAX_BYTES, &text);
		replace_names(&text, name);
		if (rc == 0)
			rc = write_file(c, target, &text);
	}
	buf_clear(&named);
	buf_clear(&text);
	free(source);
	free(target);
	return rc;
}

static int copy_tree(const struct cli *c, const char *from, const char *to, const char *name)
{
	DIR *d = opendir(from);
	const struct dirent *e;
	int rc = 0;

	if (!d)
		return cli_fail(c, EXIT_FAILED, "%s: %s", from, strerror(errno));
	if (mkdir(to, 0755) < 0)
		rc = cli_fail(c, EXIT_FAILED, "%s: %s", to, strerror(errno));
	while (rc == 0 && (e = readdir(d))) {
		if (e->d_name[0] != '.')
			rc = copy_entry(c, from, to, name, e->d_name);
	}
	closedir(d);
	return rc;
}

static bool is_taken(const char *name)
{
	return strcmp(name, TEMPLATE) == 0 || strcmp(name, "kit") == 0 ||
	       strcmp(name, LONGSHORE_PARTNER) == 0;
}

int cmd_driver_new(struct cli *c)
{
	const char *name = c->words[0];
	char *from, *to = NULL;
	int rc;

	if (!queue_name_is_valid(name) || is_taken(name))
		return cli_misused(
			c,
			"\"%s\" cannot be a partner's name: 1 to 40 of a-z 0-9 _, and neither"
			" kit, template nor longshore",
			name);
	from = first_dir(c, TEMPLATE);
	to = target_dir(c, name);
	if (!from || !to)
		rc = cli_fail(c, EXIT_FAILED,
			      "no folder \"%s\" in %s to copy from; name the one that came with"
			      " Longshore with --drivers",
			      TEMPLATE, c->common.drivers);
	else if (is_dir(to))
		rc = cli_fail(c, EXIT_FAILED, "%s is there already", to);
	else
		rc = copy_tree(c, from, to, name);
	if (rc == 0)
		rc = out_value(c, "path", cJSON_CreateString(to));
	free(from);
	free(to);
	return rc;
}
