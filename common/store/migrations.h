/* Inside of the store: sql/NNNN_*.sql as the Makefile builds them in (build/gen/migrations.c),
 * in order. */
#ifndef COMMON_STORE_MIGRATIONS_H
#define COMMON_STORE_MIGRATIONS_H

struct migration {
	int number;
	const char *name /* "0001_integrations" */;
	const char *sql;
};
extern const struct migration migrations[];
extern const int n_migrations;

#endif
