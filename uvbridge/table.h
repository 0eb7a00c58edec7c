/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/table.h - columns that align themselves.
 */
#ifndef UVBRIDGE_TABLE_H
#define UVBRIDGE_TABLE_H

#include <stdio.h>

#define TABLE_COLUMNS 16

struct table {
	int nb_columns;
	int nb_rows; /* without the heading */
	int room;
	const char *align; /* a letter for each column: l or r */
	char **cell;       /* [(1 + rows) x columns] */
	int next;          /* cell to be filled */
};

/* Headings separated by '|', an l or r each. */
void table_begin(struct table *t, const char *headings, const char *align);
void table_add(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Print if there are rows, and forget. */
void table_end(struct table *t, FILE *to);

#endif /* UVBRIDGE_TABLE_H */
