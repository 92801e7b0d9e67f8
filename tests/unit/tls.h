/* For tests of TLS: a certificate of localhost that signs itself, and a server in a process of its own that says its port once it
 * listens. */
#ifndef TESTS_UNIT_TLS_H
#define TESTS_UNIT_TLS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TLS_LOCALHOST "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"

static inline void quiet_exec(char *const argv[])
{
	if (!freopen("/dev/null", "r", stdin) || !freopen("/dev/null", "a", stderr))
		_exit(126);
	execvp(argv[0], argv);
	_exit(127);
}

static inline int run_quietly(char *const argv[])
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		quiet_exec(argv);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static inline int make_certificate(char *key, char *cert)
{
	char *make[] = { "openssl",
			 "req",
			 "-x509",
			 "-newkey",
			 "ec",
			 "-pkeyopt",
			 "ec_paramgen_curve:prime256v1",
			 "-nodes",
			 "-keyout",
			 key,
			 "-out",
			 cert,
			 "-days",
			 "2",
			 TLS_LOCALHOST,
			 NULL };

	return run_quietly(make);
}

/* port 0: it said none. */
static inline pid_t start_server(char *const argv[], int *port)
{
	char text[16] = "";
	int out[2];
	pid_t pid;

	if (pipe(out) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		if (dup2(out[1], 1) < 0)
			_exit(126);
		quiet_exec(argv);
	}
	close(out[1]);
	if (read(out[0], text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(out[0]);
	*port = (int)strtol(text, NULL, 10);
	return pid;
}

#endif
