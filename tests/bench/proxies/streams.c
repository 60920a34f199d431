/* Clients of many streams at once, from one thread: what each gets, when, and how it ends.
 *
 *   streams ADDRESS PORT PATH CONNECTIONS SECONDS RAMP BODY [FIELD ...]
 *
 * Each connection posts BODY (a file), reads the answer to its end and posts again until the time is over; connections
 * begin over RAMP seconds, and what ends or comes before RAMP is not counted. Prints one line of JSON. A stream is
 * `whole` if it ended as HTTP says, after `data: [DONE]`. Times are milliseconds; a gap lies between two reads of one
 * stream that brought something, `first` between the request and the first of them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, TURN = 512, READ = 65536, SLOTS = 100000, HEAD = 8192 };
enum part { IN_HEAD, IN_SIZE, IN_DATA, AFTER_DATA, IN_TRAILER, TO_THE_END };
struct client {
    int fd, open, chunked, failed, last;
    enum part part;
    size_t used, left, line;             /* of the head; of the chunk; of the trailer's line */
    char head[HEAD + 1], tail[8];        /* the last bytes of the payload, to see how it ended */
    long long asked, heard, events;
};

static struct sockaddr_in there;
static struct client clients[MOST];
static char request[65536];
static size_t request_size;
static int poll_fd;
static long long begin, counted, until;
static long long whole, broken, refused, events, reads, all;
static unsigned gaps[SLOTS + 1], firsts[SLOTS + 1]; /* tenths of a millisecond */
static long long longest;

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (long long)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void note(unsigned *slots, long long time) {
    long long slot = time / 100000;
    slots[slot < SLOTS ? slot : SLOTS]++;
}

static double part_of(const unsigned *slots, double part) {
    long long all = 0, seen = 0;
    for (int i = 0; i <= SLOTS; i++) all += slots[i];
    for (int i = 0; i <= SLOTS; i++)
        if ((seen += slots[i]) && (double)seen >= part * (double)all) return (i + 1) / 10.0;
    return 0;
}

