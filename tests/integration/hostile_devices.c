/*
 * The kernel has to let go of a device, then its registers are ours by /dev/mem (iomem=relaxed on
 * the kernel's command line). A queue is one locked page of this process, and what its requests are
 * about is another one. All requests are made once; whatever the device has done is given to it
 * again, so that it always has as many as it takes, and is told of it without a pause. Nobody waits
 * for an interrupt.
 *
 * The requests are good ones: a device that is given a bad one is broken, and has peace from then.
 */
#include "hostile_devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

#define PAGE         4096u
#define BUS_ADDRESS  0xfeb00000
#define BUS_SLOTS    24u
#define SLOT_BYTES   0x200u
#define MAGIC        0x74726976u
#define RING         64u /* descriptors of a queue, with their rings in one page */
#define AVAIL_AT     1024u
#define USED_AT      2048u
#define DISK_SECTORS 32768u /* of 512 bytes: what is written to */
#define FRAME_BYTES  600u
#define TURN_MS      250
#define PATIENCE     5000u

struct queue {
    volatile uint32_t *device;
    uint32_t number;
    struct vring_desc *descriptors;
    struct vring_avail *avail;
    volatile struct vring_used *used;
    char *data; /* a page */
    uint64_t data_at;
    uint32_t n_descriptors;
    uint16_t seen;
    unsigned long done;
};

static volatile uint32_t *bus;

static volatile uint32_t *reg(volatile uint32_t *device, unsigned int offset)
{
    return device + offset / sizeof(*device);
}

/* --- pages that a device can be told of --- */

static uint64_t physical(const void *page)
{
    uint64_t entry = 0;
    _cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE * sizeof(entry))) < 0)
        return 0;
    return (entry & ((1ull << 55) - 1)) * PAGE;
}

static char *new_page(void)
{
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

/* --- queues --- */

static void set_address(volatile uint32_t *device, unsigned int offset, uint64_t address)
{
    *reg(device, offset) = (uint32_t)address;
    *reg(device, offset + 4) = (uint32_t)(address >> 32);
}

static bool queue_open(struct queue *q, volatile uint32_t *device, uint32_t number)
{
    char *page = new_page(), *data = new_page();
    uint64_t at = page ? physical(page) : 0, data_at = data ? physical(data) : 0;
    if (at == 0 || data_at == 0)
        return false;
    *q = (struct queue){.device = device, .number = number, .data = data, .data_at = data_at};
    q->descriptors = (void *)page;
    q->avail = (void *)(page + AVAIL_AT);
    q->used = (void *)(page + USED_AT);
    q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    *reg(device, VIRTIO_MMIO_QUEUE_SEL) = number;
    *reg(device, VIRTIO_MMIO_QUEUE_NUM) = RING;
    set_address(device, VIRTIO_MMIO_QUEUE_DESC_LOW, at);
    set_address(device, VIRTIO_MMIO_QUEUE_AVAIL_LOW, at + AVAIL_AT);
    set_address(device, VIRTIO_MMIO_QUEUE_USED_LOW, at + USED_AT);
    *reg(device, VIRTIO_MMIO_QUEUE_READY) = 1;
    return true;
}

static void offer(struct queue *q, uint32_t head)
{
    q->avail->ring[q->avail->idx % RING] = (uint16_t)head;
    __sync_synchronize();
    q->avail->idx++;
}

/* One more part of a request, of the queue's data. The last one has no VRING_DESC_F_NEXT. */
static void add_part(struct queue *q, size_t offset, size_t len, unsigned int flags)
{
    q->descriptors[q->n_descriptors] =
        (struct vring_desc){.addr = q->data_at + offset,
                            .len = (uint32_t)len,
                            .flags = (uint16_t)flags,
                            .next = (uint16_t)(q->n_descriptors + 1)};
    q->n_descriptors++;
}

/* It waits a little for the device, which needs the lock that telling it takes, too. */
static void offer_again(struct queue *q)
{
    for (unsigned int i = 0; q->seen == q->used->idx && i < PATIENCE; i++)
        __builtin_ia32_pause();
    uint16_t by_now = q->used->idx; /* it goes on meanwhile */
    for (; q->seen != by_now; q->seen++) {
        offer(q, q->used->ring[q->seen % RING].id);
        q->done++;
    }
    *reg(q->device, VIRTIO_MMIO_QUEUE_NOTIFY) = q->number;
}

/* --- devices --- */

/* Of the kernel's drivers only that of the agent's port stays. */
static void take_from_kernel(void)
{
    static const char devices[] = "/sys/bus/virtio/devices";
    DIR *dir = opendir(devices);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[300], *id = NULL;
        snprintf(path, sizeof(path), "%s/%s/device", devices, e->d_name);
        if (file_read_kernel(AT_FDCWD, path, 64, &id) == 0 &&
            strtoul(id, NULL, 0) != VIRTIO_ID_CONSOLE) {
            snprintf(path, sizeof(path), "%s/%s/driver/unbind", devices, e->d_name);
            (void)!file_write_kernel(AT_FDCWD, path, e->d_name);
        }
        free(id);
    }
    if (dir)
        closedir(dir);
}

