/* SPDX-License-Identifier: BSD-3-Clause */
/* The options lwIP's own unit tests are written for, plus what the transformed sources need. */
#ifndef UVL_UNIT_LWIPOPTS_H
#define UVL_UNIT_LWIPOPTS_H

/* Its name is also this file's, so the build says where it is. */
#include UVL_UNIT_LWIPOPTS

/* The tests know which sequence numbers lwIP's own generator would choose. */
#define LWIP_HOOK_TCP_ISN unit_tcp_isn

/* Our listeners count; the tests have none that is full. */
#define TCP_LISTEN_BACKLOG 1

#endif /* UVL_UNIT_LWIPOPTS_H */
