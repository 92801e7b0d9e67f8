#include "common/base/zone.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/zone_rule.h"

#define ZONE_DIR "/usr/share/zoneinfo/"
#define ZONE_FILE_MAX (64 * 1024)
#define HEADER_BYTES 44
#define DAY_S 86400

struct zone {
	char *name;
	int n; /* changes, in order of time */
	int64_t *at_s;
	int32_t *offset_s;
	int32_t first_s;       /* before the first change */
	struct zone_rule rule; /* after the last */
	struct zone *next;
};

static struct zone *zones; /* every name that was asked for and is there */

void zone_free(struct zone *z)
{
	if (!z)
		return;
	free(z->name);
	free(z->at_s);
	free(z->offset_s);
	free(z);
}

/* ---- fixed ones ---- */

static bool is_fixed(const char *s, int32_t *out)
{
	int hours, minutes;

	if (strcmp(s, "UTC") == 0 || strcmp(s, "Z") == 0) {
		*out = 0;
		return true;
	}
	if (strlen(s) != 6 || (s[0] != '+' && s[0] != '-') || s[3] != ':' ||
	    strspn(s + 1, "0123456789") != 2 || strspn(s + 4, "0123456789") != 2)
		return false;
	hours = (s[1] - '0') * 10 + s[2] - '0';
	minutes = (s[4] - '0') * 10 + s[5] - '0';
	if (hours > 14 || minutes > 59)
		return false;
	*out = (s[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

/* ---- TZif (RFC 8536) ---- */

struct block {
	uint32_t isut, isstd, leap, times, types, chars;
};

static uint64_t big(const uint8_t *p, int n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

static bool header(const uint8_t *p, size_t len, struct block *out)
{
	if (len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
		return false;
	*out = (struct block){ (uint32_t)big(p + 20, 4), (uint32_t)big(p + 24, 4),
			       (uint32_t)big(p + 28, 4), (uint32_t)big(p + 32, 4),
			       (uint32_t)big(p + 36, 4), (uint32_t)big(p + 40, 4) };
	return (out->isut | out->isstd | out->leap | out->times | out->types | out->chars) <
	       ZONE_FILE_MAX;
}

/* Behind its header; time_bytes: 4 in the first block of a file, 8 in the second. */
static size_t block_bytes(const struct block *b, size_t time_bytes)
{
	return b->times * (time_bytes + 1) + b->types * 6u + b->chars + b->leap * (time_bytes + 4) +
	       b->isstd + b->isut;
}

static bool read_changes(struct zone *z, const struct block *b, const uint8_t *p)
{
	const uint8_t *kinds = p + b->times * 8u, *types = kinds + b->times;

	if (b->types == 0)
		return false;
	z->n = (int)b->times;
	z->at_s = mem_alloc(sizeof(*z->at_s) * (b->times + 1));
	z->offset_s = mem_alloc(sizeof(*z->offset_s) * (b->times + 1));
	z->first_s = (int32_t)big(types, 4);
	for (uint32_t i = 0; i < b->times; i++) {
		if (kinds[i] >= b->types)
			return false;
		z->at_s[i] = (int64_t)big(p + i * 8u, 8);
		z->offset_s[i] = (int32_t)big(types + kinds[i] * 6u, 4);
		if (i > 0 && z->at_s[i] <= z->at_s[i - 1])
			return false;
	}
	return true;
}

static bool offsets_are_sane(const struct zone *z)
{
	if (abs(z->first_s) > DAY_S)
		return false;
	for (int i = 0; i < z->n; i++)
		if (z->offset_s[i] > DAY_S || z->offset_s[i] < -DAY_S)
			return false;
	return true;
}

/* "\nCET-1CEST,M3.5.0,M10.5.0/3\n", or nothing between the two. */
static bool read_footer(struct zone *z, const uint8_t *p, size_t len)
{
	const uint8_t *end = len > 1 && *p == '\n' ? memchr(p + 1, '\n', len - 1) : NULL;
	char *text;
	bool good;

	if (!end)
		return false;
	if (end == p + 1)
		return true;
	text = mem_strndup((const char *)p + 1, (size_t)(end - p) - 1);
	good = zone_rule_parse(text, &z->rule);
	free(text);
	return good;
}

struct zone *zone_parse(const char *name, const uint8_t *data, size_t len)
{
	struct zone *z;
	struct block b;
	size_t first, second;

	if (!header(data, len, &b) || data[4] < '2')
		return NULL;
	first = HEADER_BYTES + block_bytes(&b, 4);
	if (first > len || !header(data + first, len - first, &b))
		return NULL;
	first += HEADER_BYTES;
	second = block_bytes(&b, 8);
	if (second > len - first)
		return NULL;
	z = mem_new(struct zone);
	z->name = mem_strdup(name);
	if (!read_changes(z, &b, data + first) || !offsets_are_sane(z) ||
	    !read_footer(z, data + first + second, len - first - second)) {
		zone_free(z);
		return NULL;
	}
	return z;
}

/* ---- by name ---- */

/* A name of the database and nothing else: no way out of its folder. */
static bool name_is_safe(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 64 && s[0] != '/' && s[0] != '.' && !strstr(s, "..") &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/.") ==
		       n;
}

static struct zone *zone_read(const char *name)
{
	char *path = mem_printf(ZONE_DIR "%s", name);
	int fd = name_is_safe(name) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	uint8_t *data = mem_alloc(ZONE_FILE_MAX);
	struct zone *z = NULL;
	ssize_t n = 0, len = 0;

	free(path);
	if (fd >= 0) {
		while (len < ZONE_FILE_MAX &&
		       (n = read(fd, data + len, (size_t)(ZONE_FILE_MAX - len))) > 0)
			len += n;
		close(fd);
		if (n == 0)
			z = zone_parse(name, data, (size_t)len);
	}
	free(data);
	return z;
}

const struct zone *zone_get(const char *name)
{
	struct zone *z = zones;
	int32_t offset;

	while (z && strcmp(z->name, name) != 0)
		z = z->next;
	if (z)
		return z;
	if (is_fixed(name, &offset)) {
		z = mem_new(struct zone);
		z->name = mem_strdup(name);
		z->first_s = offset;
	} else {
		z = zone_read(name);
	}
	if (!z)
		return NULL;
	z->next = zones;
	zones = z;
	return z;
}

const char *zone_name(const struct zone *z)
{
	return z->name;
}

int64_t zone_offset_s(const struct zone *z, int64_t utc_s)
{
	int low = 0, high = z ? z->n : 0;

	if (!z)
		return 0;
	if (z->rule.there && (z->n == 0 || utc_s >= z->at_s[z->n - 1]))
		return zone_rule_offset_s(&z->rule, utc_s);
	while (low < high) { /* the first change after it */
		int middle = (low + high) / 2;

		if (z->at_s[middle] <= utc_s)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? z->offset_s[low - 1] : z->first_s;
}

int64_t zone_to_utc_s(const struct zone *z, int64_t local_s)
{
	int64_t before = zone_offset_s(z, local_s - DAY_S),
		after = zone_offset_s(z, local_s + DAY_S);

	if (zone_offset_s(z, local_s - before) != before &&
	    zone_offset_s(z, local_s - after) == after)
		return local_s - after;
	return local_s - before;
}
