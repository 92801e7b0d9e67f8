/* The row tables (resources, transactions, media), as data: their typed columns, and the guarded
 * upsert that writes a batch of rows with the same set of columns (design.md section 6), and their
 * history with it.  worker/sink gathers, this writes.
 *
 * The guard: a write wins if its partner_updated_at is newer; where that is equal, or missing on
 * either side, if its observed_at is newer; else it is stale.  Same content: only the two times
 * move.  Content is every column of the set and extra. Columns outside the set keep what they
 * hold.
 *
 * History: each new version of a row leaves one in its table of changes, in the same statement: the
 * columns that changed, old and new, exact in any interleaving, for they are compared where the row
 * is locked.  They leave the row's update by its column `change`, and the outcome by `written`: an
 * upsert returns nothing else of the row it found, and of a partitioned table no xmax.
 * Nothing here waits. */
#ifndef COMMON_STORE_ROWS_H
#define COMMON_STORE_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
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
const char *row_changes_name(enum row_table t); /* "resource_changes" */
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
	/* P3: the version that the writer saw; with any other one (or no row) it is refused, as
	 * ROW_MISMATCH, and nothing is written.  0: whatever stands there. */
	int64_t expected_version;
	struct row_value
		values[ROW_COLUMNS_MAX]; /* by column number; those outside the set are ignored */
};

/* Who writes: what the history says of it. */
enum row_source {
	ROW_UNTOLD,
	ROW_FULL,
	ROW_INCREMENTAL,
	ROW_SINGLE, /* fetched by its id */
	ROW_WEBHOOK,
	ROW_ACTION, /* what an outbound action answered */
	ROW_DELETION,
	ROW_LINK, /* the partner merged or split ids */
	ROW_SOURCES
};
const char *row_source_name(enum row_source s); /* NULL for ROW_UNTOLD */
struct row_origin {
	enum row_source source;
	int64_t run_id; /* 0: of none */
};

/* Numbers are in the database for as long as a statement lasts. */
enum row_outcome {
	ROW_FAILED,
	ROW_ADDED,
	ROW_UPDATED,
	ROW_UNCHANGED,
	ROW_STALE,
	ROW_UNDELETED,
	ROW_MISMATCH,
	ROW_DELETED,
	ROW_OUTCOMES
};

/* In the place of a set of columns: the rows are marked deleted, under the same guard, and keep what they hold.  One that is not
 * there is made, marked, so that older news of it finds that.  They expect no version. */
#define ROW_GONE (UINT64_C(1) << 62)
/* Beside a set: only observed_at is compared, for a partner whose clock ran ahead. */
#define ROW_FORCE (UINT64_C(1) << 63)

#define ROW_BATCH_MAX 4000 /* rows of one statement */
#define ROW_WITH_HISTORY 1 /* changes go into the table's history */
#define ROW_EXPECTING 2    /* some rows name a version */
/* The statement for a table, a set of columns (bit n = column n) and how (flags above).  Kept for the
 * process's life (one per set in use). */
const char *row_upsert_sql(enum row_table t, uint64_t columns, unsigned how);
/* rows sorted by (integration_id, external_id) with each key once; see row_compare.  origins[i] for
 * rows[i]; only asked for with history. */
void row_upsert_params(enum row_table t, uint64_t columns, unsigned how,
		       const struct row *const *rows, const struct row_origin *origins, int n,
		       struct pg_params *out);
/* The outcome of each row, in the order given to row_upsert_params.  held: the answer to
 * row_hold_sql, NULL without. */
void row_upsert_outcomes(const PGresult *res, const PGresult *held, const struct row *const *rows,
			 int n, enum row_outcome *out);
/* With ROW_EXPECTING, before the upsert in the same transaction: holds the rows and tells their
 * versions, so that a refusal is known for what it is. */
const char *row_hold_sql(enum row_table t);
void row_hold_params(const struct row *const *rows, int n, struct pg_params *out);

/* Whether Postgres can hold the row's values; if not, why says which it can't (one short line).  What
 * this lets pass may still be refused: too large for an index, say. */
bool row_check(enum row_table t, uint64_t columns, const struct row *r, char *why, size_t why_size)
	__attribute__((warn_unused_result));

/* For statements of others that change rows: appends ", h AS (INSERT INTO its history …)", which
 * reads from a CTE of theirs (and WHERE …) with the columns integration_id, external_id, version,
 * changed_at, change, partner_updated_at, observed_at as the row has them now.  what, source and run are SQL
 * expressions.  An UPDATE gives version + 1, changed_at = now() and as `change` the columns it
 * touched: {"status": [old, new]}. */
const char *row_history_on(enum row_table t); /* SQL: a condition for `from` */
void row_history_put(struct buf *b, enum row_table t, const char *from, const char *what,
		     const char *source, const char *run);

/* Order of keys (bytewise), then newest first (the guard's rule): after a sort the first of a
 * key wins. */
int row_compare(const struct row *a, const struct row *b);

#endif