static volatile uint32_t *find(uint32_t id, bool (*fits)(volatile uint32_t *device))
{
    for (unsigned int i = 0; i < BUS_SLOTS; i++) {
        volatile uint32_t *device = reg(bus, i * SLOT_BYTES);
        if (*device == MAGIC && *reg(device, VIRTIO_MMIO_DEVICE_ID) == id &&
            (!fits || fits(device)))
            return device;
    }
    return NULL;
}

static bool is_writable(volatile uint32_t *device)
{
    *reg(device, VIRTIO_MMIO_DEVICE_FEATURES_SEL) = 0;
    return !(*reg(device, VIRTIO_MMIO_DEVICE_FEATURES) & 1u << VIRTIO_BLK_F_RO);
}

static void begin(volatile uint32_t *device, uint32_t features)
{
    *reg(device, VIRTIO_MMIO_STATUS) = 0;
    *reg(device, VIRTIO_MMIO_STATUS) = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    *reg(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL) = 0;
    *reg(device, VIRTIO_MMIO_DRIVER_FEATURES) = features;
    *reg(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL) = 1;
    *reg(device, VIRTIO_MMIO_DRIVER_FEATURES) = 1u << (VIRTIO_F_VERSION_1 - 32);
    *reg(device, VIRTIO_MMIO_STATUS) =
        VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
}

static void go(volatile uint32_t *device)
{
    *reg(device, VIRTIO_MMIO_STATUS) = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                       VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
}

static uint16_t checksum(const unsigned char *data, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i += 2)
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* To everybody: a question for an address, which passes whatever checks who sends, and is for a
 * program of the host's. */
static void make_question(unsigned char *frame, const unsigned char *mac)
{
    static const unsigned char ip[20] = {0x45, 0, 1, 0x10, 0, 0, 0,    0,    64,   17,
                                         0,    0, 0, 0,    0, 0, 0xff, 0xff, 0xff, 0xff};
    static const unsigned char udp[8] = {0, 68, 0, 67, 0, 0xfc};
    static const unsigned char end[8] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 0xff};
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, "\x08", 2);
    memcpy(frame + 14, ip, sizeof(ip));
    uint16_t sum = checksum(ip, sizeof(ip));
    frame[24] = (unsigned char)(sum >> 8);
    frame[25] = (unsigned char)sum;
    memcpy(frame + 34, udp, sizeof(udp));
    memcpy(frame + 42, "\1\1\6", 3);
    memcpy(frame + 70, mac, 6);
    memcpy(frame + 278, end, sizeof(end));
}

/* To everybody, and of nobody that anyone knows. */
static void make_noise(unsigned char *frame, const unsigned char *mac)
{
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, "\x88\xb5", 2);
}

