/*
 * devices.c: finds devices as Hermit does. The PCI image asks the PCI bus and
 * nothing else, the other image the eight virtio-mmio slots of a microvm and
 * nothing else. Drivers are files of their own, and start when a command needs them.
 */
#include "devices.h"
#include "kernel.h"
#include "variant.h"

#ifdef PCI

uint32_t pci_read(int device, int function, int offset)
{
	outl(0xcf8, 1U << 31 | device << 11 | function << 8 | offset);
	return inl(0xcfc);
}

void pci_write(int device, int function, int offset, uint32_t v)
{
	outl(0xcf8, 1U << 31 | device << 11 | function << 8 | offset);
	outl(0xcfc, v);
}

static void pci_each(void (*show)(int device, int function))
{
	for (int d = 0; d < 32; d++)
		for (int f = 0; f < 8; f++) {
			if ((pci_read(d, f, 0) & 0xffff) != 0xffff)
				show(d, f);
			if (f == 0 && !(pci_read(d, 0, 12) & 1 << 23))
				break; /* one function only */
		}
}

static void log_function(int d, int f)
{
	uint32_t id = pci_read(d, f, 0);

	if (f == 0)
		klog(INFO, "pci", "00:%02x [%04x:%04x]", d, id & 0xffff, id >> 16);
}

static void print_function(int d, int f)
{
	uint32_t id = pci_read(d, f, 0);
	bool bridge = pci_read(d, f, 12) >> 16 & 0x7f;
	int bars = 0;

	for (int i = 0; i < (bridge ? 2 : 6); i++)
		if (pci_read(d, f, 16 + 4 * i) & ~15U)
			bars++;
	print("pci 00:%02x.%d %04x:%04x bars=%d irq=%u\n", d, f, id & 0xffff, id >> 16, bars,
	      pci_read(d, f, 60) & 0xff);
}

void devices_init(void)
{
	klog(INFO, "pci", "");
	klog(INFO, "pci", "======================== PCI BUS INFORMATION =========================");
	pci_each(log_function);
	klog(INFO, "pci", "======================================================================");
	klog(INFO, "pci", "");
}

void devices_print(void)
{
	pci_each(print_function);
}

#else

enum { SLOT_SIZE = 512, FIRST_IRQ = 5 };

volatile uint32_t *mmio_slot(int i)
{
	return (volatile uint32_t *)(0xfeb00000UL + i * SLOT_SIZE);
}

void devices_init(void)
{
	for (int i = 0; i < MMIO_SLOTS; i++)
		if (mmio_slot(i)[0] == MMIO_MAGIC && mmio_slot(i)[1] == 2 && mmio_slot(i)[2]) {
			klog(INFO, "mmio", "Found virtio device %u in slot %d", mmio_slot(i)[2], i);
#ifdef NEW
			if (mmio_slot(i)[2] == 4)
				klog(INFO, "mmio", "Virtio rng driver initialized.");
#endif
		}
}

/* A legacy device (version 1) is shown but would not be used. */
void devices_print(void)
{
	for (int i = 0; i < MMIO_SLOTS; i++)
		if (mmio_slot(i)[0] == MMIO_MAGIC && mmio_slot(i)[2])
			print("mmio %d version=%u id=%u irq=%d\n", i, mmio_slot(i)[1], mmio_slot(i)[2], FIRST_IRQ + i);
}

#endif
