/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Numbers with units, as tc(8) writes them.
 */
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "uvbridge/cli.h"

struct unit {
	const char *name;
	double factor;
};

/* A number and one of the units; *v is rounded. */
static bool
parse(const char *text, const struct unit *units, double max, uint64_t *v)
{
	char *end;
	double x = strtod(text, &end);

	if (end == text || !isfinite(x) || x < 0 || text[0] < '0' || text[0] > '9')
		return false;
	for (; units->name != NULL; units++) {
		if (strcasecmp(end, units->name) != 0)
			continue;
		x = round(x * units->factor);
		*v = (uint64_t)x;
		return x <= max;
	}
	return false;
}

bool
cli_time(const char *text, uint64_t *ns)
{
	static const struct unit units[] = {
		{"ns", 1},  {"us", 1e3},  {"usec", 1e3}, {"ms", 1e6},   {"msec", 1e6},
		{"s", 1e9}, {"sec", 1e9}, {"min", 60e9}, {"h", 3600e9}, {NULL, 0}};

	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return true;
	}
	return parse(text, units, 1e18, ns);
}

bool
cli_rate(const char *text, uint64_t *bps)
{
	static const struct unit units[] = {{"bit", 1},    {"kbit", 1e3},   {"mbit", 1e6},
					    {"gbit", 1e9}, {"kibit", 1024}, {"mibit", 1048576},
					    {"bps", 8},    {"kbps", 8e3},   {"mbps", 8e6},
					    {"gbps", 8e9}, {NULL, 0}};

	return parse(text, units, 1e15, bps);
}

bool
cli_bytes(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = {
		{"", 1},        {"b", 1},        {"k", 1024},      {"kb", 1024},   {"kib", 1024},
		{"m", 1048576}, {"mb", 1048576}, {"mib", 1048576}, {"g", 1 << 30}, {NULL, 0}};

	return parse(text, units, UINT32_MAX, bytes);
}

bool
cli_percent(const char *text, uint32_t *p)
{
	static const struct unit units[] = {{"%", 4294967296.0 / 100}, {NULL, 0}};
	uint64_t v;

	if (!parse(text, units, 4294967296.0, &v))
		return false;
	*p = v > UVB_CERTAIN ? UVB_CERTAIN : (uint32_t)v;
	return true;
}
