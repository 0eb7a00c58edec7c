/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A fabric within one process, see lab.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/lab.h"

/* The daemon's event loop, which there is none of. */
int
watch_add(struct daemon *d, struct watch *w)
{
	(void)d;
	(void)w;
	return 0;
}

void
watch_del(struct daemon *d, struct watch *w)
{
	(void)d;
	(void)w;
}

void
log_line(struct daemon *d, const char *fmt, ...)
{
	(void)d;
	(void)fmt;
}

static void __attribute__((noreturn)) fail(const char *what, int rc, const char *err)
{
	fprintf(stderr, "lab: %s: %s: %s\n", what, strerror(-rc), err);
	abort();
}

void
lab_up(struct lab *lab, const struct uvb_hdr *shape)
{
	struct uvb_hdr hdr = *shape;
	char err[UVB_ERR_LEN] = "";
	int rc;

	memset(lab, 0, sizeof(*lab));
	rc = uvb_scratch_make(lab->dir);
	if (rc != 0)
		fail("directory", rc, lab->dir);
	snprintf(lab->daemon.path, sizeof(lab->daemon.path), "%s", lab->dir);
	snprintf(hdr.name, sizeof(hdr.name), "lab");
	lab->daemon.dirfd = open(lab->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = uvb_map_create(&lab->daemon.map, lab->daemon.dirfd, &hdr, err);
	if (rc != 0)
		fail("segment", rc, err);
	uvb_fdb_init(&lab->daemon.fdb, &lab->daemon.map);
	ports_adopt(&lab->daemon);
}

void
lab_down(struct lab *lab)
{
	uvb_scratch_remove(lab->dir);
	uvb_map_close(&lab->daemon.map);
	free(lab->saved);
	close(lab->daemon.dirfd);
}

/* Copy the pages of the segment that exist. */
static void
copy_pages(const struct uvb_map *m, uint8_t *to, const uint8_t *from)
{
	uint64_t *pages = uvb_map_resident(m, 0, m->size);

	if (pages == NULL)
		fail("pages", -ENOMEM, "");
	for (uint64_t at = 0; at < m->size; at += UVB_PAGE)
		if (pages[at / UVB_PAGE / 64] >> (at / UVB_PAGE & 63) & 1)
			memcpy(to + at, from + at,
			       m->size - at < UVB_PAGE ? m->size - at : UVB_PAGE);
	free(pages);
}

void
lab_save(struct lab *lab)
{
	free(lab->saved);
	lab->saved = calloc(1, lab->daemon.map.size);
	if (lab->saved == NULL)
		fail("copy", -ENOMEM, "");
	copy_pages(&lab->daemon.map, lab->saved, lab->daemon.map.base);
}

/* Pages that have come into being since then are zero in the copy. */
void
lab_restore(struct lab *lab)
{
	copy_pages(&lab->daemon.map, lab->daemon.map.base, lab->saved);
}

/* The daemon has answered: a port in this process. */
static struct uvb_dev *
lab_take(struct lab *lab, const char *name, const struct client *client,
	 const struct uvb_ctl_answer *ans)
{
	struct uvb_dev *dev = uvb_dev_new();
	char err[UVB_ERR_LEN] = "";
	int rc;

	if (dev == NULL)
		fail(name, -ENOMEM, "");
	client->member->client = NULL; /* as after an adoption */
	dev->dirfd = fcntl(lab->daemon.dirfd, F_DUPFD_CLOEXEC, 0);
	rc = uvb_map_open(&dev->map, dev->dirfd, true, err);
	if (rc == 0)
		rc = uvb_dev_take(dev, ans, err);
	if (rc != 0)
		fail(name, rc, err);
	memcpy(&dev->hdr, dev->map.base, sizeof(dev->hdr));
	return dev;
}

struct uvb_dev *
lab_attach(struct lab *lab, const char *name, uint16_t nb_rxq, uint16_t nb_txq,
	   enum uvb_port_kind kind)
{
	struct uvb_ctl_attach req = {.nb_rxq = nb_rxq,
				     .nb_txq = nb_txq,
				     .kind = (uint16_t)kind,
				     .flags = UVB_CTL_ATTACH_JOINABLE};
	struct client client = {.pid = getpid(), .uid = geteuid()};
	struct uvb_ctl_answer ans = {.epoch = lab->daemon.map.epoch};
	struct uvb_dev *dev;
	int rc;

	snprintf(req.name, sizeof(req.name), "%s", name);
	rc = port_attach(&lab->daemon, &client, &req, &ans);
	if (rc != 0)
		fail(name, rc, ans.text);
	dev = lab_take(lab, name, &client, &ans);
	dev->kind = (uint16_t)kind;
	return dev;
}

struct uvb_dev *
lab_join(struct lab *lab, const struct uvb_dev *owner)
{
	struct uvb_ctl_join req = {.port = uvb_id(owner), .gen = uvb_gen(owner)};
	struct client client = {.pid = getpid(), .uid = geteuid()};
	struct uvb_ctl_answer ans = {.epoch = lab->daemon.map.epoch};
	int rc = port_join(&lab->daemon, &client, &req, &ans);

	if (rc != 0)
		fail("join", rc, ans.text);
	return lab_take(lab, "join", &client, &ans);
}

static void
forget_members(struct port *p)
{
	for (uint32_t i = 0; i < UVB_MEMBERS_MAX; i++)
		if (p->member[i].present && p->member[i].pidfd.fd >= 0)
			close(p->member[i].pidfd.fd);
	memset(p->member, 0, sizeof(p->member));
}

void
lab_adopt(struct lab *lab)
{
	for (uint32_t i = 0; i < lab->daemon.map.nb_ports; i++)
		forget_members(&lab->daemon.port[i]);
	ports_adopt(&lab->daemon);
	policies_adopt(&lab->daemon);
}
