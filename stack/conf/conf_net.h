/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/conf/conf_net.h - values that are lists of networks and routes, from text and to text. The
 * elements of a list are separated by commas. Inside of conf.c. */
#ifndef STACK_CONF_CONF_NET_H
#define STACK_CONF_CONF_NET_H

#include "stack/conf/conf.h"

/* Each: 0, or -1 with the reason in why. value is not empty. */
int uvs_conf_nets_parse(struct uvs_conf_nets *out, int family, const char *value, char *why,
			size_t len);
int uvs_conf_ip_parse(struct uvs_conf_net *out, int family, const char *value, char *why,
		      size_t len);
int uvs_conf_routes_parse(struct uvs_conf_routes *out, const char *value, char *why, size_t len);

int uvs_conf_vlans_parse(struct uvs_conf_vlans *out, const char *value, char *why, size_t len);

void uvs_conf_vlans_format(const struct uvs_conf_vlans *vlans, char *buf, size_t len);
void uvs_conf_nets_format(const struct uvs_conf_nets *nets, int family, char *buf, size_t len);
void uvs_conf_ip_format(const struct uvs_conf_net *net, char *buf, size_t len);
void uvs_conf_routes_format(const struct uvs_conf_routes *routes, char *buf, size_t len);

#endif /* STACK_CONF_CONF_NET_H */
