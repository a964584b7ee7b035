/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target once over every file of the directories (or files) named on the command
 * line: how a committed corpus is replayed by ctest with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;
    struct stat st;

    if (!file || fstat(fileno(file), &st) < 0) {
        perror(path);
        exit(1);
    }
    /* exactly as long as the input, so that a sanitizer sees a byte too far */
    bytes = malloc(st.st_size ? (size_t)st.st_size : 1);
    if (!bytes || fread(bytes, 1, (size_t)st.st_size, file) != (size_t)st.st_size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t)st.st_size);
    free(bytes);
    return 1;
}

static int replay_path(const char *path)
{
    char child[4096];
    struct dirent *d;
    DIR *dir = opendir(path);
    int n = 0;

    if (!dir)
        return replay_file(path);
    while ((d = readdir(dir))) {
        if (d->d_name[0] == '.')
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, d->d_name);
        n += replay_path(child);
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;

    for (int i = 1; i < argc; i++)
        n += replay_path(argv[i]);
    printf("%d inputs replayed\n", n);
    return n > 0 ? 0 : 1;
}
