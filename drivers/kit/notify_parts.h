/* Inside of notify.c and notify_plan.c; nobody else includes this. */
#ifndef DRIVERS_KIT_NOTIFY_PARTS_H
#define DRIVERS_KIT_NOTIFY_PARTS_H

#include "drivers/kit/notify.h"

#define NOTIFY_RECIPIENT_MAX 255

/* One channel of the company, in its order. */
struct notify_choice {
	struct integration integration;
	const struct manifest *manifest;
	const struct manifest_action *action;
	const cJSON *section; /* of the template, borrowed */
};

/* A job on its way. */
struct notify {
	struct pg *p;
	const struct notify_ask *ask;
	int64_t company_id;
	const char *template;
	const cJSON *values;
	cJSON *parts, *own; /* own: values when there are none */
	bool urgent, in_doubt;
	struct notify_choice choices[8];
	int n_choices;
	struct err *err;
};
/* -EINVAL, with this text. */
int notify_wrong(struct notify *n, const char *fmt, const char *what)
	__attribute__((format(printf, 2, 0)));

struct notify_recipient {
	const cJSON *to;
	char place[24]; /* "to[3]" */
	const char *who;
};
/* notify_plan.c: what he is told by which of the channels, in their order; appended to plan.  -EINVAL. */
int notify_plan(struct notify *n, struct notify_recipient *r, cJSON *plan)
	__attribute__((warn_unused_result));

#endif
