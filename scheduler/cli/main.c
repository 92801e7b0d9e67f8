/* longshore: the operator's command.  One table of commands; each runs in a coroutine on the
 * loop and returns its exit code. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "scheduler/cli/cli.h"

static const struct command commands[] = {
	{ "migrate", "", "creates the tables in Postgres, or brings them up to date", 0, 0, NULL,
	  cmd_migrate },
	{ "company add", "NAME", "adds a company, prints its id", 1, 1, NULL, cmd_company_add },
	{ "company list", "", "lists companies", 0, 0, NULL, cmd_company_list },
	{ "integration add", "--company C --partner P [--credentials FILE|-] [--set k=v]...",
	  "adds a company's account with a partner, prints its id", 0, 0, options_integration_add,
	  cmd_integration_add },
	{ "integration set",
	  "ID [--base-url URL] [--set k=v]... [--limits JSON] [--map JSON] [--overrides FILE|-] [--clear]",
	  "changes what it has otherwise than the manifest says; workers heed it within 5 s", 1, 1,
	  options_integration_set, cmd_integration_set },
	{ "integration link", "ID TABLE OLD NEW [--split]",
	  "says that the partner merged a row's id into another, or split it", 4, 4,
	  options_integration_link, cmd_integration_link },
	{ "integration list", "", "lists integrations", 0, 0, options_integration_list,
	  cmd_integration_list },
	{ "integration show", "ID", "shows one integration: settings, status, health", 1, 1, NULL,
	  cmd_integration_show },
	{ "integration sync", "ID [--full] [--wait [5m]] [--force] [--children]",
	  "imports it now, before others; prints the job's id, or waits for its result", 1, 1,
	  options_integration_sync, cmd_integration_sync },
	{ "integration pause", "ID [--reason R] [--for 2h]",
	  "lets its jobs wait, unharmed, and starts none by the clock", 1, 1, options_pause_one,
	  cmd_integration_pause },
	{ "integration resume", "ID [--credentials FILE|-]",
	  "lets its jobs run again, with new"
	  " credentials if given",
	  1, 1, options_integration_resume, cmd_integration_resume },
	{ "integration authorize", "ID [--public-url URL]",
	  "lets a person sign in at the partner: prints a link, or a code and waits for it", 1, 1,
	  options_authorize, cmd_integration_authorize },
	{ "integration rotate", "ID --credentials FILE|- | --back",
	  "new credentials: tried first, stored, looked at once more, undone where they fail", 1, 1,
	  options_integration_rotate, cmd_integration_rotate },
	{ "integration verify", "ID", "proves its credentials with the partner's cheapest call", 1,
	  1, NULL, cmd_integration_verify },
	{ "push", "PARTNER TASK [ARGS] [--wait 5s]",
	  "queues a job, prints its id, or waits for its result", 2, 3, options_push, cmd_push },
	{ "status", "", "shows queues, workers, the leader, integrations by health", 0, 0, NULL,
	  cmd_status },
	{ "queue list", "", "lists queues: what waits, runs, is held, is dead", 0, 0, NULL,
	  cmd_queue_list },
	{ "queue show", "PARTNER[:LANE]",
	  "shows one: caps, who has how much of them, what runs where", 1, 1, NULL,
	  cmd_queue_show },
	{ "queue purge", "PARTNER[:LANE] [--integration ID] --yes",
	  "discards its ready jobs (dead_letters keeps them), prints how many", 1, 1,
	  options_queue_purge, cmd_queue_purge },
	{ "queue recovery", "[PARTNER[:LANE] [purge|drain|pause|off|default]] [--over N]",
	  "shows or sets what is done with a lane that an outage filled", 0, 2,
	  options_queue_recovery, cmd_queue_recovery },
	{ "queue pause", "PARTNER [--reason R] [--for 2h]", "lets all jobs of a partner wait", 1, 1,
	  options_pause_one, cmd_pause },
	{ "queue resume", "PARTNER", "lets them run again", 1, 1, NULL, cmd_resume },
	{ "job list", "[--queue Q] [--state S] [--integration ID] [--limit N]",
	  "lists jobs: what waits, what is held and why, what runs where", 0, 0, options_job_list,
	  cmd_job_list },
	{ "job show", "ID", "shows one job whole, and why it does not run", 1, 1, NULL,
	  cmd_job_show },
	{ "job cancel", "ID", "discards a job that does not run yet", 1, 1, NULL, cmd_job_cancel },
	{ "job retry", "ID", "lets a delayed job run now", 1, 1, NULL, cmd_job_retry },
	{ "run list", "[--integration ID] [--root ID] [--state S] [--limit N]",
	  "lists runs, newest first: how far, what of them is open", 0, 0, options_run_list,
	  cmd_run_list },
	{ "run show", "ID", "shows one: counts, open descendants, its end, peak memory", 1, 1, NULL,
	  cmd_run_show },
	{ "notify template", "NAME [FILE|- | --remove] [--company C]",
	  "says what notifications of that name say, by channel; without a file, shows it", 1, 2,
	  options_notify_template, cmd_notify_template },
	{ "notify channels",
	  "ID... --company C [--patience 15m] [--quiet 22:00-07:00 --tz ZONE] [--rate 5/1h]",
	  "says by which integrations a company's notifications go, the first choice first", 1, 8,
	  options_notify_channels, cmd_notify_channels },
	{ "notify list", "[--company C] [--state S] [--limit N]",
	  "lists attempts at notifications, newest first: by which channel, what became of them", 0,
	  0, options_notify_list, cmd_notify_list },
	{ "notify show", "ID", "shows one notification: each of its attempts", 1, 1, NULL,
	  cmd_notify_show },
	{ "request list", "[--partner P] [--action A] [--state S] [--integration ID] [--limit N]",
	  "lists outbound requests, newest first: how far, the next try and why", 0, 0,
	  options_request_list, cmd_request_list },
	{ "request show", "ID", "shows one whole: its steps, what they kept, what went wrong", 1, 1,
	  NULL, cmd_request_show },
	{ "request resolve", "ID done|retry|undo [--kept JSON]",
	  "decides of one that is unknown (done, retry, undo), failed (retry, undo) or done (undo)",
	  2, 2, options_request_resolve, cmd_request_resolve },
	{ "request undo", "ID", "takes back what one did, the last step first", 1, 1, NULL,
	  cmd_request_undo },
	{ "run confirm-deletes", "ID",
	  "marks the rows deleted that a run did not see and held, since they were many", 1, 1,
	  NULL, cmd_run_confirm_deletes },
	{ "worker list", "", "lists worker processes", 0, 0, NULL, cmd_worker_list },
	{ "worker show", "WORKER", "shows one, and the jobs it holds", 1, 1, NULL,
	  cmd_worker_show },
	{ "dead list", "[--class C] [--state S] [--partner P] …",
	  "lists dead letters, newest first; those given up too", 0, 0, options_dead_list,
	  cmd_dead_list },
	{ "dead show", "ID", "shows a dead letter whole", 1, 1, NULL, cmd_dead_show },
	{ "dead replay", "ID | filters", "queues the jobs of dead letters again, prints how many",
	  0, 1, options_dead_filter, cmd_dead_replay },
	{ "dead discard", "ID | filters", "gives dead letters up, prints how many", 0, 1,
	  options_dead_filter, cmd_dead_discard },
	{ "breaker list", "[PARTNER]", "lists the circuit breakers: who is called, who is not, why",
	  0, 1, NULL, cmd_breaker_list },
	{ "breaker show", "PARTNER [HOST]", "shows one", 1, 2, NULL, cmd_breaker_show },
	{ "breaker open", "PARTNER [HOST] [--for 30m]", "keeps everybody from calling a host", 1, 2,
	  options_breaker_open, cmd_breaker_open },
	{ "breaker close", "PARTNER [HOST]", "lets everybody call it again", 1, 2, NULL,
	  cmd_breaker_close },
	{ "driver list", "", "lists the partners that there are drivers for", 0, 0, NULL,
	  cmd_driver_list },
	{ "driver show", "PARTNER", "prints a manifest with all its defaults", 1, 1, NULL,
	  cmd_driver_show },
	{ "driver schema", "", "prints the manifest's format as JSON Schema, for editors", 0, 0,
	  NULL, cmd_driver_schema },
	{ "driver check", "[PARTNER|DIR] [--live --integration ID]",
	  "validates one manifest, or all, and replays their cassettes; --live asks the partner", 0,
	  1, options_driver_check, cmd_driver_check },
	{ "driver new", "NAME", "lays down a new driver from the template", 1, 1, NULL,
	  cmd_driver_new },
	{ "driver record",
	  "PARTNER --integration ID [--collection C | --lookup L | --action A] [--out DIR]",
	  "writes down what the partner answers, for the driver's tests", 1, 1,
	  options_driver_record, cmd_driver_record },
	{ "limit list", "[--partner P] [--all]",
	  "lists limits in use: how full, who waits, until when and why", 0, 0, options_limit_list,
	  cmd_limit_list },
	{ "limit show", "INTEGRATION",
	  "shows all limits that its calls are under, and what was learned", 1, 1, NULL,
	  cmd_limit_show },
	{ "limit set", "INTEGRATION SCOPE WINDOW CALLS|default",
	  "calls a window, in place of the manifest's share, at once on all workers", 4, 4, NULL,
	  cmd_limit_set },
	{ "history list", "", "shows of which row tables changes are kept, and for how long", 0, 0,
	  NULL, cmd_history_list },
	{ "history on", "TABLE", "keeps what changes in resources, transactions or media", 1, 1,
	  NULL, cmd_history_on },
	{ "history off", "TABLE", "keeps no more of it; what is kept stays", 1, 1, NULL,
	  cmd_history_off },
	{ "history keep", "TABLE DAYS", "for how long; months that are older are dropped", 2, 2,
	  NULL, cmd_history_keep },
	{ "secret list", "", "shows how much is encrypted with which key", 0, 0, NULL,
	  cmd_secret_list },
	{ "secret rotate-key", "[--force]",
	  "re-encrypts everything with the first key of the file, while workers run", 0, 0,
	  options_secret_rotate_key, cmd_secret_rotate_key },
	{ "token add", "NAME [--scopes push,read,operate] [--per-minute N] [--expires-in D]",
	  "makes a bearer token for the HTTP API, and prints it once", 1, 1, options_token_add,
	  cmd_token_add },
	{ "token list", "", "lists the API's tokens, without their texts", 0, 0, NULL,
	  cmd_token_list },
	{ "token revoke", "NAME|ID", "ends one; schedulers heed it within 5 s", 1, 1, NULL,
	  cmd_token_revoke },
	{ "webhook register", "INTEGRATION [--public-url URL]",
	  "tells the partner where to send its webhooks, once however often it is run", 1, 1,
	  options_webhook, cmd_webhook_register },
	{ "webhook list", "[--partner P]", "lists where partners were told to send webhooks", 0, 0,
	  options_webhook_list, cmd_webhook_list },
	{ "webhook verify", "INTEGRATION [--public-url URL]",
	  "asks the partner whether that still stands", 1, 1, options_webhook, cmd_webhook_verify },
	{ "webhook remove", "INTEGRATION [--public-url URL]", "takes it back", 1, 1,
	  options_webhook, cmd_webhook_remove },
	{ "webhook replay", "EVENT_ID | --since TIME, --partner P, --integration ID [--state S]",
	  "has events done again (those that failed or met no record), prints how many", 0, 1,
	  options_webhook_replay, cmd_webhook_replay },
	{ "doctor", "[--repair]", "checks Redis, Postgres, drivers, keys and the queues' books", 0,
	  0, options_doctor, cmd_doctor },
	{ "pause", "PARTNER | --integration ID | --scheduling [--reason R] [--for 2h]",
	  "lets all jobs of a partner wait, or of an integration; or starts nothing by the clock",
	  0, 1, options_pause, cmd_pause },
	{ "resume", "PARTNER | --integration ID | --scheduling", "ends that", 0, 1, options_resume,
	  cmd_resume },
	{ "drain", "[PARTNER] [--for 5m] [--reason R]",
	  "starts nothing by the clock any more, and waits until what is queued is done", 0, 1,
	  options_drain, cmd_drain },
};

struct outcome {
	struct cli *cli;
	int code;
};

static void run(void *arg)
{
	struct outcome *o = arg;

	o->code = o->cli->command->run(o->cli);
	cli_close(o->cli);
	loop_stop();
}

static int run_on_loop(struct cli *c)
{
	struct outcome o = { .cli = c, .code = EXIT_FAILED };

	if (loop_init() < 0 || !co_spawn("command", run, &o))
		return cli_fail(c, EXIT_FAILED,
				"the event loop cannot start: out of memory or file descriptors");
	loop_run();
	loop_close();
	return o.code;
}

int main(int argc, char **argv)
{
	struct cli c = { 0 };
	enum log_level level;
	int code;

	secret_harden_process();
	log_init("longshore", LOG_ERROR, false);
	code = args_read(&c, commands, (int)ARRAY_LEN(commands), argc, argv);
	if (code == 0 && log_level_parse(c.common.log_level, &level) < 0)
		code = cli_misused(&c, "--log-level: debug, info, warn or error, not \"%s\"",
				   c.common.log_level);
	if (code == 0) {
		log_init("longshore", level, c.common.log_format[0] == 'j');
		code = run_on_loop(&c);
	}
	free(c.words);
	return cli_end(&c, code);
}
