/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/out.h - tables for people, or the same as JSON.
 */
#ifndef STACK_SEEN_OUT_H
#define STACK_SEEN_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* An answer in the making: one or more tables of rows of fields. */
struct out {
	FILE *f;
	bool json;
	bool first_table, first_row, first_field;
	/* Text: the line of titles that grows beside the first row, and the row. */
	char titles[512], line[1024];
	size_t titles_n, line_n;
};

void out_begin(struct out *o, FILE *f, bool json);
void out_table(struct out *o, const char *name);
void out_row(struct out *o);
/* width as printf's: negative is left-aligned. */
void out_num(struct out *o, const char *title, int width, uint64_t value);
/* With so many decimals. */
void out_real(struct out *o, const char *title, int width, int decimals, double value);
void out_str(struct out *o, const char *title, int width, const char *value);
void out_row_end(struct out *o);
/* none: what to say in text if there was no row. */
void out_table_end(struct out *o, const char *none);
void out_end(struct out *o);

#endif /* STACK_SEEN_OUT_H */
