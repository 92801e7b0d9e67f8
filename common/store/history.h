/* The settings of the row tables' history: whether changes are kept, and for how long.  All that take a
 * struct pg wait. */
#ifndef COMMON_STORE_HISTORY_H
#define COMMON_STORE_HISTORY_H

#include "common/store/rows.h"

/* For pg_send, so that a writer can look without waiting. */
const char *history_sql(void);
/* A table that the answer leaves out keeps what `on` says. */
void history_read(const PGresult *res, bool on[ROW_TABLES]);

struct history_setting {
	enum row_table table;
	bool on;
	int64_t keep_days, changes; /* an estimate */
	const char *since;          /* of the oldest month kept, YYYY-MM-DD; NULL: none */
};
int history_each(struct pg *p, void (*fn)(const struct history_setting *h, void *arg), void *arg,
		 struct err *err) __attribute__((warn_unused_result));
/* keep_days 0: as it was; on < 0: as it was. */
int history_set(struct pg *p, enum row_table t, int on, int64_t keep_days, struct err *err)
	__attribute__((warn_unused_result));
/* Makes partitions ahead and drops those that retention lets go; fn is told each. */
int history_keep(struct pg *p, void (*fn)(const char *partition, const char *done, void *arg),
		 void *arg, struct err *err) __attribute__((warn_unused_result));

#endif
