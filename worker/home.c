#include "worker/home.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "worker/busy.h"

#define KEEP_MS 5000

/* One a lookup partner; there are few. */
struct home {
	char *partner;
	int64_t id, read_ms; /* id 0: never read, or there was none */
	char *paused;        /* why; NULL: it is not */
	int by_kind;         /* lookups under way */
	struct busy busy;    /* those that found no room */
	struct gate reading; /* one looks, the others see what he found */
	struct home *next;
};

static struct home *homes;

static struct home *home_of(const char *partner)
{
	struct home *h = homes;

	while (h && strcmp(h->partner, partner) != 0)
		h = h->next;
	if (h)
		return h;
	h = mem_new(struct home);
	h->partner = mem_strdup(partner);
	h->next = homes;
	gate_init(&h->reading, 1);
	homes = h;
	return h;
}

static bool is_known(const struct home *h)
{
	return h->id && loop_now_ms() - h->read_ms < KEEP_MS;
}

static int read_home(struct worker *w, struct home *h, struct err *err)
{
	char *paused = NULL;
	int rc = integration_home(w->pg, h->partner, &h->id, err);

	if (rc == 0)
		rc = partner_pause_get(w->pg, h->partner, &paused, err);
	if (rc < 0)
		return rc;
	free(h->paused);
	h->paused = paused;
	h->read_ms = loop_now_ms();
	return 0;
}

static int look(struct worker *w, struct home *h, struct err *err)
{
	int rc = gate_enter(&h->reading, "integration", CO_NO_DEADLINE);

	if (rc < 0)
		return rc;
	if (!is_known(h))
		rc = read_home(w, h, err);
	gate_leave(&h->reading);
	return rc;
}

int home_get(struct worker *w, const char *partner, int64_t *id, struct err *err)
{
	struct home *h = home_of(partner);
	int rc = is_known(h) ? 0 : look(w, h, err);

	if (rc < 0)
		return rc;
	if (!h->id)
		return err_set(
			err, -ENOENT, ERR_BAD_JOB, "no integration",
			"%s has no integration of no company: `longshore integration add --partner %s` makes one",
			partner, partner);
	*id = h->id;
	return 0;
}

const char *home_paused(const char *partner)
{
	return home_of(partner)->paused;
}

bool home_enter(const char *partner, int most)
{
	struct home *h = home_of(partner);

	if (h->by_kind >= most)
		return false;
	h->by_kind++;
	return true;
}

void home_leave(const char *partner)
{
	home_of(partner)->by_kind--;
}

int64_t home_busy_ms(const char *partner)
{
	return busy_refused_ms(&home_of(partner)->busy, loop_now_ms());
}

void home_free_all(void)
{
	struct home *h, *next;

	for (h = homes; h; h = next) {
		next = h->next;
		free(h->partner);
		free(h->paused);
		free(h);
	}
	homes = NULL;
}
