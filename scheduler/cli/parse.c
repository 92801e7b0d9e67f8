#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "scheduler/cli/cli.h"

int parse_id(const struct cli *c, const char *what, const char *text, int64_t *out)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n <= 0)
		return cli_misused(c, "%s: a positive number is expected, got \"%s\"", what, text);
	*out = n;
	return 0;
}

/* "15m", but not a bare number: that is an epoch. */
static bool is_duration(const char *text, int64_t *ms)
{
	size_t n = strlen(text);

	return n && strspn(text, "0123456789") < n && clock_parse_duration(text, ms) == 0;
}

static int parse_when(const struct cli *c, const char *flag, const char *text, int sign,
		      int64_t *real_ms)
{
	int64_t ms, us;

	if (is_duration(text, &ms))
		*real_ms = clock_real_ms() + sign * ms;
	else if (clock_parse_time(text, &us, NULL) == 0)
		*real_ms = us / 1000;
	else
		return cli_misused(
			c,
			"%s: \"%s\" is neither a time (2026-11-21T08:15Z, an epoch) nor a"
			" duration (30s, 15m, 4h, 7d)",
			flag, text);
	return 0;
}

int parse_since(const struct cli *c, const char *flag, const char *text, int64_t *real_ms)
{
	return parse_when(c, flag, text, -1, real_ms);
}

int parse_run_at(const struct cli *c, const char *text, int64_t *real_ms)
{
	return parse_when(c, "--run-at", text, 1, real_ms);
}

int parse_until(const struct cli *c, const char *text, int64_t *real_ms)
{
	int rc = parse_when(c, "--until", text, 1, real_ms);

	if (rc == 0 && *real_ms <= clock_real_ms())
		rc = cli_misused(c, "--until: %s is past", text);
	return rc;
}

int read_input(const struct cli *c, const char *flag, const char *file, size_t max, struct buf *out)
{
	bool is_stdin = strcmp(file, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;
	int failed;

	if (fd < 0)
		return cli_misused(c, "%s: %s: %s", flag, file, strerror(errno));
	while (n > 0 && out->len <= max) {
		buf_reserve(out, 4096);
		n = read(fd, out->data + out->len, 4096);
		if (n > 0)
			out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
	failed = errno;
	if (!is_stdin)
		close(fd);
	if (n < 0)
		return cli_misused(c, "%s: %s: %s", flag, file, strerror(failed));
	if (out->len > max)
		return cli_misused(c, "%s: %s is larger than %zu bytes", flag, file, max);
	return 0;
}
