/* Stands before the docker command on a host's SSH path: writes down its arguments, then becomes
 * the real one. A record is: seconds NUL count NUL then each argument NUL, in one write. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t room = 64;
    for (int i = 0; i < argc; i++) room += strlen(argv[i]) + 1;
    char *record = malloc(room);
    if (record) {
        size_t used = (size_t)snprintf(record, 64, "%lld.%09ld%c%d", (long long)now.tv_sec, now.tv_nsec, 0, argc) + 1;
        for (int i = 0; i < argc; i++) {
            size_t length = strlen(argv[i]) + 1;
            memcpy(record + used, argv[i], length);
            used += length;
        }
        int log = open(COMMAND_LOG, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (log < 0 || write(log, record, used) != (ssize_t)used) {
            perror("docker shim: " COMMAND_LOG);
            return 125;
        }
    }
    execv(REAL_DOCKER, argv);
    perror("docker shim: " REAL_DOCKER);
    return 127;
}
