/*
 * What tests have an instance of either kind send: a static program that is copied into it.
 *
 *   sender udp HOST PORT SECONDS   datagrams of 1000 bytes, 500 a second
 *   sender flows HOST PORT FIRST COUNT   a datagram from each of so many ports
 *   sender frames LINK             each line of standard input is a frame in hexadecimal digits
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int send_datagrams(const char *host, const char *port, const char *seconds)
{
    static const char data[1000];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    time_t end = time(NULL) + (time_t)strtoul(seconds, NULL, 10);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return 1;
    while (time(NULL) < end) {
        (void)!sendto(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return 0;
}

static int send_flows(const char *host, const char *port, const char *first, const char *count)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    struct sockaddr_in from = {.sin_family = AF_INET};
    unsigned long begin = strtoul(first, NULL, 10), end = begin + strtoul(count, NULL, 10);
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return 1;
    for (unsigned long n = begin; n < end; n++) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        from.sin_port = htons((uint16_t)n);
        if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
            sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) != 1)
            return 1;
        close(fd);
    }
    return 0;
}

static size_t parse_hex(const char *line, unsigned char *frame, size_t size)
{
    size_t n = 0;
    unsigned int byte;
    for (; n < size && sscanf(line + 2 * n, "%2x", &byte) == 1; n++)
        frame[n] = (unsigned char)byte;
    return n;
}

static int send_frames(const char *link)
{
    char line[4096];
    unsigned char frame[1514];
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(link)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return 1;
    while (fgets(line, sizeof(line), stdin)) {
        size_t n = parse_hex(line, frame, sizeof(frame));
        if (n > 0 && send(fd, frame, n, 0) != (ssize_t)n)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "udp") == 0)
        return send_datagrams(argv[2], argv[3], argv[4]);
    if (argc == 6 && strcmp(argv[1], "flows") == 0)
        return send_flows(argv[2], argv[3], argv[4], argv[5]);
    return argc == 3 && strcmp(argv[1], "frames") == 0 ? send_frames(argv[2]) : 2;
}
