/* A main() for fuzz targets where the compiler brings none (gcc).  Linked with one target:
 *
 *   fuzz_json FILE|FOLDER...                        runs each file once
 *   fuzz_json -runs=N -seed=S FILE|FOLDER...        then N mutations, the same for one S
 *   fuzz_json -max_len=BYTES …                      of at most so many bytes (default 4096)
 *
 * Other flags of libFuzzer are ignored.  When the target dies, its input is kept in
 * fuzz-crash.bin. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

#define FILE_MAX_BYTES (4 * 1024 * 1024)
#define ROUNDS_MAX 6 /* mutations on top of each other */

static struct buf *corpus;
static size_t corpus_count;
static uint64_t random_state;
static const uint8_t *current; /* the input under way */
static size_t current_size;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static size_t below(size_t n)
{
	return n ? next_random() % n : 0;
}

/* From a dying process: only what needs no memory. */
static void keep_input(void)
{
	static const char path[] = "fuzz-crash.bin",
			  text[] = "the input is kept in fuzz-crash.bin\n";
	int fd = current ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;

	if (fd >= 0 && write(fd, current, current_size) == (ssize_t)current_size &&
	    write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	current = NULL;
}

static void on_signal(int sig)
{
	keep_input();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* In memory of exactly its size, so that the sanitizer sees the first byte too many. */
static void run_one(const void *data, size_t size)
{
	uint8_t *copy = mem_alloc(size);

	if (size)
		memcpy(copy, data, size);
	current_size = size;
	current = copy;
	LLVMFuzzerTestOneInput(copy, size);
	current = NULL;
	free(copy);
}

static int add_file(const char *path)
{
	struct buf b = BUF_INIT;
	FILE *f = fopen(path, "re");

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	buf_reserve(&b, FILE_MAX_BYTES);
	b.len = fread(b.data, 1, FILE_MAX_BYTES, f);
	fclose(f);
	corpus = mem_realloc(corpus, (corpus_count + 1) * sizeof(*corpus));
	corpus[corpus_count] = (struct buf)BUF_INIT;
	buf_append(&corpus[corpus_count++], b.data, b.len);
	buf_clear(&b);
	return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Sorted, whatever the locale: the mutations of a seed depend on the order. */
static int add_path(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int n, rc = 0;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return add_file(path);
	n = scandir(path, &entries, NULL, by_name);
	for (int i = 0; i < n; i++) {
		char *file = mem_printf("%s/%s", path, entries[i]->d_name);

		if (entries[i]->d_name[0] != '.')
			rc |= add_file(file);
		free(file);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return n < 0 ? -1 : rc;
}

static void remove_part(struct buf *b)
{
	size_t at = below(b->len), n = 1 + below(b->len - at < 16 ? b->len - at : 16);

	if (n > b->len - at)
		n = b->len - at;
	memmove(b->data + at, b->data + at + n, b->len - at - n);
	b->len -= n;
}

static void insert_part(struct buf *b, const char *p, size_t n)
{
	size_t at = below(b->len + 1);
	struct buf tail = BUF_INIT;

	buf_append(&tail, b->len ? b->data + at : "", b->len - at);
	b->len = at;
	buf_append(b, p, n);
	buf_append(b, tail.data, tail.len);
	buf_clear(&tail);
}

static void mutate(struct buf *b)
{
	static const char interesting[] = "\"\\{}[]:,.-+eE0129/ \n\t\0\x7f\x80\xc3\xe2\xed\xf0\xff";
	const struct buf *other = &corpus[below(corpus_count)];
	size_t from = below(other->len), kind = below(6);
	char c = interesting[below(sizeof(interesting) - 1)];

	if (kind == 0 && b->len)
		b->data[below(b->len)] ^= (char)(1 << below(8));
	else if (kind == 1 && b->len)
		b->data[below(b->len)] = c;
	else if (kind == 2 && b->len)
		remove_part(b);
	else if (kind == 3)
		insert_part(b, &c, 1);
	else if (kind == 4 && other->len)
		insert_part(b, other->data + from,
			    1 + below(other->len - from < 64 ? other->len - from : 64));
	else if (b->len)
		b->len = below(b->len);
}

static void run_mutations(long runs, size_t max_len)
{
	struct buf b = BUF_INIT;

	for (long i = 0; i < runs; i++) {
		const struct buf *start = &corpus[below(corpus_count)];

		buf_reset(&b);
		buf_append(&b, buf_str(start), start->len);
		for (size_t rounds = 1 + below(ROUNDS_MAX); rounds > 0; rounds--)
			mutate(&b);
		run_one(buf_str(&b), b.len < max_len ? b.len : max_len);
	}
	buf_clear(&b);
}

static const char *flag_value(const char *word, const char *flag)
{
	size_t n = strlen(flag);

	return strncmp(word, flag, n) == 0 ? word + n : NULL;
}

int main(int argc, char **argv)
{
	long runs = 0, max_len = 4096;
	unsigned long seed = 1;
	int64_t start = clock_mono_ms();
	const char *v;

	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(keep_input);
	signal(SIGABRT, on_signal);
	for (int i = 1; i < argc; i++) {
		if ((v = flag_value(argv[i], "-runs=")))
			runs = strtol(v, NULL, 10);
		else if ((v = flag_value(argv[i], "-seed=")))
			seed = strtoul(v, NULL, 10);
		else if ((v = flag_value(argv[i], "-max_len=")))
			max_len = strtol(v, NULL, 10);
		else if (argv[i][0] != '-' && add_path(argv[i]) != 0)
			return 1;
	}
	run_one("", 0);
	for (size_t i = 0; i < corpus_count; i++)
		run_one(buf_str(&corpus[i]), corpus[i].len);
	if (corpus_count == 0 && runs > 0) {
		fprintf(stderr, "%s: nothing to mutate: name files or folders\n", argv[0]);
		return 1;
	}
	random_state = seed * 0x9e3779b97f4a7c15ull + 1;
	run_mutations(runs, (size_t)max_len);
	printf("%s: %zu inputs, %ld mutations of seed %lu in %lld ms\n", argv[0], corpus_count,
	       runs, seed, (long long)(clock_mono_ms() - start));
	for (size_t i = 0; i < corpus_count; i++)
		buf_clear(&corpus[i]);
	free(corpus);
	return 0;
}