static void ask(struct client *of, long long time) {
    of->part = IN_HEAD;
    of->used = of->left = of->line = 0;
    of->events = of->chunked = of->failed = of->last = 0;
    of->heard = 0;
    of->asked = time;
    memset(of->tail, 0, sizeof of->tail);
    if (send(of->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) of->failed = 1;
}

static void dial(struct client *of) {
    int on = 1;
    of->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(of->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    of->open = !connect(of->fd, (struct sockaddr *)&there, sizeof there);
    if (!of->open) {
        refused++;
        close(of->fd);
        return;
    }
    struct epoll_event news = {.events = EPOLLIN, .data.ptr = of};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, of->fd, &news);
    ask(of, now());
}

static void over(struct client *of, int well, long long time) {
    int good = well && !of->failed && !memcmp(of->tail, "[DONE]\n\n", 8);
    if (time >= counted) {
        if (good) whole++;
        else broken++;
    }
}

static void payload(struct client *of, const char *data, size_t size, long long time) {
    for (const char *at = data; (at = memchr(at, '\n', size - (size_t)(at - data))); at++) {
        char before = at > data ? at[-1] : of->tail[7];
        if (before == '\n') of->events++, all++, events += time >= counted;
        if (at + 1 == data + size) break;
    }
    size_t kept = size < 8 ? size : 8;
    memmove(of->tail, of->tail + kept, 8 - kept);
    memcpy(of->tail + 8 - kept, data + size - kept, kept);
}

static int head_ended(struct client *of) {
    of->head[of->used] = 0;
    if (of->used < 4 || memcmp(of->head + of->used - 4, "\r\n\r\n", 4)) return 0;
    of->failed = strncmp(of->head + 9, "200", 3) != 0;
    of->chunked = strcasestr(of->head, "transfer-encoding: chunked") != NULL;
    of->last = strcasestr(of->head, "\nconnection: close") != NULL;
    const char *length = strcasestr(of->head, "\ncontent-length:");
    of->left = length ? (size_t)atol(length + 16) : 0;
    of->part = of->chunked ? IN_SIZE : length ? IN_DATA : TO_THE_END;
    return 1;
}

/* Takes what was read; 1: the answer is complete. */
static int take(struct client *of, const char *data, size_t size, long long time) {
    const char *end = data + size;
    while (data < end) switch (of->part) {
        case IN_HEAD:
            if (of->used == HEAD) return of->failed = 1;
            of->head[of->used++] = *data++;
            if (head_ended(of) && of->part == IN_DATA && !of->left) return 1;
            break;
        case IN_SIZE:
            if (*data == '\n') {
                of->part = of->left ? IN_DATA : IN_TRAILER;
                of->line = 0;
            } else if (strchr("0123456789abcdefABCDEF", *data))
                of->left = of->left * 16 + (size_t)(*data <= '9' ? *data - '0' : (*data | 32) - 'a' + 10);
            data++;
            break;
        case IN_DATA: {
            size_t here = of->left < (size_t)(end - data) ? of->left : (size_t)(end - data);
            payload(of, data, here, time);
            data += here;
            of->left -= here;
            if (!of->left && !of->chunked) return 1;
            if (!of->left) of->part = AFTER_DATA;
            break;
        }
        case AFTER_DATA:
            if (*data++ == '\n') of->part = IN_SIZE;
            break;
        case IN_TRAILER:
            if (*data == '\n' && !of->line) return 1;
            of->line = *data == '\n' ? 0 : of->line + (*data != '\r');
            data++;
            break;
        case TO_THE_END:
            payload(of, data, (size_t)(end - data), time);
            data = end;
        }
    return 0;
}

static void hear(struct client *of) {
    static char data[READ];
    ssize_t got = recv(of->fd, data, sizeof data, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    long long time = now();
    if (got <= 0) {
        over(of, of->part == TO_THE_END, time);
        close(of->fd);
        dial(of);
        return;
    }
    reads += time >= counted;
    if (!of->heard) note(firsts, time - of->asked);
    else if (time >= counted) {
        note(gaps, time - of->heard);
        if (time - of->heard > longest) longest = time - of->heard;
    }
    of->heard = time;
    if (!take(of, data, (size_t)got, time)) return;
    over(of, 1, time);
    if (of->failed || of->last) {
        close(of->fd);
        dial(of);
    } else
        ask(of, now());
}

static void read_request(char **argv, char **fields) {
    char body[32768];
    FILE *file = fopen(argv[7], "r");
    if (!file) exit(1);
    size_t size = fread(body, 1, sizeof body, file);
    fclose(file);
    int used = sprintf(request, "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nAccept: */*\r\n",
                       argv[3], argv[1], argv[2]);
    for (; *fields; fields++) used += sprintf(request + used, "%s\r\n", *fields);
    used += sprintf(request + used, "Content-Length: %zu\r\n\r\n", size);
    memcpy(request + used, body, size);
    request_size = (size_t)used + size;
}

int main(int argc, char **argv) {
    if (argc < 8) return fprintf(stderr, "streams ADDRESS PORT PATH CONNECTIONS SECONDS RAMP BODY [FIELD ...]\n"), 1;
    int connections = atoi(argv[4]), open = 0;
    double seconds = atof(argv[5]), ramp = atof(argv[6]);
    there = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    if (connections > MOST || inet_pton(AF_INET, argv[1], &there.sin_addr) != 1) return 1;
    read_request(argv, argv + 8);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    begin = now();
    counted = begin + (long long)(ramp * 1e9);
    until = counted + (long long)(seconds * 1e9);
    for (long long time = begin; time < until; time = now()) {
        double since = (double)(time - begin) / 1e9;
        int wanted = since >= ramp ? connections : (int)(connections * since / ramp) + 1;
        for (; open < wanted && open < connections; open++) dial(&clients[open]);
        struct epoll_event came[TURN];
        int found = epoll_wait(poll_fd, came, TURN, open < connections ? 1 : 20);
        for (int i = 0; i < found; i++) hear(came[i].data.ptr);
    }
    long long end = now();
    for (int i = 0; i < open; i++) /* a stream that has gone silent has a gap too */
        if (clients[i].open && clients[i].heard && end - clients[i].heard > longest) longest = end - clients[i].heard;
    printf("{\"seconds\": %.6f, \"whole\": %lld, \"broken\": %lld, \"refused\": %lld, \"events\": %lld, \"reads\": %lld, \"all\": %lld, "
           "\"firstP50\": %.1f, \"firstP99\": %.1f, \"gapP50\": %.1f, \"gapP99\": %.1f, \"gapMax\": %.1f}\n",
           (double)(end - counted) / 1e9, whole, broken, refused, events, reads, all, part_of(firsts, 0.5),
           part_of(firsts, 0.99), part_of(gaps, 0.5), part_of(gaps, 0.99), (double)longest / 1e6);
    return 0;
}
