/* The questions of one call of the API: asked at once, and those that are asked by kind again of somebody else where there is no answer. */
#ifndef SCHEDULER_LOOKUP_PART_H
#define SCHEDULER_LOOKUP_PART_H

#include "drivers/kit/lookup_kinds.h"
#include "scheduler/lookups.h"

#define LOOKUP_PARTS_MAX 32

/* One of the questions of a call, and what became of it. */
struct lookup_part {
	const char *name; /* the caller's; "" of a call for one */
	struct lookup_question q;
	const struct lookup_kind *kind; /* it is asked for by its kind; NULL: by its partner */
	int choice;                     /* of that kind's */
	int critical;                   /* -1: as the manifest says */
	struct asked *asked;
	const struct lookup_answer *answer; /* NULL: none */
	struct buf text;
	struct err err;
	int rc;
	bool late; /* the time was over */
};
void lookup_part_clear(struct lookup_part *p);
/* It is asked for by its kind.  Where there is none of this name the part has failed. */
void lookup_part_of_kind(struct lookup_part *p, const char *name);
/* Waits, until then at most: as long as the slowest.  All are asked at once; each that has somebody else to ask is asked again as soon as it is
 * known that it must be, whatever the others wait for. */
void lookup_parts_ask(struct scheduler *s, struct lookup_part *parts, int n, int64_t until_ms);

/* After it: the question is wrong. */
bool lookup_part_is_callers(const struct lookup_part *p);
/* Ours, and so of all parts. */
bool lookup_part_is_ours(const struct lookup_part *p);
/* Neither an answer nor the partner's word that there is none. */
bool lookup_part_has_failed(const struct lookup_part *p);

#endif
