/* The processes that hold memory of a GPU: lines `process = PID BYTES compute|graphics`. */
#include "state.h"

#include <stdio.h>
#include <string.h>

/* The nth process of a type; 0 past the last one. */
static int nth_process(nvmlDevice_t device, const char *type, int nth, nvmlProcessInfo_v2_t *process) {
    char text[MAX_VALUE], own_type[MAX_VALUE];
    for (int line = 0; !gpu_text(device, "process", line, text, sizeof text); line++) {
        if (sscanf(text, "%u %llu %95s", &process->pid, &process->used_memory, own_type) != 3)
            continue;
        if (!strcmp(own_type, type) && nth-- == 0)
            return 1;
    }
    return 0;
}

static unsigned int count_processes(nvmlDevice_t device, const char *type) {
    nvmlProcessInfo_v2_t process;
    unsigned int count = 0;
    while (nth_process(device, type, (int)count, &process))
        count++;
    return count;
}

/* Callers ask with no room first, to learn how much they need. */
static nvmlReturn_t list(nvmlDevice_t device, const char *function, const char *type, unsigned int *count, void *out,
                         int version) {
    nvmlReturn_t error = enter_gpu(device, function);
    if (error)
        return error;
    unsigned int room = *count;
    *count = count_processes(device, type);
    if (*count > room || (*count && !out))
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int i = 0; i < *count; i++) {
        nvmlProcessInfo_v2_t process = {0, 0, NVML_NO_INSTANCE, NVML_NO_INSTANCE};
        nth_process(device, type, (int)i, &process);
        if (version == 1)
            ((nvmlProcessInfo_v1_t *)out)[i] = (nvmlProcessInfo_v1_t){process.pid, process.used_memory};
        else
            ((nvmlProcessInfo_v2_t *)out)[i] = process;
    }
    return NVML_SUCCESS;
}

#define PROCESSES(function, type, version)                                                         \
    NVML_EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned int *count, void *out) {       \
        return list(device, #function, type, count, out, version);                                 \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses, "compute", 1)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "compute", 2)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute", 2)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, "graphics", 1)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics", 2)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics", 2)
