/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/nic/nic.h - `uvstack nic check`: what a port can and cannot do, and what the stack will do
 * about it.
 *
 * First what the kernel says of the device, from sysfs and /proc, which disturbs nobody. Only a
 * device that nobody uses, neither the kernel nor a process, is then opened, as the stack would: it
 * is configured, started and stopped again.
 */
#ifndef STACK_NIC_NIC_H
#define STACK_NIC_NIC_H

#include "stack/conf/conf.h"
#include "stack/nic/facts.h"

/* A PCI function: bound to what, in which IOMMU group, a PF or a VF, used by whom. */
void nic_pci(struct facts *f, const char *address);

/* A tap interface: used by whom. */
void nic_tap(struct facts *f, const char *name);

/* Huge pages, which concern every device. */
void nic_memory(struct facts *f, const struct uvs_conf *c);

/* Open it as the stack would, ask, close. What fails is a problem. */
void nic_ethdev(struct facts *f, const struct uvs_conf *c);

#endif /* STACK_NIC_NIC_H */
