#include "scheduler/lookup_part.h"

#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "common/io/co.h"
#include "common/io/loop.h"

void lookup_part_clear(struct lookup_part *p)
{
	asked_put(p->asked);
	buf_clear(&p->text);
}

bool lookup_part_is_callers(const struct lookup_part *p)
{
	return p->err.class == ERR_BAD_JOB && (p->rc == -ENOENT || p->rc == -EINVAL);
}

bool lookup_part_is_ours(const struct lookup_part *p)
{
	return p->rc < 0 && lookup_failure_is_ours(p->rc, &p->err);
}

bool lookup_part_has_failed(const struct lookup_part *p)
{
	return p->rc < 0 || (p->answer->state >= LOOKUP_PLACEHOLDER && !p->answer->none);
}

/* A part without an answer, as others look. */
static void print_missing(struct lookup_part *p)
{
	buf_puts(&p->text, "{\"partner\":");
	json_quote(&p->text, p->q.partner, strlen(p->q.partner));
	buf_puts(&p->text, ",\"name\":");
	json_quote(&p->text, p->q.name, strlen(p->q.name));
	buf_puts(&p->text, ",\"state\":\"missing\",\"fresh\":false,\"cached\":false,\"reason\":");
	json_quote(&p->text, p->err.text, strlen(p->err.text));
	buf_puts(&p->text, ",\"data\":null}");
}

static bool may_go_on(const struct lookup_part *p)
{
	return p->kind && p->choice + 1 < p->kind->n;
}

/* So that who is asked next has time too. */
static int64_t own_until(const struct lookup_part *p, int64_t until_ms)
{
	int64_t left = until_ms - loop_now_ms();

	return may_go_on(p) && left > 0 ? until_ms - left / 2 : until_ms;
}

static void choose(struct lookup_part *p, int choice)
{
	p->choice = choice;
	p->q.partner = p->kind->choices[choice].partner;
	p->q.name = p->kind->choices[choice].name;
}

static void ask(struct scheduler *s, struct lookup_part *p, int64_t until_ms)
{
	if (p->rc == 0)
		p->rc = lookups_ask(s, &p->q, until_ms, &p->asked, &p->err);
}

static void wait_for(struct lookup_part *p, int64_t until_ms)
{
	if (p->rc == 0)
		p->rc = asked_wait(p->asked, until_ms, &p->answer, &p->text, &p->err);
	p->late = loop_now_ms() >= until_ms;
	if (p->rc < 0 && !p->err.text[0])
		err_set(&p->err, p->rc, ERR_TRANSIENT, "lookup", "it could not be asked");
	/* Of one integration alone, so nobody else tells it where the next one answers. */
	if (p->rc < 0 && p->err.class == ERR_INTERNAL && !lookup_part_is_ours(p))
		log_event(LOG_WARN, "lookup_failed", LS("of", p->q.partner), LS("name", p->q.name),
			  LS("reason", p->err.text));
	if (p->rc < 0 && p->q.partner)
		print_missing(p);
}

/* Whoever asks by kind is told what the next one says: not where the question itself is wrong, nor where nobody could be asked. */
static bool goes_on(const struct lookup_part *p, int64_t until_ms)
{
	bool refused = p->rc == -EINVAL && p->err.class == ERR_BAD_JOB;

	return may_go_on(p) && lookup_part_has_failed(p) && !refused && !lookup_part_is_ours(p) &&
	       loop_now_ms() < until_ms;
}

static void go_on(struct lookup_part *p)
{
	asked_put(p->asked);
	p->asked = NULL;
	p->answer = NULL;
	p->rc = 0;
	p->err = (struct err){ 0 };
	buf_reset(&p->text);
	choose(p, p->choice + 1);
}

struct asking {
	struct scheduler *s;
	struct lookup_part *p;
	int64_t until_ms;
};

/* Of whom one is asked after the other it asks the next as soon as it is known that it must. */
static void ask_one(void *arg)
{
	const struct asking *a = arg;
	int64_t until_ms = own_until(a->p, a->until_ms);

	ask(a->s, a->p, until_ms);
	wait_for(a->p, until_ms);
	while (goes_on(a->p, a->until_ms)) {
		go_on(a->p);
		until_ms = own_until(a->p, a->until_ms);
		ask(a->s, a->p, until_ms);
		wait_for(a->p, until_ms);
	}
}

/* Each in a coroutine of its own, so that none waits for what another waits for: a part that takes all the time there is, or half of it before
 * it asks the next one, leaves the others theirs.  The last is the caller's, and so is every other where no coroutine is to be had. */
void lookup_parts_ask(struct scheduler *s, struct lookup_part *parts, int n, int64_t until_ms)
{
	struct asking all[LOOKUP_PARTS_MAX];
	struct crew_member members[LOOKUP_PARTS_MAX];
	struct crew crew;

	crew_init(&crew, members);
	for (int i = 0; i < n; i++) {
		all[i] = (struct asking){ s, &parts[i], until_ms };
		if (i == n - 1 || !crew_spawn(&crew, "lookup part", ask_one, &all[i], NULL))
			ask_one(&all[i]);
	}
	crew_join(&crew, "lookup parts");
}

void lookup_part_of_kind(struct lookup_part *p, const char *name)
{
	p->kind = lookup_kind(name, &p->err);
	if (p->kind)
		choose(p, 0);
	else
		p->rc = -ENOENT;
}
