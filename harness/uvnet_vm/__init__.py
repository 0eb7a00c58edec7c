# SPDX-License-Identifier: BSD-3-Clause
"""A virtual machine with real PCI network cards, for ``ci/pci``: emulated ones behind an emulated
IOMMU, bound to vfio-pci, as on a machine that has them.

`packages` gets QEMU and a kernel, `image` makes what boots, `machine` runs it, `agent` is what runs
inside, `run` starts a command there. Only `agent` runs in the guest."""
