/* The accounts of the simulated partner.  Any client_id "acct-N" exists, its secret is "secret-N"; the account is
 * made when it is first named, its content when it is first read.  Limits are per account,
 * whichever of its tokens a call carries.  Nothing here waits. */
#ifndef TESTS_SANDBOX_ACCOUNT_H
#define TESTS_SANDBOX_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sandbox/content.h"
#include "tests/sandbox/window.h"

#define TOKEN_MAX 80

struct account_limits {
	struct tier tiers[TIERS_MAX];
	int n_tiers;
	int in_flight;     /* 0 = unbounded */
	struct tier mints; /* limit 0 = unbounded */
	int64_t token_life_us;
};

struct token {
	char text[TOKEN_MAX];
	int64_t minted_us, expires_us;
};

struct account {
	int number;
	bool filled;
	struct collection listings, reservations;
	struct window served[TIERS_MAX]; /* calls let through: what the limit counts */
	struct window seen[TIERS_MAX];   /* all calls: what a test looks at */
	int n_tiers;
	int in_flight, most_in_flight;
	int64_t refused; /* calls answered 429 by the limits */
	struct window mints;
	int64_t minted;
	struct token *tokens;
	int n_tokens;
	struct account *next; /* in its bucket */
};

struct accounts;

struct accounts *accounts_new(const struct content_plan *plan, const struct account_limits *limits);
void accounts_free(struct accounts *a);
struct account *accounts_get(struct accounts *a,
			     int number); /* made if new; NULL unless 1 <= number <= 1,000,000 */
struct account *accounts_by_token(struct accounts *a,
				  const char *token); /* whose it is, valid or not; NULL */
int account_number(const char *client_id);            /* "acct-7" -> 7; 0 if it is none */
void accounts_each(struct accounts *a, void (*fn)(struct account *account, void *arg), void *arg);
/* New limits for all accounts; what was counted so far is forgotten. */
void accounts_set_limits(struct accounts *a, const struct account_limits *limits);
const struct account_limits *accounts_limits(const struct accounts *a);

void account_fill(struct accounts *a,
		  struct account *account);  /* makes its content unless it is there */
void account_empty(struct account *account); /* content is made anew at the next read */
void account_reset_limits(struct account *account);
/* NULL when the limit on tokens is reached; then *wait_us says how long.  With wait_us NULL there is no limit. */
const struct token *account_mint(struct accounts *a, struct account *account, int64_t now_us,
				 int64_t *wait_us);
const struct token *account_token(const struct account *account,
				  const char *text);            /* NULL: not known */
bool account_revoke(struct account *account, const char *text); /* false: not known */
bool account_token_is_valid(const struct account *account, const char *token, int64_t now_us);
/* 0: counted and let through.  Else how long until there is room, in us. */
int64_t account_admit(struct accounts *a, struct account *account, int64_t now_us);

#endif
