#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/id.h"

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void ids_are_unique_and_well_formed(void **state)
{
	static char ids[20000][ID_LEN + 1];

	for (int i = 0; i < 20000; i++) {
		id_new(ids[i]);
		assert_int_equal(strlen(ids[i]), ID_LEN);
		assert_int_equal(strspn(ids[i], "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), ID_LEN);
	}
	qsort(ids, 20000, sizeof(ids[0]), by_text);
	for (int i = 1; i < 20000; i++)
		assert_string_not_equal(ids[i - 1], ids[i]);
}

static void ids_sort_by_age(void **state)
{
	char older[ID_LEN + 1], newer[ID_LEN + 1];
	int64_t start = clock_real_ms();

	id_new(older);
	while (clock_real_ms() < start + 2)
		;
	id_new(newer);
	assert_true(strcmp(older, newer) < 0);
}

static void a_child_does_not_repeat_its_parent(void **state)
{
	char mine[16], theirs[16];
	int fds[2], status;
	pid_t pid;

	random_bytes(mine, sizeof(mine)); /* so that there is a pool to inherit */
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		random_bytes(theirs, sizeof(theirs));
		_exit(write(fds[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
	}
	assert_int_equal(read(fds[0], theirs, sizeof(theirs)), sizeof(theirs));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	random_bytes(mine, sizeof(mine));
	assert_memory_not_equal(mine, theirs, sizeof(mine));
	close(fds[0]);
	close(fds[1]);
}

static void random_bytes_of_any_length(void **state)
{
	unsigned char p[1001];
	int seen[256] = { 0 }, kinds = 0;

	for (size_t n = 0; n <= 1000; n += 7) {
		p[n] = 0x5a;
		random_bytes(p, n);
		assert_int_equal(p[n], 0x5a);
	}
	random_bytes(p, 1000);
	for (int i = 0; i < 1000; i++)
		kinds += !seen[p[i]]++;
	assert_true(kinds > 200); /* of 251 expected */
}

static void random_below_is_even(void **state)
{
	int hits[7] = { 0 };

	for (int i = 0; i < 70000; i++) {
		unsigned r = random_below(7);

		assert_true(r < 7);
		hits[r]++;
	}
	for (int i = 0; i < 7; i++) /* 10000 +- 8 standard deviations */
		assert_in_range(hits[i], 9260, 10740);
	assert_int_equal(random_below(1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_unique_and_well_formed),
		cmocka_unit_test(ids_sort_by_age),
		cmocka_unit_test(a_child_does_not_repeat_its_parent),
		cmocka_unit_test(random_bytes_of_any_length),
		cmocka_unit_test(random_below_is_even),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
