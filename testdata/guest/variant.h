/*
 * variant.h: the kinds of image the app is built as (see README.md).
 *   PCI            features pci and acpi: drivers on PCI only, needs an RSDP
 *   OLD            kernel 0.6: no version note, no env=, ACPI exit first; implies PCI
 *   PVH            bootable without a loader, and only so: a Xen note, neither GNU's nor HERMIT's
 *   NEW            a kernel of August 2026: DHCP, a driver for virtio-rng, large receive buffers
 *   ENTRY_VERSION  what the HERMIT note says, 4 unless a loader shall refuse it
 */
#ifndef VARIANT_H
#define VARIANT_H

#ifndef ENTRY_VERSION
#define ENTRY_VERSION 4
#endif

#if defined(OLD) && !defined(PCI)
#define PCI
#endif

#ifdef OLD
#define KERNEL_VERSION "0.6.0"
#define FEATURES "acpi,pci"
#elif defined(PCI)
#define KERNEL_VERSION "0.13.2"
#define FEATURES "acpi,fsgsbase,loader,pci"
#elif defined(PVH)
#define KERNEL_VERSION "0.14.0"
#define FEATURES "pvh"
#else
#define KERNEL_VERSION "0.13.2"
#define FEATURES "loader"
#endif

#endif
