/* Whether an import may go on: what hangs on its items becomes jobs, and their lane may be at its bound
 * (Q13).  It pauses between two pages, its place stored, so that no child is left out. */
#include <errno.h>
#include <string.h>

#include "worker/room.h"
#include "worker/tasks/import.h"

static int full(struct import *im, const struct manifest_collection *c)
{
	struct attempt *a = im->a;

	return err_hold(
		&a->err, room_pause_ms(im->run.counts.pages > 0), "lane bound",
		"the %s lane of %s is at its bound of %lld jobs: what hangs on more items waits until it drains",
		lane_name((enum lane)c->lane), a->partner, (long long)a->worker->lane_bound);
}

int import_room(struct import *im, const struct manifest_collection *parents)
{
	const struct manifest *m = im->a->driver->manifest;
	int rc = 0;

	for (int i = 0; rc == 0 && i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];
		int64_t room = 0;

		if (!c->each || c->embedded || strcmp(c->each, parents->name))
			continue;
		rc = room_in(im->a, im->a->partner, (enum lane)c->lane, &room);
		if (rc == 0 && room <= 0)
			rc = full(im, c);
	}
	if (rc == -EAGAIN)
		place_keep(im);
	return rc;
}
