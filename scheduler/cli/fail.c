#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "scheduler/cli/cli.h"

static void print_line(const char *fmt, va_list ap, const char *end)
{
	fputs("longshore: ", stderr);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "%s\n", end);
}

int cli_fail(const struct cli *c, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line(fmt, ap, "");
	va_end(ap);
	return code;
}

int cli_misused(const struct cli *c, const char *fmt, ...)
{
	char end[128];
	va_list ap;

	snprintf(end, sizeof(end), "; see `longshore %s --help`", c->command->name);
	va_start(ap, fmt);
	print_line(fmt, ap, end);
	va_end(ap);
	return EXIT_MISUSED;
}

static int exit_code(int rc, const struct err *err)
{
	switch (rc) {
	case -ENOENT:
		return EXIT_NOT_FOUND;
	case -ECONNRESET:
	case -ETIMEDOUT:
		return EXIT_UNREACHABLE;
	case -EINVAL:
	case -ENOKEY:
	case -EACCES:
		return EXIT_MISUSED;
	default:
		return err->class == ERR_TRANSIENT ? EXIT_UNREACHABLE : EXIT_FAILED;
	}
}

int cli_error(const struct cli *c, int rc, const struct err *err, const char *doing)
{
	const char *text = *err->text ? err->text : strerror(-rc);

	return cli_fail(c, exit_code(rc, err), "%s: %s", doing, text);
}

/* Whoever reads our output may have gone (`| head`): poll knows it of a write that failed long ago too. */
static bool reader_is_gone(int why)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return why == EPIPE || (poll(&p, 1, 0) == 1 && p.revents & POLLERR);
}

/* The command has done what it does.  Who does not want to hear the rest of it gets what every tool gives: an end by SIGPIPE, which
 * the loop ignores for the sake of its sockets. */
int cli_end(const struct cli *c, int code)
{
	errno = 0;
	if ((fflush(stdout) == 0 && !ferror(stdout)) || code != EXIT_OK)
		return code;
	if (!reader_is_gone(errno))
		return cli_fail(c, EXIT_FAILED, "writing the result failed%s%s", errno ? ": " : "",
				errno ? strerror(errno) : "");
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
	return 128 + SIGPIPE; /* blocked by whoever started us */
}
