/* longshore-sandbox: the partners, simulated on loopback.  README.md has what it plays and how faults are
 * ordered. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "tests/sandbox/bench.h"
#include "tests/sandbox/books.h"
#include "tests/sandbox/news.h"
#include "tests/sandbox/subscription.h"
#include "tests/sandbox/tell.h"

#define REQUESTS_MAX 12000 /* under way: a coroutine each, see co_set_limit */
#define CLIENTS_MAX 30000  /* files */

static struct {
	const char *listen, *bench_listen, *latency, *limits, *token_limit, *anchor, *describe,
		*log_level;
	int64_t listings, reservations, seed, in_flight, token_life_ms;
	bool clean;
} flags;

static const struct config_option options[] = {
	{ "listen", NULL, "HOST:PORT", "where to listen; port 0 picks one", CONFIG_STRING,
	  "127.0.0.1:9099", 0, 0, &flags.listen },
	{ "bench-listen", NULL, "HOST:PORT",
	  "a second port, for /bench/items alone, at next to no cost", CONFIG_STRING, "", 0, 0,
	  &flags.bench_listen },
	{ "listings", NULL, "N", "listings of each account", CONFIG_INT, "200", 0, 1000000,
	  &flags.listings },
	{ "reservations", NULL, "N", "reservations of each account; -1: as many as listings",
	  CONFIG_INT, "-1", -1, 1000000, &flags.reservations },
	{ "seed", NULL, "N", "content follows from it", CONFIG_INT, "7", 0, INT64_MAX,
	  &flags.seed },
	{ "anchor", NULL, "TIME",
	  "the instant all dates are relative to; default: today, 00:00 UTC", CONFIG_STRING, "", 0,
	  0, &flags.anchor },
	{ "clean", NULL, NULL, "no awkward values, no duplicate", CONFIG_BOOL, NULL, 0, 0,
	  &flags.clean },
	{ "latency", NULL, "D[,JITTER]", "of every answer: 100ms or 100ms,20ms", CONFIG_STRING,
	  "0ms", 0, 0, &flags.latency },
	{ "limits", NULL, "TIERS", "calls of an account, or none", CONFIG_STRING,
	  "15/1s,120/60s,5000/1h", 0, 0, &flags.limits },
	{ "in-flight", NULL, "N", "calls of an account at the same time; 0: any number", CONFIG_INT,
	  "15", 0, 1000000, &flags.in_flight },
	{ "token-limit", NULL, "N/D", "tokens of an account, or none", CONFIG_STRING, "5/24h", 0, 0,
	  &flags.token_limit },
	{ "token-life", NULL, "D", "life of a token", CONFIG_DURATION_MS, "24h", 1, INT64_MAX,
	  &flags.token_life_ms },
	{ "describe", NULL, "ACCOUNT", "print what an account holds, as JSON lines, and exit",
	  CONFIG_STRING, "", 0, 0, &flags.describe },
	{ "log-level", NULL, "L", "debug info warn error", CONFIG_STRING, "warn", 0, 0,
	  &flags.log_level },
};

static int misused(const char *flag, const char *value, const char *expected)
{
	fprintf(stderr, "longshore-sandbox: --%s %s: expected %s\n", flag, value, expected);
	return -EINVAL;
}

static int anchor_read(int64_t *out_ms)
{
	int64_t us, now = clock_real_ms();

	if (!*flags.anchor) {
		*out_ms = now - now % (24 * 3600 * 1000LL);
		return 0;
	}
	if (clock_parse_time(flags.anchor, &us, NULL) < 0)
		return misused("anchor", flags.anchor, "a time such as 2026-11-21T00:00:00Z");
	*out_ms = us / 1000;
	return 0;
}

static int latency_read(struct sandbox *s)
{
	char *copy = mem_strdup(flags.latency), *comma = strchr(copy, ',');
	int rc = 0;

	if (comma) {
		*comma = '\0';
		rc = clock_parse_duration(comma + 1, &s->jitter_ms);
	}
	if (rc == 0)
		rc = clock_parse_duration(copy, &s->latency_ms);
	free(copy);
	return rc < 0 ? misused("latency", flags.latency,
				"a time such as 100ms, or 100ms,20ms with jitter")
		      : 0;
}

static int limits_read(struct account_limits *out)
{
	struct tier mints[TIERS_MAX];
	int n;

	out->n_tiers = tiers_parse(flags.limits, out->tiers);
	if (out->n_tiers < 0)
		return misused("limits", flags.limits, "tiers such as 15/1s,120/60s, or none");
	n = tiers_parse(flags.token_limit, mints);
	if (n < 0 || n > 1)
		return misused("token-limit", flags.token_limit, "one tier such as 5/24h, or none");
	if (n == 1)
		out->mints = mints[0];
	out->in_flight = (int)flags.in_flight;
	out->token_life_us = flags.token_life_ms * 1000;
	return 0;
}

