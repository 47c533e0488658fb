/* Fake GPUs in a folder, as the fake NVML library and the mock server see them.
 *
 *   $FAKE_NVML_DIR/gpus        a line a GPU, in NVML's order:
 *                              gpu pci=1 total=25757220864 reserved=524288000 figures=1 uuid=GPU-a name=Some words
 *                              reserved: what the driver keeps; figures=0: no figures of processes
 *   $FAKE_NVML_DIR/alloc/NAME  lines of "<gpu> <bytes>": memory that somebody holds.
 *                              It counts while some process has an flock on it: so a killed server
 *                              gives its memory back, as a driver sees to it.
 *                              NAME is pid<N>, or a container's short id (its host name).
 *                              NAME.static counts without a lock: nobody of ours.
 *   $FAKE_NVML_DIR/vitals      lines of "<gpu> <percent of use> <degrees Celsius> <milliwatts>"
 *   $FAKE_NVML_DIR/faults      lines of "<function|*> <gpu|*> <NVML error> [delay in ms]"
 *
 * GPUs are numbered by PCI bus in alloc/, as CUDA_DEVICE_ORDER=PCI_BUS_ID has it.
 */
#ifndef FAKE_GPU_H
#define FAKE_GPU_H
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define GPUS_MAX 16
#define HOLDERS_MAX 256
#define PATH_SIZE 512

typedef unsigned long long bytes;

struct gpu {
    int pci, number; /* by PCI bus */
    int figures;
    bytes total, reserved;
    char uuid[80], name[96];
};

struct holder {
    char name[256];
    bytes amount;
};

/* Write the path of a file in the folder; returns 0 if there is no folder. */
static int fake_path(char *path, const char *file) {
    const char *folder = getenv("FAKE_NVML_DIR");
    if (!folder || !*folder) return 0;
    return snprintf(path, PATH_SIZE, "%s/%s", folder, file) < PATH_SIZE;
}

static const char *gpu_value(const char *line, const char *key) {
    char word[32];
    snprintf(word, sizeof word, " %s=", key);
    const char *found = strstr(line, word);
    return found ? found + strlen(word) : "";
}

/* Read the GPUs in NVML's order; -1: there is no driver. */
static int read_gpus(struct gpu *gpus) {
    char path[PATH_SIZE], line[512];
    FILE *file = fake_path(path, "gpus") ? fopen(path, "re") : 0;
    if (!file) return -1;
    int count = 0;
    while (count < GPUS_MAX && fgets(line, sizeof line, file)) {
        if (strncmp(line, "gpu ", 4)) continue;
        struct gpu *gpu = &gpus[count++];
        memset(gpu, 0, sizeof *gpu);
        gpu->pci = atoi(gpu_value(line, "pci"));
        gpu->figures = atoi(gpu_value(line, "figures"));
        gpu->total = strtoull(gpu_value(line, "total"), 0, 10);
        gpu->reserved = strtoull(gpu_value(line, "reserved"), 0, 10);
        sscanf(gpu_value(line, "uuid"), "%79s", gpu->uuid);
        sscanf(gpu_value(line, "name"), "%95[^\n]", gpu->name);
    }
    fclose(file);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++) gpus[i].number += gpus[j].pci < gpus[i].pci;
    return count;
}

static int is_static(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && !strcmp(dot, ".static");
}

/* Read who holds memory of a GPU, by its number. */
static int read_holders(int number, struct holder *holders) {
    char folder[PATH_SIZE], path[PATH_SIZE + 300], text[1024];
    DIR *directory = fake_path(folder, "alloc") ? opendir(folder) : 0;
    struct dirent *entry;
    int count = 0;
    while (directory && count < HOLDERS_MAX && (entry = readdir(directory))) {
        if (*entry->d_name == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        /* Whoever can have the lock is alone with the file: its holder is gone. */
        int dead = !is_static(entry->d_name) && !flock(fd, LOCK_SH | LOCK_NB);
        ssize_t length = dead ? 0 : read(fd, text, sizeof text - 1);
        close(fd);
        text[length > 0 ? length : 0] = 0;
        char *rest = text;
        for (char *line; (line = strsep(&rest, "\n"));) {
            int on;
            bytes amount;
            if (sscanf(line, "%d %llu", &on, &amount) != 2 || on != number) continue;
            if (count == HOLDERS_MAX) break;
            snprintf(holders[count].name, sizeof holders[count].name, "%s", entry->d_name);
            holders[count++].amount = amount;
        }
    }
    if (directory) closedir(directory);
    return count;
}

static bytes free_of(const struct gpu *gpu) {
    struct holder holders[HOLDERS_MAX];
    bytes used = gpu->reserved;
    for (int i = read_holders(gpu->number, holders); i-- > 0;) used += holders[i].amount;
    return used < gpu->total ? gpu->total - used : 0;
}
#endif
