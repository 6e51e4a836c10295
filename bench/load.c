/*
 * What bench/net and bench/policy put on a network: one program for both ends, linked statically so
 * that it runs in any container and in a machine.
 *
 *     load serve PORT                  answers each connection as its first byte says
 *     load send ADDRESS PORT SECONDS   prints bytes per second
 *     load ping ADDRESS PORT SECONDS   prints the median round trip of one byte, in microseconds
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER    (256 << 10)
#define PINGS_MAX 1000000

static char buffer[BUFFER];
static double samples[PINGS_MAX];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
    perror(what);
    exit(1);
}

static void answer(int fd)
{
    int one = 1;
    char mode;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (read(fd, &mode, 1) != 1)
        return;
    if (mode == 'p')
        while (read(fd, &mode, 1) == 1 && write(fd, &mode, 1) == 1)
            ;
    else
        while (read(fd, buffer, sizeof(buffer)) > 0)
            ;
}

static int serve(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGCHLD, SIG_IGN);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(s, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(s, 16) < 0)
        return fail("listen");
    for (;;) {
        int fd = accept(s, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            answer(fd);
            _exit(0);
        }
        close(fd);
    }
}

static int reach(const char *address, const char *port, char mode)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, address, &to.sin_addr);
    if (connect(s, (struct sockaddr *)&to, sizeof(to)) < 0)
        fail("connect");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (write(s, &mode, 1) != 1)
        fail("write");
    return s;
}

static void send_for(int s, double seconds)
{
    double start = now(), sent = 0;
    while (now() < start + seconds) {
        ssize_t n = write(s, buffer, sizeof(buffer));
        if (n < 0)
            fail("write");
        sent += (double)n;
    }
    printf("%.0f\n", sent / (now() - start));
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void ping_for(int s, double seconds)
{
    double end = now() + seconds;
    size_t n = 0;
    char byte = 'x';
    while (n < PINGS_MAX && now() < end) {
        double start = now();
        if (write(s, &byte, 1) != 1 || read(s, &byte, 1) != 1)
            fail("ping");
        samples[n++] = (now() - start) * 1e6;
    }
    qsort(samples, n, sizeof(*samples), compare);
    printf("%.2f\n", samples[n / 2]);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc != 5)
        return 2;
    if (strcmp(argv[1], "send") == 0)
        send_for(reach(argv[2], argv[3], 's'), strtod(argv[4], NULL));
    else
        ping_for(reach(argv[2], argv[3], 'p'), strtod(argv[4], NULL));
    return 0;
}
