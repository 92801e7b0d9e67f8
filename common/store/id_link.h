/* Ids that a partner changed (P1): the link from old to new, the old row marked, its children moved. */
#ifndef COMMON_STORE_ID_LINK_H
#define COMMON_STORE_ID_LINK_H

#include "common/store/rows.h"

struct id_link {
	int64_t integration_id;
	enum row_table table;
	const char *old_id, *new_id; /* as they stand in external_id */
	bool split; /* one of several new ids: whose child is whose only the partner can say, and children stay */
	int64_t observed_us; /* when it was learned: an older reading of the old id does not bring it back */
	struct row_origin origin;
};
struct id_link_result {
	bool marked; /* there is an old row, and it was not marked so before */
	int64_t children;
};
/* Waits.  One transaction, safe to run twice.  The new row need not be there yet.  -EINVAL: an id is empty or both are the
 * same. */
int id_link_put(struct pg *p, const struct id_link *l, struct id_link_result *out, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  missing[i]: the link v[i] is not there, or its old row is not marked so.  All of one integration and table. */
int id_links_missing(struct pg *p, const struct id_link *v, int n, bool *missing, struct err *err)
	__attribute__((warn_unused_result));

#endif
