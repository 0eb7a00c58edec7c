/* SPDX-License-Identifier: BSD-3-Clause */
/* lwIP's unit tests want a config.h of libcheck's own build; nothing in it matters to them. */
