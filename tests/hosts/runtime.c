/* runc for a root without CAP_SYS_RESOURCE.
 *
 * Without that capability a process can neither be given it nor be given a hard limit above its
 * parent's, so `--privileged` and `--ulimit memlock=-1` fail. This takes the capability out of the
 * bundle, lowers the limits to what this machine allows, and becomes runc. Every edit keeps the
 * file's length (JSON allows blanks), so an ordinary container costs one mmap and one exec.
 *
 * An image whose environment has KEEP_FOLDERS=/a:/b gets these folders of the host, read-only and at the
 * same place: so that an image of nothing runs the machine's real programs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char *seek(char *from, char *end, const char *text) {
    return from < end ? memmem(from, (size_t)(end - from), text, strlen(text)) : NULL;
}

static void drop_capability(char *from, char *end) {
    static const char name[] = "\"CAP_SYS_RESOURCE\"";
    for (char *at = from; (at = seek(at, end, name)); at += sizeof name - 1) {
        memset(at, ' ', sizeof name - 1);
        if (at > from && at[-1] == ',') at[-1] = ' ';
        else if (at[sizeof name - 1] == ',') at[sizeof name - 1] = ' ';
    }
}

/* Writes `value` over the number that starts at `at`, blanks after it; never longer than the old one. */
static void put_number(char *at, unsigned long long value) {
    char digits[24];
    size_t old = strspn(at, "-0123456789");
    size_t new = (size_t)snprintf(digits, sizeof digits, "%llu", value);
    if (new > old) return;
    memset(at, ' ', old);
    memcpy(at, digits, new);
}

static void lower(char *at, char *end, const char *key, rlim_t most) {
    char *number = seek(at, end, key);
    if (!number) return;
    number += strlen(key);
    if (strtoull(number, NULL, 10) > most) put_number(number, most);
}

static void lower_limits(char *from, char *end) {
    static const struct { const char *type; int which; } limits[] = {
        {"{\"type\":\"RLIMIT_MEMLOCK\"", RLIMIT_MEMLOCK}, {"{\"type\":\"RLIMIT_NOFILE\"", RLIMIT_NOFILE},
        {"{\"type\":\"RLIMIT_NPROC\"", RLIMIT_NPROC}, {"{\"type\":\"RLIMIT_STACK\"", RLIMIT_STACK},
        {"{\"type\":\"RLIMIT_CORE\"", RLIMIT_CORE}, {"{\"type\":\"RLIMIT_MSGQUEUE\"", RLIMIT_MSGQUEUE},
        {"{\"type\":\"RLIMIT_SIGPENDING\"", RLIMIT_SIGPENDING}, {"{\"type\":\"RLIMIT_NICE\"", RLIMIT_NICE},
        {"{\"type\":\"RLIMIT_RTPRIO\"", RLIMIT_RTPRIO},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char *at = seek(from, end, limits[i].type);
        char *close = at ? seek(at, end, "}") : NULL;
        struct rlimit now;
        if (!close || getrlimit(limits[i].which, &now) || now.rlim_max == RLIM_INFINITY) continue;
        lower(at, close, "\"hard\":", now.rlim_max);
        lower(at, close, "\"soft\":", now.rlim_max);
    }
}

static void allow(const char *path) {
    int file = open(path, O_RDWR | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about) || !about.st_size) return;
    char *text = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (text == MAP_FAILED) return;
    char *end = text + about.st_size;
    drop_capability(text, end);
    lower_limits(text, end);
    char *score = seek(text, end, "\"oomScoreAdj\":-");
    if (score) put_number(score + strlen("\"oomScoreAdj\":"), 0);
    munmap(text, (size_t)about.st_size);
    close(file);
}

/* Puts a mount for each folder of KEEP_FOLDERS at the front of the bundle's mounts. */
static void add_folders(const char *path) {
    static const char name[] = "\"KEEP_FOLDERS=", mounts[] = "\"mounts\":[";
    int file = open(path, O_RDWR | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about) || !about.st_size) return;
    size_t length = (size_t)about.st_size;
    char *text = malloc(length), *extra = NULL;
    size_t more = 0;
    if (!text || pread(file, text, length, 0) != (ssize_t)length) return;
    char *folder = seek(text, text + length, name), *place = seek(text, text + length, mounts);
    FILE *out = folder && place ? open_memstream(&extra, &more) : NULL;
    if (!out) return;
    folder += sizeof name - 1;
    place += sizeof mounts - 1;
    for (;;) {
        size_t size = strcspn(folder, ":\"");
        if (size)
            fprintf(out, "{\"destination\":\"%.*s\",\"type\":\"bind\",\"source\":\"%.*s\",\"options\":[\"rbind\",\"ro\"]},",
                    (int)size, folder, (int)size, folder);
        folder += size;
        if (*folder++ != ':') break;
    }
    fclose(out);
    size_t before = (size_t)(place - text);
    if (pwrite(file, extra, more, (off_t)before) != (ssize_t)more ||
        pwrite(file, place, length - before, (off_t)(before + more)) != (ssize_t)(length - before))
        perror(path);
    close(file);
}

int main(int argc, char **argv) {
    const char *flag = NULL, *file = "";
    for (int i = 1; i < argc && argv[i]; i++) {
        if (!flag && (!strcmp(argv[i], "create") || !strcmp(argv[i], "run"))) { flag = "--bundle"; file = "/config.json"; }
        else if (!flag && !strcmp(argv[i], "exec")) flag = "--process";
        else if (flag && !strcmp(argv[i], flag) && i + 1 < argc) {
            char path[4096];
            snprintf(path, sizeof path, "%s%s", argv[i + 1], file);
            allow(path);
            if (*file) add_folders(path);
            break;
        }
    }
    argv[0] = "runc";
    execv(REAL_RUNC, argv);
    perror(REAL_RUNC);
    return 127;
}
