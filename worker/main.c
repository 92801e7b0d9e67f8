/* longshore-worker: a supervisor, or one of its processes. */
#include "common/base/secret.h"
#include "worker/process.h"

static struct settings settings;

int main(int argc, char **argv)
{
	struct shared_page *page;
	int rc;

	secret_harden_process();
	page = supervisor_page();
	rc = settings_load(&settings, argc, argv);
	if (rc != 0)
		return rc;
	return page ? process_main(&settings, page) : supervisor_main(&settings, argv);
}