static int sandbox_init(struct sandbox *s)
{
	struct account_limits limits = { .n_tiers = 0 };
	enum log_level level;

	if (log_level_parse(flags.log_level, &level) < 0)
		return misused("log-level", flags.log_level, "debug, info, warn or error");
	log_init("longshore-sandbox", level, false);
	s->plan = (struct content_plan){
		.seed = (uint64_t)flags.seed,
		.listings = (int)flags.listings,
		.reservations = (int)(flags.reservations < 0 ? flags.listings : flags.reservations),
		.clean = flags.clean
	};
	if (anchor_read(&s->plan.anchor_ms) < 0 || latency_read(s) < 0 || limits_read(&limits) < 0)
		return -EINVAL;
	s->accounts = accounts_new(&s->plan, &limits);
	s->journal = journal_new();
	s->faults = faults_new(s->plan.seed);
	s->rng = rng_of(s->plan.seed, 0x717e, 0);
	return 0;
}

static void sandbox_clear(struct sandbox *s)
{
	accounts_free(s->accounts);
	journal_free(s->journal);
	faults_free(s->faults);
	bench_free();
	books_free();
	hostaway_free();
	cloudbeds_free();
	subscriptions_free();
}

static int describe(struct sandbox *s)
{
	struct account *a = accounts_get(s->accounts, account_number(flags.describe));
	struct buf out = BUF_INIT;

	if (!a) {
		misused("describe", flags.describe, "an account such as acct-1");
		return EXIT_MISUSED;
	}
	account_fill(s->accounts, a);
	collection_describe(&a->listings, &out);
	collection_describe(&a->reservations, &out);
	fwrite(buf_str(&out), 1, out.len, stdout);
	buf_clear(&out);
	return EXIT_OK;
}

struct stopping {
	struct sandbox *sandbox;
	struct httpd *httpd;
	struct bench_port *bench;
};

/* Cancels whoever waits, so that a stop does not last as long as the simulated latency. */
static void stop_run(void *arg)
{
	struct stopping *stopping = arg;

	for (struct exchange *x = stopping->sandbox->under_way; x; x = x->next)
		co_cancel(x->co);
	news_cancel();
	httpd_drain(stopping->httpd, loop_now_ms() + 5000);
	while (news_under_way() && co_sleep("stop", 10) == 0)
		continue;
	loop_stop();
}

static void on_term(int signo, void *arg)
{
	struct stopping *stopping = arg;

	if (stopping->sandbox->stopping)
		return;
	stopping->sandbox->stopping = true;
	if (!co_spawn("stop", stop_run, stopping))
		loop_stop();
}

static int ports_open(struct sandbox *s, struct stopping *open)
{
	struct httpd_options o = { .listen = flags.listen, .max_requests = REQUESTS_MAX };
	struct err err = { 0 };
	int rc, bench = 0;

	rc = httpd_new(&o, &open->httpd, &err);
	if (rc < 0) {
		fprintf(stderr, "longshore-sandbox: %s\n", *err.text ? err.text : strerror(-rc));
		return rc;
	}
	guesty_routes(open->httpd, s);
	open_meteo_routes(open->httpd, s);
	nominatim_routes(open->httpd, s);
	frankfurter_routes(open->httpd, s);
	hostaway_routes(open->httpd, s);
	cloudbeds_routes(open->httpd, s);
	booking_connectivity_routes(open->httpd, s);
	booking_demand_routes(open->httpd, s);
	airbnb_routes(open->httpd, s);
	maintenance_routes(open->httpd, s);
	stripe_routes(open->httpd, s);
	messengers_routes(open->httpd, s);
	books_routes(open->httpd, s);
	control_routes(open->httpd, s);
	bench_routes(open->httpd, s);
	tell_routes(open->httpd, s);
	if (*flags.bench_listen)
		rc = bench_port_open(s, flags.bench_listen, &open->bench, &bench);
	if (rc == 0 && open->bench)
		printf("bench on http://127.0.0.1:%d\n", bench);
	return rc;
}

static int serve(struct sandbox *s)
{
	struct stopping open = { .sandbox = s };
	int rc = loop_init();

	if (rc < 0)
		return EXIT_FAILED;
	rc = ports_open(s, &open);
	if (rc == 0)
		rc = loop_on_signal(SIGTERM, on_term, &open);
	if (rc == 0)
		rc = loop_on_signal(SIGINT, on_term, &open);
	if (rc == 0) {
		printf("listening on http://127.0.0.1:%d\n", httpd_port(open.httpd));
		fflush(stdout);
		loop_run();
	}
	bench_port_close(open.bench);
	tell_free();
	httpd_free(open.httpd);
	loop_close();
	return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

static void files_raise(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max < CLIENTS_MAX ? r.rlim_max : CLIENTS_MAX;
	setrlimit(RLIMIT_NOFILE, &r);
}

int main(int argc, char **argv)
{
	struct sandbox sandbox = { .under_way = NULL };
	int rest, rc;

	rc = config_load("longshore-sandbox",
			 "longshore-sandbox [flags]: partners, simulated on loopback", options,
			 (int)ARRAY_LEN(options), argc, argv, NULL, &rest);
	if (rc != 0)
		return rc;
	if (rest < argc) {
		fprintf(stderr,
			"longshore-sandbox: unexpected word \"%s\"; --help lists the flags\n",
			argv[rest]);
		return EXIT_MISUSED;
	}
	files_raise();
	rc = sandbox_init(&sandbox) < 0 ? EXIT_MISUSED
	     : *flags.describe          ? describe(&sandbox)
					: serve(&sandbox);
	sandbox_clear(&sandbox);
	return rc;
}
