/* A fake libnvidia-ml.so.1 for tests: the real pynvml loads it, and sees the GPUs of a folder.
 *
 * The folder is read again at every call (fake_gpu.h says what is in it).
 * Without a folder, or without its file `gpus`, the driver is not loaded.
 * Shapes and numbers are those of nvml.h.
 */
#define _GNU_SOURCE
#include "fake_gpu.h"
#include <ctype.h>
#include <time.h>

enum {
    SUCCESS = 0,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
};
#define NO_FIGURE (~0ULL)
#define EXPORT __attribute__((visibility("default")))

struct memory { bytes total, free, used; };
struct memory_v2 { unsigned version; bytes total, reserved, free, used; };
struct process { unsigned pid; bytes used; unsigned gpu_instance, compute_instance; };
struct pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device, id, subsystem_id;
    char bus_id[32];
};

/* ---- what goes wrong ---- */

/* Return the error that is planned for this call, after its delay. */
static int fault(const char *function, int gpu) {
    char path[PATH_SIZE], line[256], name[128], which[16];
    FILE *file = fake_path(path, "faults") ? fopen(path, "re") : 0;
    int error = SUCCESS, planned;
    while (file && fgets(line, sizeof line, file)) {
        long delay_ms = 0;
        if (sscanf(line, "%127s %15s %d %ld", name, which, &planned, &delay_ms) < 3) continue;
        if (strcmp(name, "*") && strcmp(name, function)) continue;
        if (strcmp(which, "*") && atoi(which) != gpu) continue;
        struct timespec delay = {delay_ms / 1000, delay_ms % 1000 * 1000000L};
        nanosleep(&delay, 0);
        error = planned;
        break;
    }
    if (file) fclose(file);
    return error;
}

/* Find the GPU behind a handle, which is its place in NVML's order plus one. */
static int look_up(const char *function, void *handle, struct gpu *gpu) {
    struct gpu gpus[GPUS_MAX];
    int count = read_gpus(gpus), place = (int)(long)handle - 1;
    if (count < 0) return DRIVER_NOT_LOADED;
    if (place < 0 || place >= count) return INVALID_ARGUMENT;
    *gpu = gpus[place];
    return fault(function, gpu->number);
}

/* ---- the library itself ---- */

EXPORT int nvmlInitWithFlags(unsigned flags) {
    struct gpu gpus[GPUS_MAX];
    (void)flags;
    int error = fault("nvmlInit", -1);
    return error ? error : read_gpus(gpus) < 0 ? DRIVER_NOT_LOADED : SUCCESS;
}

EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

EXPORT int nvmlShutdown(void) { return SUCCESS; }

EXPORT const char *nvmlErrorString(int error) {
    static __thread char text[32];
    snprintf(text, sizeof text, "fake error %d", error);
    return text;
}

EXPORT int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "fake");
    return fault("nvmlSystemGetDriverVersion", -1);
}

/* ---- devices ---- */

EXPORT int nvmlDeviceGetCount_v2(unsigned *count) {
    struct gpu gpus[GPUS_MAX];
    int found = read_gpus(gpus), error = fault("nvmlDeviceGetCount", -1);
    if (error || found < 0) return error ? error : DRIVER_NOT_LOADED;
    *count = found;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned place, void **handle) {
    struct gpu gpu;
    *handle = (void *)(long)(place + 1);
    return look_up("nvmlDeviceGetHandleByIndex", *handle, &gpu);
}

EXPORT int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    struct gpu gpu;
    int error = look_up("nvmlDeviceGetUUID", handle, &gpu);
    if (!error) snprintf(text, size, "%s", gpu.uuid);
    return error;
}

EXPORT int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    struct gpu gpu;
    int error = look_up("nvmlDeviceGetName", handle, &gpu);
    if (!error) snprintf(text, size, "%s", gpu.name);
    return error;
}

EXPORT int nvmlDeviceGetPciInfo_v3(void *handle, struct pci *pci) {
    struct gpu gpu;
    int error = look_up("nvmlDeviceGetPciInfo", handle, &gpu);
    if (error) return error;
    memset(pci, 0, sizeof *pci);
    pci->bus = gpu.pci;
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", gpu.pci);
    return SUCCESS;
}

/* In both versions, `used` includes what the driver keeps. */
EXPORT int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) {
    struct gpu gpu;
    int error = look_up("nvmlDeviceGetMemoryInfo", handle, &gpu);
    if (error) return error;
    memory->total = gpu.total;
    memory->free = free_of(&gpu);
    memory->used = gpu.total - memory->free;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *memory) {
    struct gpu gpu;
    int error = look_up("nvmlDeviceGetMemoryInfo", handle, &gpu);
    if (error) return error;
    memory->total = gpu.total;
    memory->reserved = gpu.reserved;
    memory->free = free_of(&gpu);
    memory->used = gpu.total - memory->free;
    return SUCCESS;
}

/* ---- vitals ---- */

struct utilization { unsigned gpu, memory; };

/* Find one figure of a GPU; those without a line have no sensors. */
static int vital(const char *function, void *handle, int which, unsigned *figure) {
    struct gpu gpu;
    char path[PATH_SIZE], line[256];
    int error = look_up(function, handle, &gpu), number;
    unsigned figures[3];
    if (error) return error;
    FILE *file = fake_path(path, "vitals") ? fopen(path, "re") : 0;
    error = NOT_SUPPORTED;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%d %u %u %u", &number, figures, figures + 1, figures + 2) < 4) continue;
        if (number != gpu.number) continue;
        *figure = figures[which];
        error = SUCCESS;
    }
    if (file) fclose(file);
    return error;
}

EXPORT int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *utilization) {
    utilization->memory = 0;
    return vital("nvmlDeviceGetUtilizationRates", handle, 0, &utilization->gpu);
}

EXPORT int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    return vital("nvmlDeviceGetTemperature", handle, 1, celsius);
}

EXPORT int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    return vital("nvmlDeviceGetPowerUsage", handle, 2, milliwatts);
}

/* ---- processes ---- */

/* Find the first process of a container, as the host numbers it. */
static int pid_in_container(const char *id) {
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    int first = 0;
    while (directory && (entry = readdir(directory))) {
        char path[300], text[4096];
        if (!isdigit((unsigned char)*entry->d_name)) continue;
        snprintf(path, sizeof path, "/proc/%s/cgroup", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC), pid = atoi(entry->d_name);
        if (fd < 0) continue;
        ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        text[length > 0 ? length : 0] = 0;
        if (strstr(text, id) && (!first || pid < first)) first = pid;
    }
    if (directory) closedir(directory);
    return first;
}

static int pid_of(const char *name) {
    if (!strncmp(name, "pid", 3)) return atoi(name + 3);
    return pid_in_container(name);
}

static int list(const char *function, void *handle, unsigned *count, struct process *processes) {
    struct gpu gpu;
    struct holder holders[HOLDERS_MAX];
    int error = look_up(function, handle, &gpu);
    if (error) return error;
    unsigned room = *count;
    *count = read_holders(gpu.number, holders);
    if (room < *count) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++) {
        bytes used = gpu.figures ? holders[i].amount : NO_FIGURE;
        processes[i] = (struct process){pid_of(holders[i].name), used, ~0U, ~0U};
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count,
                                                   struct process *processes) {
    return list("nvmlDeviceGetComputeRunningProcesses", handle, count, processes);
}

/* The same processes once more: a real one that both computes and draws is in both lists. */
EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count,
                                                    struct process *processes) {
    return list("nvmlDeviceGetGraphicsRunningProcesses", handle, count, processes);
}
