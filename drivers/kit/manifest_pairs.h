/* Names and templates, in the order of the manifest: headers, parameters. */
#ifndef DRIVERS_KIT_MANIFEST_PAIRS_H
#define DRIVERS_KIT_MANIFEST_PAIRS_H

struct manifest_pair {
	const char *name, *value;
}; /* value: a template */
struct manifest_pairs {
	const struct manifest_pair *v;
	int n;
};

#endif