static void open_net(struct queue *q)
{
    volatile uint32_t *device = find(VIRTIO_ID_NET, NULL);
    unsigned char mac[6];
    if (!device)
        return;
    for (unsigned int i = 0; i < sizeof(mac); i++)
        mac[i] = ((volatile unsigned char *)reg(device, VIRTIO_MMIO_CONFIG))[i];
    begin(device, 1u << VIRTIO_NET_F_MAC);
    if (!queue_open(q, device, 1))
        return;
    size_t header = sizeof(struct virtio_net_hdr_mrg_rxbuf), each = header + FRAME_BYTES;
    make_question((unsigned char *)q->data + header, mac);
    make_noise((unsigned char *)q->data + each + header, mac);
    while (q->n_descriptors < RING) {
        bool noise = q->n_descriptors % 2;
        add_part(q, noise ? each : 0, noise ? each : header + 286, 0);
        offer(q, q->n_descriptors - 1);
    }
    go(device);
}

/* Writes, reads and flushes in turn, all over some megabytes. */
static void open_disk(struct queue *q)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_FLUSH};
    volatile uint32_t *device = find(VIRTIO_ID_BLOCK, is_writable);
    if (!device)
        return;
    begin(device, 1u << VIRTIO_BLK_F_FLUSH);
    if (!queue_open(q, device, 0))
        return;
    struct virtio_blk_outhdr *heads = (void *)q->data;
    for (uint32_t i = 0; q->n_descriptors + 3 <= RING; i++) {
        uint32_t type = types[i % ARRAY_SIZE(types)], first = q->n_descriptors;
        heads[i] =
            (struct virtio_blk_outhdr){.type = type, .sector = (uint64_t)i * 7919 % DISK_SECTORS};
        add_part(q, i * sizeof(*heads), sizeof(*heads), VRING_DESC_F_NEXT);
        if (type != VIRTIO_BLK_T_FLUSH)
            add_part(q, 2048, 1024,
                     VRING_DESC_F_NEXT | (type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0));
        add_part(q, 1024 + i, 1, VRING_DESC_F_WRITE);
        offer(q, first);
    }
    go(device);
}

/* Pages are given away, most of them none that there are. They are asked back by the second queue;
 * the fourth one says of a page that it is free, and so the host drops it. */
static void open_balloon(struct queue *inflate, struct queue *reports)
{
    volatile uint32_t *device = find(VIRTIO_ID_BALLOON, NULL);
    if (!device)
        return;
    begin(device, 1u << VIRTIO_BALLOON_F_REPORTING);
    if (!queue_open(inflate, device, 0) || !queue_open(reports, device, 3))
        return;
    uint32_t *pages = (void *)inflate->data;
    for (uint32_t i = 0; i < PAGE / sizeof(*pages); i++)
        pages[i] = i % 2 ? (uint32_t)(reports->data_at / PAGE) : UINT32_MAX - i;
    for (uint32_t i = 0; i < RING; i++) {
        add_part(inflate, 0, PAGE, 0);
        offer(inflate, i);
        add_part(reports, 0, PAGE, VRING_DESC_F_WRITE);
        offer(reports, i);
    }
    go(device);
}

static void flood_for_a_while(struct queue *q)
{
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        for (int i = 0; q->device && i < 64; i++)
            offer_again(q);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (q->device && now.tv_sec * 1000 + now.tv_nsec / 1000000 <
                              from.tv_sec * 1000 + from.tv_nsec / 1000000 + TURN_MS);
}

void devices_flood(void)
{
    struct queue queues[4] = {0};
    _cleanup_close_ int memory = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
    take_from_kernel();
    bus =
        mmap(NULL, BUS_SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, BUS_ADDRESS);
    if (bus != MAP_FAILED) {
        open_net(&queues[0]);
        open_disk(&queues[1]);
        open_balloon(&queues[2], &queues[3]);
    }
    for (;;) {
        for (size_t i = 0; i < ARRAY_SIZE(queues); i++)
            flood_for_a_while(&queues[i]);
        FILE *console = fopen("/dev/console", "we");
        if (console)
            fprintf(console, "floods: net=%lu disk=%lu balloon=%lu reports=%lu\n", queues[0].done,
                    queues[1].done, queues[2].done, queues[3].done);
        if (console)
            fclose(console);
    }
}
