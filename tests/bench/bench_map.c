/* What mapping an item costs beside what reading it costs: the same page of listings, read by cJSON alone, and made rows of.
 *   bench_map MANIFEST COLLECTION PAGE.json ROUNDS
 * Both are of the process's own CPU time, the mean of the rounds. */
#include <fcntl.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "drivers/kit/map.h"
#include "drivers/kit/paginate_parts.h"
#include "tests/bench/bench.h"

static void read_file(const char *path, struct buf *out)
{
	char block[2048];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		bench_die("%s cannot be read", path);
	while ((n = read(fd, block, sizeof(block))) > 0)
		buf_append(out, block, (size_t)n);
	close(fd);
}

static struct manifest *manifest_of(const char *path)
{
	struct manifest *m = NULL;
	struct buf problems = BUF_INIT;

	if (manifest_load(path, &m, &problems) < 0)
		bench_die("%s", buf_str(&problems));
	buf_clear(&problems);
	return m;
}

/* How many became rows. */
static int map_page(const struct manifest *m, const struct manifest_collection *c, struct page *p)
{
	struct arena *arena = arena_new();
	struct map_context x = { .manifest = m,
				 .collection = c,
				 .integration_id = 1,
				 .observed_us = 1,
				 .arena = arena };
	static struct row row;
	struct err err = { 0 };
	int rows = 0;

	for (x.index = 0; x.index < p->n; x.index++)
		rows += map_item(&x, p->records[x.index], &row, &err) == 0;
	arena_free(arena);
	return rows;
}

/* How many items there were. */
static int one_round(const struct manifest *m, const struct manifest_collection *c,
		     const struct buf *text, double *parse_us, double *map_us, int *rows)
{
	double at = bench_cpu_us();
	struct err err = { 0 };
	struct page p;
	int n;

	page_init(&p, 1);
	p.result.json = cJSON_ParseWithLength(text->data, text->len);
	*parse_us += bench_cpu_us() - at;
	if (!p.result.json || page_records(&p, c, &err) < 0 || p.n == 0)
		bench_die("the page has no items of %s", c->name);
	at = bench_cpu_us();
	*rows = map_page(m, c, &p);
	*map_us += bench_cpu_us() - at;
	n = p.n;
	page_clear(&p);
	return n;
}

int main(int argc, char **argv)
{
	struct manifest *m = argc == 5 ? manifest_of(argv[1]) : NULL;
	const struct manifest_collection *c = m ? manifest_collection(m, argv[2]) : NULL;
	int rounds = argc == 5 ? (int)strtol(argv[4], NULL, 10) : 0, rows = 0, items = 0;
	double parse_us = 0, map_us = 0;
	struct buf text = BUF_INIT;

	if (!c || rounds < 1)
		bench_die("usage: bench_map MANIFEST COLLECTION PAGE.json ROUNDS");
	read_file(argv[3], &text);
	for (int i = 0; i < rounds; i++)
		items = one_round(m, c, &text, &parse_us, &map_us, &rows);
	if (rows == 0)
		bench_die("no item became a row");
	printf("{\"items\": %d, \"rows\": %d, \"bytes_an_item\": %zu, \"parse_us_an_item\": %.3f, \"map_us_an_item\": %.3f}\n",
	       items, rows, text.len / (size_t)items, parse_us / rounds / items,
	       map_us / rounds / items);
	buf_clear(&text);
	manifest_free(m);
	return 0;
}
