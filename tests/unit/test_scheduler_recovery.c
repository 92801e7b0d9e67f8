/* Which jobs of a full lane another one does the work of, and which are never touched (S6). */
#include "scheduler/recovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "scheduler/scheduler.h"

#define NOW 1800000000000LL
#define MINUTE 60000LL

/* Of scheduler/main.c, which is not linked here. */
struct queue *scheduler_queue(struct scheduler *s, const char *partner)
{
	return NULL;
}

int scheduler_sleep(struct scheduler *s, int64_t ms)
{
	return -1;
}

int scheduler_spawn(struct scheduler *s, const char *name, void (*fn)(void *), void *arg)
{
	return -1;
}

static int seq;

/* One job as a lane holds it. */
static void see(struct sifted *s, const char *id, int64_t age_ms, const char *extra,
		const char *payload)
{
	char *member = mem_printf("1%014d 7 %s 0 0 %lld%s\n%s", ++seq, id,
				  (long long)(NOW - age_ms), extra, payload);
	struct job_seen j = { .place = JOB_READY, .member = member, .member_len = strlen(member) };

	assert_int_equal(job_member_parse(member, j.member_len, &j.header, &j.integration,
					  &j.payload, &j.payload_len),
			 0);
	j.since_ms = j.header.born_ms;
	assert_true(sifted_see(&j, s));
	free(member);
}

#define FULL "{\"task\":\"import_resources\",\"integration_id\":7,\"args\":{\"mode\":\"full\"}}"
#define PART \
	"{\"task\":\"import_resources\",\"integration_id\":7,\"args\":{\"mode\":\"incremental\"}}"
#define MEDIA \
	"{\"task\":\"import_media\",\"integration_id\":7,\"args\":{\"mode\":\"full\"},\"parent\":\"x\"}"

static int n_fresh, fresh_rc;
static bool fresh_full;

static int on_fresh(const struct sifted_job *like, void *arg)
{
	n_fresh++;
	fresh_full = like->full;
	return fresh_rc;
}

static int going(struct sifted *s)
{
	int n = 0;

	n_fresh = fresh_rc = 0;
	assert_int_equal(sifted_decide(s, on_fresh, NULL), 0);
	for (int i = 0; i < s->n; i++)
		n += s->v[i].goes;
	return n;
}

static void purge_takes_what_the_clock_makes_again(void **state)
{
	struct sifted s = { .strategy = RECOVERY_PURGE, .now_ms = NOW };

	see(&s, "beat-7-1", MINUTE, "", FULL);
	see(&s, "beat-7-2", MINUTE, "", PART);
	see(&s, "beat-7-3", MINUTE, " since=5", PART);
	assert_int_equal(going(&s), 3);
	assert_int_equal(n_fresh, 1);
	assert_true(fresh_full); /* one of them would have seen deletions */
	sifted_clear(&s);
}

static void purge_leaves_what_it_cannot_prove(void **state)
{
	struct sifted s = { .strategy = RECOVERY_PURGE, .now_ms = NOW };

	see(&s, "beat-7-1", MINUTE, "", FULL); /* alone of its kind: as good as a fresh one */
	see(&s, "pushed", MINUTE, "", FULL);
	see(&s, "pushed-2", MINUTE, "", FULL);
	see(&s, "child", MINUTE, "", MEDIA);
	see(&s, "beat-7-2", MINUTE, " run=4", FULL); /* have begun */
	see(&s, "beat-7-3", MINUTE, " ran=1", FULL);
	see(&s, "beat-7-4", MINUTE, "", "{\"task\":\"push_status\",\"integration_id\":7}");
	see(&s, "beat-7-5", MINUTE, "", "{\"task\":\"push_status\",\"integration_id\":7}");
	see(&s, "beat-7-6", MINUTE, "", "not json");
	see(&s, "beat-7-7", MINUTE, "",
	    "{\"task\":\"import_media\",\"integration_id\":7,\"args\":{\"parents\":[\"a\"]}}");
	see(&s, "beat-7-8", MINUTE, "",
	    "{\"task\":\"import_media\",\"integration_id\":7,\"args\":{\"parents\":[\"a\"]}}");
	see(&s, "beat-8-1", MINUTE, "", "{\"task\":\"import_resources\",\"integration_id\":8}");
	assert_int_equal(going(&s), 0);
	assert_int_equal(n_fresh, 0);
	sifted_clear(&s);
}

static void a_fresh_one_is_not_replaced_by_another(void **state)
{
	struct sifted s = { .strategy = RECOVERY_PURGE, .now_ms = NOW };

	see(&s, "beat-7-1", MINUTE, "", FULL);
	see(&s, RECOVERY_FRESH "7-00", MINUTE, "",
	    FULL); /* its maker died before the others went */
	assert_int_equal(going(&s), 1);
	assert_int_equal(n_fresh, 0);
	see(&s, "beat-7-2", MINUTE, "", PART); /* the next slot */
	assert_int_equal(going(&s), 3);
	assert_int_equal(n_fresh, 1);
	assert_true(fresh_full);
	sifted_clear(&s);
}

