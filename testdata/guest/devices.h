/* devices.h: where devices are; used by devices.c and the two virtio transports. */
#ifndef DEVICES_H
#define DEVICES_H

#include "lib.h"

/* PCI images: the configuration space of bus 0. */
uint32_t pci_read(int device, int function, int offset);
void pci_write(int device, int function, int offset, uint32_t v);

/* The others: the slots of a microvm. */
enum { MMIO_SLOTS = 8, MMIO_MAGIC = 0x74726976 };
volatile uint32_t *mmio_slot(int i);

#endif
