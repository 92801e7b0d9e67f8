#include "common/store/query.h"
#include "common/store/store.h"

/* One alert a partner and task, open for as long as such letters are dead: replayed or discarded they
 * resolve it.  Written only where something changed. */
int alert_poison(struct pg *p, struct err *err)
{
	return query(
		p,
		"WITH bad AS (SELECT partner || ':' || coalesce(task, 'unknown') AS scope,"
		" count(*) AS n, min(failed_at) AS since, max(id) AS id FROM dead_letters"
		" WHERE class = 'poison' AND state = 'dead' GROUP BY 1),"
		" raised AS (INSERT INTO alerts AS a (kind, severity, scope, since, count, what,"
		" todo) SELECT 'poison', 'critical', scope, since, n, n || CASE n WHEN 1 THEN"
		" ' job of ' ELSE ' jobs of ' END || scope || ' crashed two worker processes each"
		" and became dead letters, the last one ' || id,"
		" '`longshore dead show ID` says what it was doing and where; this is a fault of"
		" Longshore''s (or of a driver''s C): report it, then `longshore dead replay` or"
		" `discard` them' FROM bad"
		" ON CONFLICT (kind, scope) DO UPDATE SET state = 'open', resolved_at = NULL,"
		" last_seen = now(), what = excluded.what, todo = excluded.todo, count ="
		" excluded.count, since = CASE a.state WHEN 'open' THEN a.since ELSE"
		" excluded.since END WHERE a.state <> 'open' OR a.what <> excluded.what)"
		" UPDATE alerts SET state = 'resolved', resolved_at = now() WHERE kind = 'poison'"
		" AND state = 'open' AND scope NOT IN (SELECT scope FROM bad)",
		NULL, NULL, err);
}
