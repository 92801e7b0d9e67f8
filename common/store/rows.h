/* The row tables (resources, transactions, media), as data: their typed columns, and the guarded
 * upsert that writes a batch of rows with the same set of columns (design.md section 6).
 * worker/sink gathers, this writes.
 *
 * The guard: a write wins if its partner_updated_at is newer; where that is equal, or missing on
 * either side, if its observed_at is newer; else it is stale.  Same content: only the two times
 * move.  Content is every column of the set and extra. Columns outside the set keep what they
 * hold. Nothing here waits. */
#ifndef COMMON_STORE_ROWS_H
#define COMMON_STORE_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/io/pg.h"

enum row_table { ROW_RESOURCES, ROW_TRANSACTIONS, ROW_MEDIA, ROW_TABLES };
enum row_type { ROW_TEXT, ROW_INT, ROW_NUMBER, ROW_BOOL, ROW_TIME, ROW_DATE, ROW_JSON };

struct row_column {
	const char *name;
	enum row_type type;
};
#define ROW_COLUMNS_MAX 32 /* each is 24 bytes in every row that waits to be written */
/* All typed columns of a table but keys and the guard's own (external_id partner_updated_at
 * observed_at version … deleted_at); "extra" is the last. The index is the column's number in
 * sets and values. */
const struct row_column *row_columns(enum row_table t, int *n);
const char *row_table_name(enum row_table t);
int row_table_parse(const char *name, enum row_table *out)
	__attribute__((warn_unused_result));             /* -EINVAL */
int row_column_find(enum row_table t, const char *name); /* -1 */

struct row_value {
	bool set; /* false: SQL NULL */
	union {
		int64_t i;
		double d;
		bool b;
		struct {
			const char *p;
			size_t n;
		} s;
	} v; /* i: int, time (unix us), date (days since 1970); s: text, json */
};

struct row {
	int64_t integration_id;
	const char *external_id;
	bool has_partner_updated;
	bool gone; /* the partner says that it is deleted: of its columns nothing is known */
	int64_t partner_updated_us;
	int64_t observed_us;
	struct row_value
		values[ROW_COLUMNS_MAX]; /* by column number; those outside the set are ignored */
};

enum row_outcome {
	ROW_FAILED,
	ROW_ADDED,
	ROW_UPDATED,
	ROW_UNCHANGED,
	ROW_STALE,
	ROW_UNDELETED,
	ROW_DELETED,
	ROW_OUTCOMES
};

/* In the place of a set of columns: the rows are marked deleted, under the same guard, and keep what they hold.  One that is not
 * there is made, marked, so that older news of it finds that. */
#define ROW_GONE (UINT64_C(1) << 62)
/* Beside a set: only observed_at is compared, for a partner whose clock ran ahead. */
#define ROW_FORCE (UINT64_C(1) << 63)

/* The statement for a table and a set of columns (bit n = column n).  Kept for the process's
 * life (one per set in use). */
const char *row_upsert_sql(enum row_table t, uint64_t columns);
/* rows sorted by (integration_id, external_id) with each key once; see row_compare. */
void row_upsert_params(enum row_table t, uint64_t columns, const struct row *const *rows, int n,
		       struct pg_params *out);
/* The outcome of each row, in the order given to row_upsert_params. */
void row_upsert_outcomes(const PGresult *res, const struct row *const *rows, int n,
			 enum row_outcome *out);
/* Order of keys (bytewise), then newest first (the guard's rule): after a sort the first of a
 * key wins. */
int row_compare(const struct row *a, const struct row *b);

#endif
