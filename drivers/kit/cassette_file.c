/* Cassettes as files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/secret.h"
#include "drivers/kit/cassette.h"

#define LINE_BYTES 120

/* ---- printing ---- */

static void indent(struct buf *out, int depth)
{
	buf_putc(out, '\n');
	for (int i = 0; i < depth; i++)
		buf_puts(out, "  ");
}

static void pretty(const cJSON *v, int depth, struct buf *out)
{
	struct buf line = BUF_INIT;
	bool object = cJSON_IsObject(v);

	json_print(v, &line);
	if (!v->child || line.len + 2 * (size_t)depth <= LINE_BYTES) {
		buf_append(out, buf_str(&line), line.len);
		buf_clear(&line);
		return;
	}
	buf_clear(&line);
	buf_putc(out, object ? '{' : '[');
	for (const cJSON *m = v->child; m; m = m->next) {
		indent(out, depth + 1);
		if (object) {
			json_quote(out, m->string, strlen(m->string));
			buf_puts(out, ": ");
		}
		pretty(m, depth + 1, out);
		if (m->next)
			buf_putc(out, ',');
	}
	indent(out, depth);
	buf_putc(out, object ? '}' : ']');
}

void json_pretty(const cJSON *v, struct buf *out)
{
	pretty(v, 0, out);
	buf_putc(out, '\n');
}

/* ---- reading and writing ---- */

static int write_all(int fd, const struct buf *text)
{
	for (size_t done = 0; done < text->len;) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

int json_write_file(const char *path, const cJSON *tree)
{
	char *fresh = mem_printf("%s.new", path);
	struct buf text = BUF_INIT;
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int rc = fd < 0 ? -errno : 0;

	json_pretty(tree, &text);
	secret_redact(&text); /* a token that was not known yet when its answer was kept */
	if (rc == 0)
		rc = write_all(fd, &text);
	if (fd >= 0 && close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(fresh, path) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(fresh);
	buf_clear(&text);
	free(fresh);
	return rc;
}

static int read_all(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0 && out->len <= CASSETTE_MAX_BYTES) {
		buf_reserve(out, 65536);
		n = read(fd, out->data + out->len, 65536);
		if (n > 0)
			out->len += (size_t)n;
		else if (n < 0)
			rc = -errno;
	}
	close(fd);
	return rc;
}

int json_read_file(const char *path, cJSON **out, struct buf *problem)
{
	struct json_error bad = { 0 };
	struct buf text = BUF_INIT;
	int rc = read_all(path, &text);

	if (rc == -ENOENT) {
		buf_clear(&text);
		return rc;
	}
	if (rc < 0) {
		buf_puts(problem, strerror(-rc));
		rc = -EINVAL;
	} else if (json_parse(buf_str(&text), text.len, CASSETTE_MAX_BYTES, out, &bad) < 0) {
		buf_printf(problem, "not JSON: line %d, column %d: %s", bad.line, bad.column,
			   bad.text);
		rc = -EINVAL;
	}
	buf_clear(&text);
	return rc;
}
