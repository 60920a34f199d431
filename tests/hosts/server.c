/* One static binary for every test image, told apart by the name it is started under.
 *
 *   keep-argv ...       prints its arguments as one JSON line and exits
 *   keep-server ...     a small HTTP server: /health, /args, /env, and /v1/chat/completions, where a chat model of few
 *                       words says what was said to it last, in a stream if asked to: a word each 20 ms
 *     --port N            listen there (8000)
 *     --slow-start S      listen only after S seconds
 *     --unhealthy-after S /health answers 503 from then on
 *     --exit-after S      exit by itself, with --exit-code N (0)
 *     --ignore-term       SIGTERM changes nothing
 *     --fail-bind-exit    behave as if the port were taken
 * Seconds may have a fraction; unknown arguments are ignored, as only the test knows what they mean. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
enum { ROOM = 64, REQUEST = 4096 };
struct client { int fd; size_t used; char text[REQUEST]; };

static int exit_code;
static double unhealthy_after = -1;
static struct client clients[ROOM];

static void on_term(int signal) { (void)signal; _exit(0); }
static void on_alarm(int signal) { (void)signal; _exit(exit_code); }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void json_string(FILE *out, const char *text, size_t length) {
    fputc('"', out);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f) fprintf(out, "\\u%04x", c);
        else fputc(c, out);
    }
    fputc('"', out);
}

static void json_list(FILE *out, char **items) {
    fputc('[', out);
    for (char **item = items; *item; item++) {
        if (item != items) fputs(", ", out);
        json_string(out, *item, strlen(*item));
    }
    fputs("]\n", out);
}

static void json_environment(FILE *out) {
    fputc('{', out);
    for (char **item = environ; *item; item++) {
        size_t name = strcspn(*item, "=");
        if (item != environ) fputs(", ", out);
        json_string(out, *item, name);
        fputs(": ", out);
        const char *value = *item + name + ((*item)[name] == '=');
        json_string(out, value, strlen(value));
    }
    fputs("}\n", out);
}

/* The string that follows a name in JSON, as it stands there; the last of several. */
static size_t json_after(const char *json, const char *name, const char **found) {
    size_t length = 0;
    *found = "";
    for (const char *at = json; (at = strstr(at, name));) {
        at += strlen(name);
        const char *value = at + strspn(at, ": ");
        if (*value != '"') continue;
        *found = ++value;
        for (length = 0; value[length] && value[length] != '"';) length += value[length] == '\\' && value[length + 1] ? 2 : 1;
    }
    return length;
}

#define EVENT                                                                                                      \
    "data: {\"id\":\"chatcmpl-keep\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"%.*s\",\"choices\":" \
    "[{\"index\":0,\"delta\":{%s%.*s%s},\"finish_reason\":%s}]}\n\n"

static void say(int fd, const char *what, size_t length) {
    if (dprintf(fd, "%zx\r\n%.*s\r\n", length, (int)length, what) < 0) _exit(0);
}

static void stream(int fd, const char *model, int called, const char *text) {
    static char event[2 * REQUEST];
    struct timespec pace = {.tv_nsec = 20000000};
    dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    while (*text) {
        size_t word = strcspn(text, " ");
        word += strspn(text + word, " ");
        say(fd, event, (size_t)sprintf(event, EVENT, called, model, "\"content\":\"", (int)word, text, "\"", "null"));
        nanosleep(&pace, NULL);
        text += word;
    }
    say(fd, event, (size_t)sprintf(event, EVENT, called, model, "", 0, "", "", "\"stop\""));
    dprintf(fd, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
}

/* By a process of its own, which may take its time. */
static void chat(int fd, const char *json) {
    static char text[2 * REQUEST];
    const char *model, *said, *streamed = strstr(json, "\"stream\"");
    int called = (int)json_after(json, "\"model\"", &model), length = (int)json_after(json, "\"content\"", &said);
    sprintf(text, "%.*s heard: %.*s", called, model, length, said);
    if (streamed && !strncmp(streamed + 8 + strspn(streamed + 8, ": "), "true", 4)) {
        stream(fd, model, called, text);
        return;
    }
    static char body[3 * REQUEST];
    int size = sprintf(body, "{\"id\":\"chatcmpl-keep\",\"object\":\"chat.completion\",\"created\":0,\"model\":\"%.*s\","
                       "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
                       "\"finish_reason\":\"stop\"}]}", called, model, text);
    dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
            size, body);
}

