#include "common/base/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log_hold.h"

/* Our handlers would tell the loop that both share; exit handlers would flush what the parent has still to write. */
static void __attribute__((noreturn)) child(int (*fn)(void *arg), void *arg, int out)
{
	static const int ours[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD };
	int rc;

	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		signal(ours[i], SIG_DFL);
	if (dup2(out, STDERR_FILENO) < 0)
		_exit(1);
	alarm(APART_MAX_S); /* its parent does nothing else meanwhile */
	rc = fn(arg);
	fflush(stderr);
	_exit(rc);
}

static void listen_to(int fd, struct buf *said)
{
	char block[1024];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && said->len < APART_SAID_MAX_BYTES)
			buf_append(said, block, (size_t)n);
}

int apart_run(int (*fn)(void *arg), void *arg, struct buf *said)
{
	int ends[2], status, rc;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	fflush(stderr);
	log_release(); /* or what is held would be told by both */
	pid = fork();
	rc = pid < 0 ? -errno : 0;
	if (pid == 0)
		child(fn, arg, ends[1]);
	close(ends[1]);
	if (rc == 0)
		listen_to(ends[0], said);
	close(ends[0]);
	if (rc < 0)
		return rc;
	while ((rc = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	return rc < 0 || !WIFEXITED(status) ? -ECHILD : WEXITSTATUS(status);
}
