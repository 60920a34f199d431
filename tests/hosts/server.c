/* One static binary for every test image, told apart by the name it is started under.
 *
 *   keep-argv ...       prints its arguments as one JSON line and exits
 *   keep-server ...     a small HTTP server: /health, /args, /env
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

/* Reads what came; answers and closes once the request is whole, broken off or too long. */
static void serve(struct client *client, char **argv, double age) {
    ssize_t got = read(client->fd, client->text + client->used, REQUEST - 1 - client->used);
    if (got > 0) {
        client->used += (size_t)got;
        client->text[client->used] = 0;
        if (!strstr(client->text, "\r\n\r\n") && client->used < REQUEST - 1) return;
        answer(client->fd, client->text, argv, age);
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
