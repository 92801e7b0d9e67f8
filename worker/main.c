/* longshore-worker: a supervisor, or one of its processes. */
#include <errno.h>
#include <sys/prctl.h>

#include "common/base/secret.h"
#include "worker/process.h"

static struct settings settings;

int main(int argc, char **argv)
{
	struct shared_page *page;
	int rc;

	secret_harden_process();
	/* Started by /proc/self/exe, it would be "exe" in the process list. */
	prctl(PR_SET_NAME, program_invocation_short_name);
	page = supervisor_page();
	rc = settings_load(&settings, argc, argv);
	if (rc != 0)
		return rc;
	return page ? process_main(&settings, page) : supervisor_main(&settings, argv);
}
