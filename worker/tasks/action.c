/* What a manifest says is to be done about an answer, where an import can do it: the rest is settle.c's. */
#include <errno.h>

#include "common/base/log.h"
#include "worker/tasks/import.h"

bool import_skips(const struct import *im, int rc)
{
	return rc == -EREMOTEIO && im->a->err.action == ACT_SKIP;
}

static void log_skipped(const struct import *im, const char *id)
{
	const struct err *e = &im->a->err;

	log_event(LOG_INFO, "answer_skipped", LS("collection", im->collection->name),
		  LS("item", id), LS("rule", e->rule), LS("where", e->where[0] ? e->where : NULL),
		  LS("reason", e->text));
}

bool import_skipped(struct import *im, const struct pager *pg, const char **why_not)
{
	cJSON *state = pager_state(pg);
	int64_t pages = 0;
	bool first;

	(void)json_int(state, "pages", &pages);
	cJSON_Delete(state);
	first = pages == 0;
	log_skipped(im, NULL);
	*why_not = first ? NULL : "a page was skipped, as the manifest's errors say";
	im->a->err = (struct err){ 0 };
	return first;
}

void import_reset(struct import *im, int *rc)
{
	struct err first = im->a->err;

	if (*rc != -EREMOTEIO || first.action != ACT_RESET_PAGING || !im->place.scan)
		return;
	log_event(LOG_INFO, "paging_reset", LS("collection", im->collection->name),
		  LS("rule", first.rule));
	*rc = place_restart(im, first.text);
	if (*rc == 0) {
		im->a->err = first;
		*rc = -EREMOTEIO;
	}
}

int import_item_refused(struct import *im, const char *id, int rc)
{
	struct attempt *a = im->a;
	struct rejected r = { .integration_id = a->integration->id,
			      .run_id = im->run.id,
			      .collection = im->collection->name,
			      .external_id = id,
			      .reason = a->err.text,
			      .job_id = a->job_id,
			      .import_id = import_id(a) };
	struct err first = a->err;

	if (first.action == ACT_SKIP) {
		log_skipped(im, id);
		rc = 0;
	} else if (first.action == ACT_SET_ASIDE) {
		im->run.counts.failed++;
		log_event(LOG_WARN, "item_set_aside", LS("collection", im->collection->name),
			  LS("item", id), LS("rule", first.rule), LS("reason", first.text));
		rc = sink_rejected(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
	}
	if (rc == 0)
		a->err = (struct err){ 0 };
	return rc;
}