static void answer(int fd, const char *request, char **argv, double age) {
    char *body = NULL;
    size_t length = 0;
    int status = 200;
    FILE *out = open_memstream(&body, &length);
    if (!out) return;
    if (!strncmp(request, "GET /health ", 12)) {
        if (unhealthy_after >= 0 && age >= unhealthy_after) status = 503;
        fputs(status == 200 ? "ok" : "unhealthy", out);
    } else if (!strncmp(request, "GET /args ", 10)) json_list(out, argv);
    else if (!strncmp(request, "GET /env ", 9)) json_environment(out);
    else { status = 404; fputs("not here", out); }
    fclose(out);
    dprintf(fd, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
            status == 200 ? "OK" : status == 503 ? "Service Unavailable" : "Not Found",
            body[0] == '[' || body[0] == '{' ? "application/json" : "text/plain", length);
    for (size_t sent = 0; sent < length;) {
        ssize_t wrote = write(fd, body + sent, length - sent);
        if (wrote <= 0) break;
        sent += (size_t)wrote;
    }
    free(body);
}

static int listener(int port, int refuse) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    errno = EADDRINUSE;
    if (refuse || bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, 128)) {
        perror("bind");
        exit(1);
    }
    return fd;
}

static int whole(const struct client *client) {
    const char *body = strstr(client->text, "\r\n\r\n"), *length = strcasestr(client->text, "\r\nContent-Length:");
    if (client->used == REQUEST - 1) return 1;
    return body && (!length || length > body || strlen(body + 4) >= (size_t)atol(length + 17));
}

/* Reads what came; answers and closes once the request is whole, broken off or too long. */
static void serve(struct client *client, char **argv, double age) {
    ssize_t got = read(client->fd, client->text + client->used, REQUEST - 1 - client->used);
    if (got > 0) {
        client->used += (size_t)got;
        client->text[client->used] = 0;
        if (!whole(client)) return;
        if (strncmp(client->text, "POST /v1/chat/completions ", 26)) answer(client->fd, client->text, argv, age);
        else if (!fork()) {
            for (int i = 0; i < ROOM; i++)
                if (clients[i].fd >= 0 && &clients[i] != client) close(clients[i].fd);
            chat(client->fd, strstr(client->text, "\r\n\r\n"));
            _exit(0);
        }
    }
    close(client->fd);
    client->fd = -1;
}

static void loop(int server, char **argv, double began) {
    for (int i = 0; i < ROOM; i++) clients[i].fd = -1;
    for (;;) {
        struct pollfd waiting[ROOM + 1];
        struct client *free_one = NULL;
        for (int i = 0; i < ROOM; i++) {
            waiting[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
            if (clients[i].fd < 0) free_one = &clients[i];
        }
        waiting[ROOM] = (struct pollfd){.fd = free_one ? server : -1, .events = POLLIN};
        if (poll(waiting, ROOM + 1, -1) < 0) continue;
        if (waiting[ROOM].revents && free_one) {
            free_one->fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
            free_one->used = 0;
        }
        for (int i = 0; i < ROOM; i++)
            if (waiting[i].revents && waiting[i].fd >= 0) serve(&clients[i], argv, seconds() - began);
    }
}

static void wait_for(double length) {
    struct timespec left = {.tv_sec = (time_t)length, .tv_nsec = (long)((length - (double)(time_t)length) * 1e9)};
    while (nanosleep(&left, &left) && errno == EINTR) continue;
}

static void exit_in(double length) {
    struct itimerval when = {.it_value = {.tv_sec = (time_t)length,
                                          .tv_usec = (suseconds_t)((length - (double)(time_t)length) * 1e6)}};
    if (length < 1e-6) when.it_value.tv_usec = 1;
    setitimer(ITIMER_REAL, &when, NULL);
}

int main(int argc, char **argv) {
    const char *slash = strrchr(argv[0], '/');
    if (!strcmp(slash ? slash + 1 : argv[0], "keep-argv")) {
        json_list(stdout, argv);
        return 0;
    }
    int port = 8000, refuse = 0, ignore_term = 0;
    double slow_start = 0, exit_after = -1, began = seconds();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (!strcmp(argv[i], "--port")) port = atoi(value);
        else if (!strcmp(argv[i], "--exit-after")) exit_after = atof(value);
        else if (!strcmp(argv[i], "--exit-code")) exit_code = atoi(value);
        else if (!strcmp(argv[i], "--unhealthy-after")) unhealthy_after = atof(value);
        else if (!strcmp(argv[i], "--slow-start")) slow_start = atof(value);
        else if (!strcmp(argv[i], "--ignore-term")) ignore_term = 1;
        else if (!strcmp(argv[i], "--fail-bind-exit")) refuse = 1;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGINT, on_term);
    signal(SIGTERM, ignore_term ? SIG_IGN : on_term);
    signal(SIGALRM, on_alarm);
    if (exit_after >= 0) exit_in(exit_after);
    wait_for(slow_start);
    int server = listener(port, refuse);
    printf("listening on %d\n", port);
    fflush(stdout);
    loop(server, argv, began);
}
