/* What a call that failed says of the integration it was made with, where the job does not end with it: a lookup by kind goes on with the
 * next partner.  As settle.c has it of a job that ends so. */
#include <errno.h>

#include "worker/integrations.h"

#define KEPT 64 /* of 16 bytes; one that is pushed out is refused once more before it counts */
#define AGAIN_MS 5000        /* a second refusal after this marks the integration … */
#define FORGET_MS (3600000L) /* … within this */

static struct refusal {
	int64_t id, at_ms;
} refusals[KEPT];

static bool is_second(int64_t id, int64_t now_ms)
{
	struct refusal *r = &refusals[(uint64_t)id % KEPT];
	int64_t age = now_ms - r->at_ms;

	if (r->id == id && age < AGAIN_MS)
		return false;
	if (r->id == id && age < FORGET_MS) {
		r->id = 0;
		return true;
	}
	*r = (struct refusal){ id, now_ms };
	return false;
}

void integrations_passed_over(struct worker *w, int64_t id, int rc, const struct err *err,
			      int64_t now_ms)
{
	if (err->action == ACT_SUSPEND)
		integrations_suspend(w, id, err);
	else if (err->action != ACT_NONE || err->class != ERR_AUTH)
		return;
	else if (rc == -EACCES) /* the door has marked the row */
		integrations_mark_broken(w, id, NULL);
	else if (is_second(id, now_ms))
		integrations_mark_broken(w, id, err->text);
}

void integrations_answered(int64_t id)
{
	struct refusal *r = &refusals[(uint64_t)id % KEPT];

	if (r->id == id)
		r->id = 0;
}
