/* Onto a new key: two at once, in slices, over texts that change meanwhile, that are damaged, that no key opens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>

#include "common/base/mem.h"
#include "common/store/store.h"
#include "tests/unit/postgres_trouble.h"

#define KEY_OLD "k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"
#define KEY_NEW "k2 ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=\n"
#define KEY_LOST "k0 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define MANY 450 /* more than two slices */

static struct keyring *keys_of(const char *lines)
{
	char path[] = "/tmp/longshore-keys-XXXXXX";
	int fd = mkstemp(path);
	struct keyring *k = NULL;
	struct err err = { 0 };

	CHECK(fd >= 0 && write(fd, lines, strlen(lines)) == (ssize_t)strlen(lines));
	close(fd);
	CHECK(keyring_load(path, &k, &err) == 0);
	unlink(path);
	return k;
}

static int64_t ask(struct pg *p, const char *sql)
{
	struct err err = { 0 };
	PGresult *res = NULL;
	int64_t n = -1;

	if (pg_execv(p, &res, loop_now_ms() + 10000, &err, sql, NULL) < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK(res != NULL);
	if (res && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res))
		n = pg_get_int(res, 0, 0);
	PQclear(res);
	return n;
}

static void put(struct pg *p, const struct keyring *k, int64_t id)
{
	struct secret s = SECRET_INIT;
	struct err err = { 0 };
	char text[64];

	snprintf(text, sizeof(text), "{\"client_secret\": \"of-integration-%lld\"}", (long long)id);
	secret_set(&s, text, strlen(text));
	CHECK(credential_put(p, k, id, &s, &(struct credential_change){ 0 }, &err) == 0);
	secret_clear(&s);
}

static bool opens(struct pg *p, const struct keyring *k, int64_t id)
{
	struct secret s = SECRET_INIT;
	char text[64];
	bool ok;

	snprintf(text, sizeof(text), "{\"client_secret\": \"of-integration-%lld\"}", (long long)id);
	ok = credential_get(p, k, id, &s, NULL) == 0 && strcmp(secret_reveal(&s), text) == 0;
	secret_clear(&s);
	return ok;
}

struct racer {
	struct pg *p;
	const struct keyring *keys;
	struct rekey at;
	int slices;
	bool done;
};

static void race(void *arg)
{
	struct racer *r = arg;
	struct err err = { 0 };
	int rc;

	do {
		rc = rekey_slice(r->p, r->keys, &r->at, &err);
		CHECK(rc >= 0);
		r->slices++;
	} while (rc > 0);
	r->done = true;
}

struct tally {
	int64_t old, fresh, lost, none;
};

static void tally_one(const char *place, const char *key, int64_t n, void *arg)
{
	struct tally *t = arg;

	if (strcmp(place, "credentials.sealed") != 0)
		return;
	*(strcmp(key, "k1") == 0   ? &t->old
	  : strcmp(key, "k2") == 0 ? &t->fresh
	  : strcmp(key, "k0") == 0 ? &t->lost
				   : &t->none) += n;
}

static void applied(int number, const char *name, void *arg)
{
}

