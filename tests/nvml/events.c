/* Xid events: each line `xid = CODE` of a GPU is delivered once to every event set that was there before it. */
#include "state.h"

#include <stdlib.h>

#define WAIT_POLL_MS 10

struct event_set {
    int is_registered[MAX_GPUS];
    int delivered[MAX_GPUS];
};

static int count_xids(nvmlDevice_t device) {
    char text[MAX_VALUE];
    int count = 0;
    while (!gpu_text(device, "xid", count, text, sizeof text))
        count++;
    return count;
}

NVML_EXPORT nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    nvmlReturn_t error = enter();
    if (!error && !(*set = calloc(1, sizeof **set)))
        error = NVML_ERROR_UNKNOWN;
    return error;
}

NVML_EXPORT nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    free(set);
    return NVML_SUCCESS;
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    nvmlReturn_t error = enter_gpu(device, __func__);
    return error ? error : gpu_number(device, "event_types", types);
}

NVML_EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    unsigned long long supported = 0;
    nvmlReturn_t error = enter_gpu(device, __func__);
    if (!error)
        error = gpu_number(device, "event_types", &supported);
    if (error)
        return error;
    if (types & ~supported)
        return NVML_ERROR_NOT_SUPPORTED;
    set->is_registered[place_of(device)] = 1;
    set->delivered[place_of(device)] = count_xids(device);
    return NVML_SUCCESS;
}

static int next_event(nvmlEventSet_t set, nvmlEventData_t *event) {
    for (int place = 0; device_at(place); place++) {
        char text[MAX_VALUE];
        nvmlDevice_t device = device_at(place);
        if (!set->is_registered[place] || gpu_text(device, "xid", set->delivered[place], text, sizeof text))
            continue;
        set->delivered[place]++;
        *event = (nvmlEventData_t){device, NVML_EVENT_XID, strtoull(text, NULL, 0), NVML_NO_INSTANCE, NVML_NO_INSTANCE};
        return 1;
    }
    return 0;
}

NVML_EXPORT nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *event, unsigned int timeout_ms) {
    for (unsigned int waited_ms = 0;; waited_ms += WAIT_POLL_MS) {
        nvmlReturn_t error = enter();
        if (error)
            return error;
        if (next_event(set, event))
            return NVML_SUCCESS;
        if (waited_ms >= timeout_ms)
            return NVML_ERROR_TIMEOUT;
        sleep_ms(WAIT_POLL_MS);
    }
}
NVML_ALIAS(nvmlEventSetWait, nvmlEventSetWait_v2);