static void nothing_goes_where_no_fresh_one_could_be_queued(void **state)
{
	struct sifted s = { .strategy = RECOVERY_PURGE, .now_ms = NOW };

	see(&s, "beat-7-1", MINUTE, "", FULL);
	see(&s, "beat-7-2", MINUTE, "", FULL);
	fresh_rc = -1;
	assert_int_equal(sifted_decide(&s, on_fresh, NULL), -1);
	assert_false(s.v[0].goes || s.v[1].goes);
	sifted_clear(&s);
}

static void drain_takes_what_is_stale_and_not_the_last(void **state)
{
	struct sifted s = { .strategy = RECOVERY_DRAIN, .now_ms = NOW };

	see(&s, "a", 61 * MINUTE, "", MEDIA);
	see(&s, "b", 61 * MINUTE, "", MEDIA);
	see(&s, "c", 59 * MINUTE, "", MEDIA); /* not stale */
	see(&s, "d", 61 * MINUTE, "",
	    "{\"task\":\"import_media\",\"integration_id\":7,\"args\":{\"mode\":\"full\"}}"); /* pushed */
	assert_int_equal(going(&s), 2);
	assert_int_equal(n_fresh, 0);
	sifted_clear(&s);
	see(&s, "a", 90 * MINUTE, "", FULL);
	assert_int_equal(s.n, 0);
	see(&s, "beat-7-1", 90 * MINUTE, "", FULL);
	see(&s, "beat-7-2", 80 * MINUTE, "", PART);
	see(&s, "beat-7-3", 70 * MINUTE, "", PART);
	assert_int_equal(going(&s),
			 1); /* a full one is not made up for by a part; the older part is */
	sifted_clear(&s);
}

#define PHOTOS(parents, more)                                                        \
	"{\"task\":\"import_media\",\"integration_id\":7,\"parent\":\"x\",\"args\":" \
	"{\"collection\":\"photos\",\"parents\":[" parents "]" more "}}"

static bool goes(const struct sifted *s, const char *id)
{
	int i = 0;

	while (strcmp(s->v[i].seen.header.id, id) != 0)
		i++;
	return s->v[i].goes;
}

static void drain_takes_parents_that_others_ask_for(void **state)
{
	struct sifted s = { .strategy = RECOVERY_DRAIN, .now_ms = NOW };

	see(&s, "ab", 90 * MINUTE, "", PHOTOS("\"a\",\"b\"", ",\"import\":\"1\""));
	see(&s, "cd", 90 * MINUTE, "", PHOTOS("\"c\",\"d\"", ",\"import\":\"1\""));
	see(&s, "e", 80 * MINUTE, "", PHOTOS("\"e\"", ",\"import\":\"1\",\"force\":true"));
	see(&s, "a", 70 * MINUTE, "", PHOTOS("\"a\"", ",\"import\":\"2\""));
	see(&s, "bce", 20 * MINUTE, "", PHOTOS("\"b\",\"c\",\"e\"", ",\"import\":\"3\""));
	see(&s, "c", 10 * MINUTE, "", PHOTOS("\"c\"", ",\"import\":\"4\""));
	see(&s, "pushed", 90 * MINUTE, "",
	    "{\"task\":\"import_media\",\"integration_id\":7,\"args\":{\"parents\":[\"c\"]}}");
	assert_int_equal(s.n, 6);
	assert_int_equal(going(&s), 1);
	assert_true(goes(&s, "ab"));   /* a and b of two others */
	assert_false(goes(&s, "cd"));  /* nobody else asks for d */
	assert_false(goes(&s, "e"));   /* what is forced is another kind */
	assert_false(goes(&s, "a"));   /* "ab" goes for it */
	assert_false(goes(&s, "bce")); /* not stale */
	sifted_clear(&s);
	/* A purge has nobody who would make them again. */
	s = (struct sifted){ .strategy = RECOVERY_PURGE, .now_ms = NOW };
	see(&s, "beat-7-1", 90 * MINUTE, "", PHOTOS("\"a\"", ""));
	see(&s, "beat-7-2", 80 * MINUTE, "", PHOTOS("\"a\"", ""));
	assert_int_equal(s.n, 0);
	sifted_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(purge_takes_what_the_clock_makes_again),
		cmocka_unit_test(purge_leaves_what_it_cannot_prove),
		cmocka_unit_test(a_fresh_one_is_not_replaced_by_another),
		cmocka_unit_test(nothing_goes_where_no_fresh_one_could_be_queued),
		cmocka_unit_test(drain_takes_what_is_stale_and_not_the_last),
		cmocka_unit_test(drain_takes_parents_that_others_ask_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