static void body(struct pg *p)
{
	struct keyring *lost = keys_of(KEY_LOST), *old = keys_of(KEY_OLD),
		       *both = keys_of(KEY_NEW KEY_OLD), *fresh = keys_of(KEY_NEW);
	struct racer a = { .p = p, .keys = both }, b = { .p = p, .keys = both };
	struct tally t = { 0 };
	struct rekey again = { 0 };
	struct err err = { 0 };
	int rc;

	CHECK(migrate_run(postgres.url, applied, NULL, &err) == 0);
	ask(p, "INSERT INTO integrations (partner) SELECT 'guesty' FROM generate_series(1, 450)");
	for (int64_t id = 1; id <= MANY; id++)
		put(p, id == 7 ? lost : old, id);
	ask(p, "UPDATE credentials SET sealed = 'v1.k1.AAAA' WHERE integration_id = 8");
	ask(p, "UPDATE credentials SET sealed = 'plain text' WHERE integration_id = 9");
	ask(p,
	    "UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE integration_id = 11)"
	    " WHERE integration_id = 10"); /* of another: bound to its id */
	ask(p, "UPDATE credentials SET previous_sealed = sealed WHERE integration_id IN (1, 7)");
	CHECK(sealed_count(p, tally_one, &t, &err) == 0);
	CHECK(t.old == MANY - 2 && t.lost == 1 && t.none == 1 && t.fresh == 0);

	CHECK(co_spawn("a", race, &a) && co_spawn("b", race, &b));
	while (!a.done || !b.done)
		if (co_sleep("racers", 5) < 0)
			break;
	CHECK(a.slices >= 3 && b.slices >= 3);
	CHECK(a.at.done + b.at.done == MANY - 4 + 1);
	CHECK(a.at.closed == 5 && a.at.closed_first == 7 && a.at.closed_rc == -ENOKEY);
	t = (struct tally){ 0 };
	CHECK(sealed_count(p, tally_one, &t, &err) == 0);
	CHECK(t.old == 2 && t.lost == 1 && t.none == 1 && t.fresh == MANY - 4);
	CHECK(opens(p, fresh, 1) && opens(p, fresh, 200) && opens(p, fresh, 201) &&
	      opens(p, fresh, MANY));
	CHECK(ask(p, "SELECT count(*) FROM credentials WHERE previous_sealed LIKE 'v1.k2.%'") == 1);
	CHECK(!opens(p, fresh, 10) && opens(p, lost, 7));

	while ((rc = rekey_slice(p, both, &again, &err)) > 0)
		;
	CHECK(rc == 0 && again.done == 0 && again.closed == 5);
	keyring_free(lost);
	keyring_free(old);
	keyring_free(both);
	keyring_free(fresh);
}

static void test_two_at_once(void **state)
{
	assert_int_equal(in_coroutine(body), 0);
}

/* Somebody stores another credential between the read and the write: theirs stands. */
struct turn {
	struct pg *p;
	struct keyring *both;
	struct rekey at;
	int rc;
	bool done;
};

static void turn(void *arg)
{
	struct turn *t = arg;
	struct err err = { 0 };

	t->rc = rekey_slice(t->p, t->both, &t->at, &err);
	t->done = true;
}

static void changed_body(struct pg *p)
{
	struct keyring *old = keys_of(KEY_OLD);
	struct turn t = { .p = p, .both = keys_of(KEY_NEW KEY_OLD) };

	ask(p, "DELETE FROM credentials");
	put(p, old, 1);
	put(p, old, 2);
	/* holds the row while the slice has read it and waits to write it */
	other_says("BEGIN");
	other_says("UPDATE credentials SET sealed = 'v1.k3.AAAA' WHERE integration_id = 1");
	CHECK(co_spawn("turn", turn, &t) != NULL);
	/* In the other session: what is sent on the slice's connection stands behind it. */
	while (!t.done &&
	       other_counts(
		       "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") ==
		       0) {
		other_says("SELECT pg_stat_clear_snapshot()");
		CHECK(co_sleep("it waits", 2) == 0);
	}
	CHECK(!t.done);
	other_says("COMMIT");
	while (!t.done)
		CHECK(co_sleep("its end", 2) == 0);
	CHECK(t.rc == 1 && t.at.done == 1 && t.at.changed == 1); /* 1: the next place */
	CHECK(ask(p, "SELECT count(*) FROM credentials WHERE sealed = 'v1.k3.AAAA'") == 1);
	CHECK(ask(p, "SELECT count(*) FROM credentials WHERE sealed LIKE 'v1.k2.%'") == 1);
	other_leaves();
	keyring_free(old);
	keyring_free(t.both);
}

static void test_what_changed_meanwhile_stands(void **state)
{
	assert_int_equal(in_coroutine(changed_body), 0);
}

/* A column that holds secrets and is not in the list would be left behind for good. */
static void columns_body(struct pg *p)
{
	CHECK(ask(p,
		  "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'"
		  " AND column_name ~ 'sealed' AND (table_name, column_name) NOT IN"
		  " (('credentials', 'sealed'), ('credentials', 'previous_sealed'), ('grants', 'sealed'))") ==
	      0);
}

static void test_no_sealed_column_is_left_out(void **state)
{
	assert_int_equal(in_coroutine(columns_body), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_at_once),
		cmocka_unit_test(test_what_changed_meanwhile_stands),
		cmocka_unit_test(test_no_sealed_column_is_left_out),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
