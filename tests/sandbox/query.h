/* What a list call asks for: filters, ids, sort, fields, a page.  Written for this simulation from the
 * partner's documentation, in no way from Longshore's paginator.  Nothing here waits. */
#ifndef TESTS_SANDBOX_QUERY_H
#define TESTS_SANDBOX_QUERY_H

#include "common/io/httpd.h"
#include "tests/sandbox/content.h"

#define QUERY_PAGE_DEFAULT 25
#define QUERY_PAGE_MAX 100

struct query {
	cJSON *filters;     /* array or NULL; owned */
	const char *ids;    /* comma or space separated, NULL: all */
	const char *sort;   /* "_id", "-lastUpdatedAt"; NULL: as they stand */
	const char *fields; /* space separated; NULL: the collection's default */
	int active, listed; /* -1 any, 0, 1 */
	int limit, skip;
};

/* 0, or -EINVAL with a text for the caller. */
int query_read(struct query *out, const struct httpd_request *q, char problem[160])
	__attribute__((warn_unused_result));
void query_clear(struct query *query);

/* The items that pass, sorted; the caller frees the array, the items are borrowed.  -EINVAL: a filter nobody knows. */
int query_select(const struct query *query, const struct collection *c, const struct item ***out,
		 int *n, char problem[160]) __attribute__((warn_unused_result));

/* Appends the item with the fields asked for (always _id); `fields` NULL or "" = the whole item. */
void item_print(const struct item *item, const char *fields, struct buf *out);

#endif
