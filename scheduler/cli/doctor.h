/* What the files of `longshore doctor` share. */
#ifndef SCHEDULER_CLI_DOCTOR_H
#define SCHEDULER_CLI_DOCTOR_H

#include "common/queue/look.h"
#include "scheduler/cli/cli.h"

enum verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
	struct cli *cli;
	cJSON *rows;
	int failed;
	int queues, sound; /* looked at; with nothing to say of them */
	int odd;           /* keys */
};

/* One line: what was looked at, what was found, what to do (NULL where it is well). */
void doctor_say(struct doctor *d, enum verdict verdict, const char *check, const char *todo,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* doctor_servers.c; both wait. */
bool doctor_redis(struct doctor *d); /* false: it does not answer */
void doctor_postgres(struct doctor *d);

#endif
