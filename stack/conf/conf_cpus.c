/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cpus = LIST or numa:NODE as a set. */
#include "stack/conf/conf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
number(const char *text, const char **end, unsigned int *out)
{
	unsigned long n;

	if (!isdigit((unsigned char)*text))
		return "is no list of CPUs such as 2,4-7 and no numa:NODE";
	n = strtoul(text, (char **)(uintptr_t)end, 10);
	if (n >= CPU_SETSIZE)
		return "names a CPU beyond 1023";
	*out = (unsigned int)n;
	return NULL;
}

static const char *
list(const char *text, cpu_set_t *out)
{
	const char *reason;

	for (;;) {
		unsigned int first, last;

		reason = number(text, &text, &first);
		last = first;
		if (reason == NULL && *text == '-')
			reason = number(text + 1, &text, &last);
		if (reason != NULL)
			return reason;
		if (last < first)
			return "has a range that ends before it begins";
		for (; first <= last; first++)
			CPU_SET(first, out);
		if (*text == '\0')
			return NULL;
		if (*text++ != ',')
			return "is no list of CPUs such as 2,4-7 and no numa:NODE";
	}
}

static const char *
node(const char *text, cpu_set_t *out)
{
	char path[80], cpus[1024];
	const char *end, *reason;
	unsigned int n;
	FILE *f;

	reason = number(text, &end, &n);
	if (reason != NULL || *end != '\0')
		return "is no NUMA node such as numa:0";
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", n);
	f = fopen(path, "re");
	if (f == NULL || fgets(cpus, sizeof(cpus), f) == NULL)
		cpus[0] = '\0';
	if (f != NULL)
		fclose(f);
	cpus[strcspn(cpus, "\n")] = '\0';
	return cpus[0] != '\0' ? list(cpus, out) : "names a NUMA node that has no CPUs here";
}

const char *
uvs_conf_cpus(const struct uvs_conf *c, cpu_set_t *out)
{
	CPU_ZERO(out);
	if (c->cpus[0] == '\0')
		return NULL;
	if (strncmp(c->cpus, "numa:", 5) == 0)
		return node(c->cpus + 5, out);
	return list(c->cpus, out);
}
