/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack counters: the table itself, for people and for programs that print from it. */
#include "stack/seen/show.h"

int
uvs_show_counters(const struct uvs_show *show)
{
	static const char *const types[] = {"counter", "gauge", "drops"};
	char name[UVS_COUNTER_NAME];
	struct out o;

	out_begin(&o, stdout, show->json);
	out_table(&o, "counters");
	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		const struct uvs_counter *c = &uvs_counters[i];

		snprintf(name, sizeof(name), "%s.%s", c->group, c->name);
		out_row(&o);
		out_str(&o, "counter", -32, name);
		out_str(&o, "type", -7, types[c->type]);
		out_str(&o, "unit", -11, uvs_unit_name(c->unit));
		if (show->json)
			out_num(&o, "why", 0, c->why);
		out_str(&o, "place", -24, c->place != NULL ? c->place : "");
		out_str(&o, "help", 0, c->help);
		out_row_end(&o);
	}
	out_table_end(&o, "");
	out_end(&o);
	return 0;
}
