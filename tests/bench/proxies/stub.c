/* What stands behind the proxies when streams are measured: it answers every request with server-sent events as an
 * engine would, each event an HTTP chunk and a write of its own, from one thread, at a small part of a proxy's cost.
 *
 *   stub PORT
 *
 * The request's JSON says how: `"max_tokens": N` events (64); `"user": "every N ms"` paces them. Unpaced, each turn of
 * the loop writes one event to every stream, so that events come apart from each other and streams in turn. */
#define _GNU_SOURCE
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

enum { ROOM = 4096, REQUEST = 16384, TURN = 512 };
struct stream {
    int fd;
    size_t used;             /* of the request, as far as it came */
    int left;                /* events to come; -1: none is under way */
    long long every, due;    /* nanoseconds */
    const char *rest;        /* what the socket did not take yet */
    size_t rest_size;
    char text[REQUEST + 1];
};

#define EVENT                                                                                                 \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\"," \
    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}\n\n"
#define LAST                                                                                                  \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\"," \
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"

static struct stream *streams[ROOM];
static int count;
static char head[4096], event[4096], last[4096];

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (long long)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void prepare(void) {
    sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n");
    sprintf(event, "%zx\r\n%s\r\n", strlen(EVENT), EVENT);
    sprintf(last, "%zx\r\n%s\r\n%zx\r\n%s\r\n0\r\n\r\n", strlen(LAST), LAST, strlen(DONE), DONE);
}

static void leave(int at) {
    close(streams[at]->fd);
    free(streams[at]);
    streams[at] = streams[--count];
}

/* 0: all of it is on its way, or will be; -1: the other side has gone. */
static int say(struct stream *to, const char *what) {
    size_t size = strlen(what);
    ssize_t wrote = send(to->fd, what, size, MSG_NOSIGNAL);
    if (wrote < 0 && errno != EAGAIN) return -1;
    if (wrote < 0) wrote = 0;
    to->rest = what + wrote;
    to->rest_size = size - (size_t)wrote;
    return 0;
}

static int number_after(const char *text, const char *name, int otherwise) {
    const char *found = strstr(text, name);
    return found ? atoi(found + strlen(name) + strspn(found + strlen(name), "\": ")) : otherwise;
}

/* Whether a request is whole; then it is taken from what came. */
static int whole(struct stream *of) {
    of->text[of->used] = 0;
    char *body = strstr(of->text, "\r\n\r\n");
    if (!body) return 0;
    body += 4;
    size_t size = 0;
    for (char *line = strstr(of->text, "\r\n"); line && line + 2 < body; line = strstr(line + 2, "\r\n")) {
        if (!strncasecmp(line + 2, "content-length:", 15)) size = (size_t)atol(line + 17);
        if (!strncasecmp(line + 2, "transfer-encoding:", 18)) {
            char *end = strstr(body - 2, "\r\n0\r\n\r\n");
            if (!end) return 0;
            size = (size_t)(end + 7 - body);
        }
    }
    if ((size_t)(of->text + of->used - body) < size) return 0;
    char kept = body[size];
    body[size] = 0;
    of->left = number_after(body, "\"max_tokens\"", 64);
    of->every = number_after(body, "\"every ", 0) * 1000000LL;
    body[size] = kept;
    of->used -= (size_t)(body + size - of->text);
    memmove(of->text, body + size, of->used);
    of->due = now();
    return 1;
}

static int hear(struct stream *from) {
    ssize_t got = recv(from->fd, from->text + from->used, REQUEST - from->used, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) return -1;
    from->used += (size_t)got;
    return from->left < 0 && whole(from) ? say(from, head) : 0;
}

/* One more event, if it is time for it and the socket took what came before. */
static int advance(struct stream *to, long long time) {
    if (to->rest_size) return say(to, to->rest);
    if (to->left < 0 || to->due > time) return 0;
    to->due += to->every;
    if (to->left > 0) {
        to->left--;
        return say(to, event);
    }
    to->left = -1;
    return say(to, last);
}

static void welcome(int server, int poll) {
    int fd, on = 1;
    while ((fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (count == ROOM) {
            close(fd);
            continue;
        }
        struct stream *new = calloc(1, sizeof *new);
        new->fd = fd;
        new->left = -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event news = {.events = EPOLLIN, .data.ptr = new};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &news);
        streams[count++] = new;
    }
}

int main(int argc, char **argv) {
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, poll = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 0))};
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, 1024)) {
        perror("stub");
        return 1;
    }
    prepare();
    struct epoll_event news = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poll, EPOLL_CTL_ADD, server, &news);
    for (int busy = 0, paced = 0;;) {
        struct epoll_event came[TURN];
        int found = epoll_wait(poll, came, TURN, busy ? 0 : paced ? 1 : -1);
        for (int i = 0; i < found; i++) {
            struct stream *one = came[i].data.ptr;
            if (!one) welcome(server, poll);
            else if (hear(one)) one->left = -2;
        }
        long long time = now();
        busy = paced = 0;
        for (int at = 0; at < count;) {
            struct stream *one = streams[at];
            if (one->left == -2 || advance(one, time)) {
                leave(at);
                continue;
            }
            if (one->left >= 0 || one->rest_size) one->every || one->rest_size ? paced++ : busy++;
            at++;
        }
    }
}
