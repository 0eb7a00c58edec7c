/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel says of a device, without touching it. */
#include "stack/core/eal.h"
#include "stack/nic/nic.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCI "/sys/bus/pci/devices"

/* ---------------------------------------------------------------------------------------- sysfs */

/* The first line of a file of the device; false: there is none. */
static bool
read_line(const char *address, const char *file, char *out, size_t len)
{
	char path[PATH_MAX];
	FILE *in;
	bool ok;

	snprintf(path, sizeof(path), PCI "/%s/%s", address, file);
	in = fopen(path, "re");
	if (in == NULL)
		return false;
	ok = fgets(out, (int)len, in) != NULL;
	fclose(in);
	if (ok)
		out[strcspn(out, "\n")] = '\0';
	return ok;
}

/* The last part of what a link of the device leads to. */
static bool
read_target(const char *address, const char *link, char *out, size_t len)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), PCI "/%s/%s", address, link);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	snprintf(out, len, "%.*s", (int)len - 1,
		 strrchr(target, '/') != NULL ? strrchr(target, '/') + 1 : target);
	return true;
}

/* Call fn for each name in a folder. */
static void
each_name(const char *path, void (*fn)(struct facts *f, const char *name, const void *arg),
	  struct facts *f, const void *arg)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			fn(f, e->d_name, arg);
	if (d != NULL)
		closedir(d);
}

static void
add_name(struct facts *f, const char *name, const void *except)
{
	if (except == NULL || strcmp(name, except) != 0)
		fact_word(f, name);
}

/* --------------------------------------------------------------------------------- who has it open
 */

struct search {
	const char *file; /* what a descriptor is a link to; or */
	const char *iff;  /* the interface of a tun descriptor */
};

static bool
is_tun_of(const char *pid, const char *fd, const char *name)
{
	char path[PATH_MAX], line[128], want[64];
	bool found = false;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	snprintf(want, sizeof(want), "iff:\t%s\n", name);
	in = fopen(path, "re");
	while (in != NULL && !found && fgets(line, sizeof(line), in) != NULL)
		found = strcmp(line, want) == 0;
	if (in != NULL)
		fclose(in);
	return found;
}

static bool
has_open(const char *pid, const struct search *s)
{
	char path[PATH_MAX], target[PATH_MAX];
	bool found = false;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	while (d != NULL && !found && (e = readdir(d)) != NULL) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		found = s->file != NULL ? strcmp(target, s->file) == 0
					: strcmp(target, "/dev/net/tun") == 0 &&
						  is_tun_of(pid, e->d_name, s->iff);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static void
add_user(struct facts *f, const char *pid, const void *arg)
{
	if (isdigit((unsigned char)pid[0]) && has_open(pid, arg))
		fact_word(f, pid);
}

/* The processes that use it: as far as this user may look. */
static void
used_by(struct facts *f, const struct search *s)
{
	char pids[FACT_VALUE];

	fact_list(f, "used_by");
	each_name("/proc", add_user, f, s);
	snprintf(pids, sizeof(pids), "%s", f->fact[f->n - 1].value);
	if (pids[0] != '\0')
		fact_problem(f, "it is in use, by process %.200s: it is left alone", pids);
}

/* ------------------------------------------------------------------------------------------ PCI */

static void
describe_id(struct facts *f, const char *address)
{
	char vendor[16] = "", device[16] = "", numa[16] = "", text[40];

	read_line(address, "vendor", vendor, sizeof(vendor));
	read_line(address, "device", device, sizeof(device));
	snprintf(text, sizeof(text), "%.10s:%.10s", vendor + 2, device + 2);
	fact_text(f, "pci_id", text);
	if (!read_line(address, "numa_node", numa, sizeof(numa)) || numa[0] == '-')
		return;
	fact_number(f, "numa_node", strtoul(numa, NULL, 10));
	fact_note(f, "memory comes from there; cpus = numa:%s keeps the threads near", numa);
}

/* PF: how many VFs it has; VF: whose it is. */
static void
describe_sriov(struct facts *f, const char *address)
{
	char total[16], now[16] = "", pf[64];

	if (read_target(address, "physfn", pf, sizeof(pf))) {
		fact_text(f, "vf_of", pf);
		fact_note(f, "its link and its filters are those that %s gives it", pf);
	}
	if (!read_line(address, "sriov_totalvfs", total, sizeof(total)) ||
	    !read_line(address, "sriov_numvfs", now, sizeof(now)))
		return;
	fact_number(f, "vfs", strtoul(now, NULL, 10));
	fact_note(f, "of %s: echo N > " PCI "/%s/sriov_numvfs makes them", total, address);
}

static void
describe_interfaces(struct facts *f, const char *address, const char *driver)
{
	char path[PATH_MAX];

	fact_list(f, "interfaces");
	snprintf(path, sizeof(path), PCI "/%s/net", address);
	each_name(path, add_name, f, NULL);
	if (f->fact[f->n - 1].value[0] != '\0')
		fact_problem(f,
			     "the kernel's %s has it, as %.60s: take that down, then driverctl "
			     "set-override %s vfio-pci (docs/real-nic.md)",
			     driver, f->fact[f->n - 1].value, address);
	else
		fact_problem(f, "the kernel's %s has it: driverctl set-override %s vfio-pci",
			     driver, address);
}

static void
describe_group(struct facts *f, const char *address)
{
	char group[32], path[PATH_MAX];

	if (!read_target(address, "iommu_group", group, sizeof(group))) {
		fact_problem(f, "it is in no IOMMU group: switch the IOMMU on in the firmware and "
				"with intel_iommu=on or amd_iommu=on on the kernel's command line");
		return;
	}
	fact_number(f, "iommu_group", strtoul(group, NULL, 10));
	fact_list(f, "group_members");
	snprintf(path, sizeof(path), PCI "/%s/iommu_group/devices", address);
	each_name(path, add_name, f, address);
	if (f->fact[f->n - 1].value[0] != '\0')
		fact_note(f, "vfio gives the group as a whole: none of them may be the kernel's");
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	if (access(path, F_OK) == 0 && access(path, R_OK | W_OK) != 0)
		fact_problem(f, "%s cannot be opened (%s): run as root, or chown it", path,
			     strerror(errno));
	used_by(f, &(struct search){.file = path});
}

void
nic_pci(struct facts *f, const char *address)
{
	char driver[64], path[PATH_MAX];

	snprintf(path, sizeof(path), PCI "/%s", address);
	if (access(path, F_OK) != 0) {
		fact_problem(f, "there is no PCI device %s: lspci -D lists them", address);
		return;
	}
	describe_id(f, address);
	describe_sriov(f, address);
	if (!read_target(address, "driver", driver, sizeof(driver))) {
		fact_problem(f, "no driver has it: driverctl set-override %s vfio-pci", address);
		return;
	}
	fact_text(f, "kernel_driver", driver);
	if (strcmp(driver, "vfio-pci") != 0)
		describe_interfaces(f, address, driver);
	else
		describe_group(f, address);
}

/* ---------------------------------------------------------------------------------- tap, memory */

void
nic_tap(struct facts *f, const char *name)
{
	used_by(f, &(struct search){.iff = name});
}

void
nic_memory(struct facts *f, const struct uvs_conf *c)
{
	long pages = uvs_eal_huge_pages_free();

	fact_number(f, "huge_pages_free", (uint64_t)pages);
	if (c->hugepages == UVS_NO)
		fact_note(f, "uses none (hugepages = no)");
	else if (pages == 0)
		fact_note(f, "ordinary memory: slower, and no mode = shared");
	else
		fact_note(f, "uses them, if enough are free; mode = shared needs them");
}
