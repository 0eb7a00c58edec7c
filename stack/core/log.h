/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/log.h - the stack's log: one line a message, written with one write(2), to standard
 * error or the configured file. Any thread; not from signal handlers.
 */
#ifndef STACK_CORE_LOG_H
#define STACK_CORE_LOG_H

#include "stack/conf/conf.h"

/* Until this is called: warnings and errors, to standard error. Opens log_file if given. */
void uvs_log_setup(const struct uvs_conf *c);

void uvs_log(enum uvs_conf_log level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool uvs_log_wants(enum uvs_conf_log level);

/* Descriptor the log goes to; EAL's log is sent there too. */
int uvs_log_fd(void);

/* path with %p replaced by the process id. */
void uvs_log_expand(const char *path, char *out, size_t len);

#endif /* STACK_CORE_LOG_H */
