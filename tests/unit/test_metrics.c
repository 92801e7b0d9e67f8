#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"

static void *page_new(void)
{
	return mem_zalloc(METRICS_PAGE_BYTES);
}

static char *text_of(void *const *pages, int n)
{
	struct buf b = BUF_INIT;

	metrics_print(&b, pages, n);
	return buf_detach(&b);
}

static void expect(void *const *pages, int n, const char *want)
{
	char *text = text_of(pages, n);

	if (!strstr(text, want))
		fail_msg("not there:\n%s\nin:\n%s", want, text);
	free(text);
}

static int count_of(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

static void whole_text(void **state)
{
	void *page = page_new();
	struct buf b = BUF_INIT;

	metrics_init(page);
	metric_add(metrics_counter("b_total", "Counts\nb\\s.", "partner", "guesty", "code", "200",
				   NULL),
		   2);
	metric_add(metrics_counter("b_total", "Counts\nb\\s.", "code", "404", "partner", "a\"\\\n",
				   NULL),
		   1.5);
	metric_set(metrics_gauge("a", "An a.", NULL), -3);
	metrics_print_own(&b);
	assert_string_equal(
		b.data,
		"# HELP a An a.\n"
		"# TYPE a gauge\n"
		"a -3\n"
		"# HELP b_total Counts\\nb\\\\s.\n"
		"# TYPE b_total counter\n"
		"b_total{code=\"200\",partner=\"guesty\"} 2\n"
		"b_total{code=\"404\",partner=\"a\\\"\\\\\\n\"} 1.5\n"
		"# HELP longshore_metrics_dropped_total Times a series was left out since the "
		"metrics page is full.\n"
		"# TYPE longshore_metrics_dropped_total counter\n"
		"longshore_metrics_dropped_total 0\n");
	buf_clear(&b);
	free(page);
}

static void the_same_series_is_found_again(void **state)
{
	void *page = page_new();
	struct metric *m;

	metrics_init(page);
	m = metrics_counter("x_total", "X.", "a", "1", "b", "2", NULL);
	assert_ptr_equal(metrics_counter("x_total", "X.", "b", "2", "a", "1", NULL), m);
	assert_ptr_equal(metrics_counter("x_total", "Other help.", "a", "1", "b", "2", NULL), m);
	assert_ptr_not_equal(metrics_counter("x_total", "X.", "a", "1", "b", "3", NULL), m);
	assert_ptr_not_equal(metrics_counter("x_total", "X.", "a", "1", NULL), m);
	assert_ptr_not_equal(metrics_counter("y_total", "Y.", "a", "1", "b", "2", NULL), m);
	free(page);
}

static void values_that_make_no_sense(void **state)
{
	void *page = page_new();
	struct metric *c, *g, *h;

	metrics_init(page);
	c = metrics_counter("c_total", "C.", NULL);
	g = metrics_gauge("g", "G.", NULL);
	h = metrics_histogram("h", "H.", NULL);
	metric_add(c, 5);
	metric_add(c, -1);
	metric_add(c, 0.0 / 0.0);
	metric_add(g, 5);
	metric_add(g, -7);
	metric_observe(h, 0.0 / 0.0);
	metric_observe(c, 9);
	metric_set(h, 9);
	expect(&page, 1, "c_total 5\n");
	expect(&page, 1, "\ng -2\n");
	expect(&page, 1, "h_count 0\n");
	/* a name has one type for ever: the other one goes nowhere, and is counted */
	metric_add(metrics_gauge("c_total", "C.", NULL), 100);
	expect(&page, 1, "c_total 5\n");
	expect(&page, 1, "longshore_metrics_dropped_total 1\n");
	metric_set(g, 1.0 / 0.0);
	expect(&page, 1, "\ng +Inf\n");
	metric_set(g, 0.1);
	expect(&page, 1, "\ng 0.1\n");
	free(page);
}

static void histograms(void **state)
{
	void *page = page_new();
	struct metric *m;

	metrics_init(page);
	m = metrics_histogram("h_seconds", "H.", "p", "x", NULL);
	metric_observe(m, 0.005); /* on the bound counts as within */
	metric_observe(m, 0.006);
	metric_observe(m, 2);
	metric_observe(m, 1000);
	expect(&page, 1,
	       "# TYPE h_seconds histogram\n"
	       "h_seconds_bucket{p=\"x\",le=\"0.005\"} 1\n"
	       "h_seconds_bucket{p=\"x\",le=\"0.01\"} 2\n"
	       "h_seconds_bucket{p=\"x\",le=\"0.025\"} 2\n");
	expect(&page, 1,
	       "h_seconds_bucket{p=\"x\",le=\"1\"} 2\n"
	       "h_seconds_bucket{p=\"x\",le=\"2.5\"} 3\n"
	       "h_seconds_bucket{p=\"x\",le=\"5\"} 3\n");
	expect(&page, 1,
	       "h_seconds_bucket{p=\"x\",le=\"300\"} 3\n"
	       "h_seconds_bucket{p=\"x\",le=\"+Inf\"} 4\n"
	       "h_seconds_sum{p=\"x\"} 1002.011\n"
	       "h_seconds_count{p=\"x\"} 4\n");
	metric_observe(metrics_histogram("bare", "B.", NULL), 1);
	expect(&page, 1, "bare_bucket{le=\"0.005\"} 0\n");
	expect(&page, 1, "bare_sum 1\n");
	free(page);
}

static void pages_are_merged(void **state)
{
	void *pages[3] = { page_new(), page_new(), page_new() };
	char *text;

	for (int i = 0; i < 2; i++) { /* the third stays as it came: zeroes */
		metrics_init(pages[i]);
		metric_add(metrics_counter("c_total", "C.", "p", i ? "b" : "a", NULL), 1 + i);
		metric_add(metrics_counter("c_total", "C.", "p", "both", NULL), 10);
		metric_set(metrics_gauge("g", "G.", NULL), 7);
		metric_observe(metrics_histogram("h", "H.", NULL), 0.02);
	}
	expect(pages, 3, "c_total{p=\"a\"} 1\nc_total{p=\"b\"} 2\nc_total{p=\"both\"} 20\n");
	expect(pages, 3, "\ng 14\n");
	expect(pages, 3, "h_count 2\n");
	text = text_of(pages, 3);
	assert_int_equal(count_of(text, "# TYPE c_total "), 1);
	assert_int_equal(count_of(text, "# HELP h "), 1);
	free(text);
	for (int i = 0; i < 3; i++)
		free(pages[i]);
}

static void the_dead_are_added_up(void **state)
{
	void *into = page_new(), *from = page_new();
	void *both[2] = { into, from };

	for (int life = 0; life < 3; life++) {
		metrics_init(from);
		metric_add(metrics_counter("c_total", "C.", NULL), 5);
		metric_set(metrics_gauge("g", "G.", NULL), 5);
		metric_observe(metrics_histogram("h", "H.", "x", "y", NULL), 3);
		metrics_fold(into, from);
		for (size_t i = 0; i < METRICS_PAGE_BYTES; i++)
			assert_int_equal(((char *)from)[i], 0);
	}
	expect(both, 2, "c_total 15\n");
	expect(both, 2, "h_sum{x=\"y\"} 9\n");
	metrics_init(from);
	metric_add(metrics_counter("c_total", "C.", NULL), 1);
	expect(both, 2, "c_total 16\n");
	free(into);
	free(from);
}

/* The page stands at another address there, and its writer is dead when it is read. */
static void another_process_wrote_it(void **state)
{
	char path[] = "/tmp/test_metrics.XXXXXX";
	int fd = mkstemp(path), status;
	void *here, *again;
	pid_t pid;

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, METRICS_PAGE_BYTES), 0);
	here = mmap(NULL, METRICS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(here != MAP_FAILED);
	pid = fork();
	if (pid == 0) {
		void *there =
			mmap(NULL, METRICS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		munmap(here, METRICS_PAGE_BYTES);
		metrics_init(there);
		for (int i = 0; i < 1000; i++)
			metric_add(metrics_counter("c_total", "C.", "p", "x", NULL), 1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	expect(&here, 1, "c_total{p=\"x\"} 1000\n");
	/* and a next process goes on where it is */
	again = mmap(NULL, METRICS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	metrics_init(again);
	metric_add(metrics_counter("c_total", "C.", "p", "x", NULL), 1);
	expect(&here, 1, "c_total{p=\"x\"} 1001\n");
	munmap(again, METRICS_PAGE_BYTES);
	munmap(here, METRICS_PAGE_BYTES);
	close(fd);
}

static void a_full_page_drops_and_counts(void **state)
{
	void *page = page_new(), *into = page_new();
	char label[600], *text;

	metrics_init(page);
	for (int i = 0; i < 30000; i++) {
		snprintf(label, sizeof(label), "%d", i);
		metric_add(metrics_counter("c_total", "C.", "i", label, NULL), 1);
	}
	text = text_of(&page, 1);
	assert_non_null(strstr(text, "c_total{i=\"0\"} 1\n"));
	assert_null(strstr(text, "c_total{i=\"29999\"}"));
	assert_true(count_of(text, "c_total{") > 9000);
	assert_null(strstr(text, "dropped_total 0\n"));
	free(text);
	/* what is there goes on counting */
	metric_add(metrics_counter("c_total", "C.", "i", "0", NULL), 1);
	expect(&page, 1, "c_total{i=\"0\"} 2\n");
	metrics_fold(into, page);
	expect(&into, 1, "c_total{i=\"0\"} 2\n");
	metrics_init(page);
	for (int i = 0; i < 3000; i++) { /* full by bytes, not by number */
		snprintf(label, sizeof(label), "%0500d", i);
		metric_observe(metrics_histogram("h", "H.", "i", label, NULL), 1);
	}
	text = text_of(&page, 1);
	assert_in_range(count_of(text, "h_count{"), 1000, 2000);
	free(text);
	free(page);
	free(into);
}

static void labels_that_are_too_much(void **state)
{
	void *page = page_new();
	char *big = mem_alloc(5001);

	metrics_init(page);
	memset(big, 'x', 5000);
	big[5000] = '\0';
	metric_add(metrics_counter("c_total", "C.", "p", big, NULL), 1);
	metric_add(metrics_counter(big, "C.", NULL), 1);
	expect(&page, 1, "longshore_metrics_dropped_total 2\n");
	metric_add(metrics_counter("d_total", big, "p", "bad\xff", NULL), 1);
	expect(&page, 1, "d_total{p=\"bad\xef\xbf\xbd\"} 1\n");
	free(big);
	free(page);
}

/* A process that goes mad may write anywhere in its page; its supervisor must outlive that. */
static void a_trampled_page_is_survived(void **state)
{
	void *page = page_new(), *into = page_new();
	unsigned char *p = page;

	for (int round = 0; round < 300; round++) {
		memset(page, 0, METRICS_PAGE_BYTES);
		metrics_init(page);
		for (int i = 0; i < 20; i++) {
			char label[16];

			snprintf(label, sizeof(label), "%d", i);
			metric_add(metrics_counter("c_total", "C.", "i", label, NULL), 1);
			metric_observe(metrics_histogram("h", "H.", "i", label, NULL), 1);
		}
		for (unsigned i = 0; i < 1 + random_below(200); i++)
			p[65560 + random_below(6000)] = (unsigned char)random_below(256);
		if (round % 10 == 0)
			memset(p + 4, random_below(256), 4); /* `used` */
		free(text_of(&page, 1));
		metrics_fold(into, page);
		free(text_of(&into, 1));
	}
	free(page);
	free(into);
}

static void handles_are_kept(void **state)
{
	static struct metrics_kept kept;
	static const char done[] = "done";
	static const char names[2 * METRICS_KEPT];
	struct metric **m = metrics_keep(&kept, names, NULL, done), *first;
	void *page = page_new();

	metrics_init(page);
	assert_null(*m);
	first = *m = metrics_counter("kept_total", "Kept.", NULL);
	assert_ptr_equal(*metrics_keep(&kept, names, NULL, done), first);
	assert_null(*metrics_keep(&kept, names, NULL, NULL));
	assert_null(*metrics_keep(&kept, names + 1, NULL, done));
	for (int i = 2; i < 2 * METRICS_KEPT; i++)
		*metrics_keep(&kept, names + i, NULL, NULL) = first;
	assert_null(*metrics_keep(&kept, names, NULL, done)); /* pushed out: found anew */
	assert_ptr_equal(*metrics_keep(&kept, names + 2 * METRICS_KEPT - 1, NULL, NULL), first);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_text),
		cmocka_unit_test(handles_are_kept),
		cmocka_unit_test(the_same_series_is_found_again),
		cmocka_unit_test(values_that_make_no_sense),
		cmocka_unit_test(histograms),
		cmocka_unit_test(pages_are_merged),
		cmocka_unit_test(the_dead_are_added_up),
		cmocka_unit_test(another_process_wrote_it),
		cmocka_unit_test(a_full_page_drops_and_counts),
		cmocka_unit_test(labels_that_are_too_much),
		cmocka_unit_test(a_trampled_page_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
