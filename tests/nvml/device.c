/* What a GPU tells of itself: identity and readings. A key that the state file lacks is not supported. */
#include "state.h"

#include <stdio.h>
#include <string.h>

static nvmlReturn_t answer(nvmlDevice_t device, const char *function, const char *key, unsigned long long *value) {
    nvmlReturn_t error = enter_gpu(device, function);
    return error ? error : gpu_number(device, key, value);
}

static nvmlReturn_t read_unsigned(nvmlDevice_t device, const char *key, unsigned int *value) {
    unsigned long long number = 0;
    nvmlReturn_t error = gpu_number(device, key, &number);
    if (!error)
        *value = (unsigned int)number;
    return error;
}

static nvmlReturn_t answer_unsigned(nvmlDevice_t device, const char *function, const char *key, unsigned int *value) {
    nvmlReturn_t error = enter_gpu(device, function);
    return error ? error : read_unsigned(device, key, value);
}

#define TEXT(function, key)                                                                        \
    NVML_EXPORT nvmlReturn_t function(nvmlDevice_t device, char *text, unsigned int length) {      \
        nvmlReturn_t error = enter_gpu(device, #function);                                         \
        return error ? error : gpu_text(device, key, 0, text, length);                             \
    }

#define UNSIGNED(function, key)                                                                    \
    NVML_EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned int *value) {                  \
        return answer_unsigned(device, #function, key, value);                                     \
    }

#define LONG(function, key)                                                                        \
    NVML_EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned long long *value) {            \
        return answer(device, #function, key, value);                                              \
    }

/* A function that takes a number and answers the key at that place. */
#define BY_KIND(function, ...)                                                                     \
    NVML_EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned int kind, unsigned int *value) { \
        static const char *const keys[] = {__VA_ARGS__};                                           \
        if (kind >= sizeof keys / sizeof *keys)                                                    \
            return NVML_ERROR_INVALID_ARGUMENT;                                                    \
        return answer_unsigned(device, #function, keys[kind], value);                              \
    }

/* ---- identity ---- */

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetVbiosVersion, "vbios_version")
UNSIGNED(nvmlDeviceGetMinorNumber, "minor_number")
UNSIGNED(nvmlDeviceGetBrand, "brand")
UNSIGNED(nvmlDeviceGetArchitecture, "architecture")
UNSIGNED(nvmlDeviceGetPersistenceMode, "persistence_mode")
UNSIGNED(nvmlDeviceGetComputeMode, "compute_mode")
UNSIGNED(nvmlDeviceGetDisplayMode, "display_mode")
UNSIGNED(nvmlDeviceGetDisplayActive, "display_active")

NVML_EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index) {
    nvmlReturn_t error = enter_gpu(device, __func__);
    return error ? error : index_of(device, index);
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    char text[MAX_VALUE];
    nvmlReturn_t error = enter_gpu(device, __func__);
    if (!error)
        error = gpu_text(device, "compute_capability", 0, text, sizeof text);
    if (!error && sscanf(text, "%d.%d", major, minor) != 2)
        error = NVML_ERROR_UNKNOWN;
    return error;
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    unsigned long long id = 0;
    nvmlReturn_t error = enter_gpu(device, __func__);
    memset(pci, 0, sizeof *pci);
    if (!error)
        error = gpu_text(device, "pci_bus_id", 0, pci->bus_id, sizeof pci->bus_id);
    if (error)
        return error;
    if (sscanf(pci->bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device) != 3)
        return NVML_ERROR_UNKNOWN;
    snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "%04X:%02X:%02X.0", pci->domain & 0xFFFF,
             pci->bus & 0xFF, pci->device & 0xFF);
    if (!gpu_number(device, "pci_device_id", &id))
        pci->pci_device_id = (unsigned int)id;
    return NVML_SUCCESS;
}
NVML_ALIAS(nvmlDeviceGetPciInfo_v2, nvmlDeviceGetPciInfo_v3);
NVML_ALIAS(nvmlDeviceGetPciInfo, nvmlDeviceGetPciInfo_v3);

/* ---- memory ---- */

static nvmlReturn_t read_memory(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    unsigned long long total = 0, used = 0, reserved = 0;
    nvmlReturn_t error = gpu_number(device, "memory_total_bytes", &total);
    if (!error)
        error = gpu_number(device, "memory_used_bytes", &used);
    gpu_number(device, "memory_reserved_bytes", &reserved);
    memory->total = total;
    memory->used = used;
    memory->reserved = reserved;
    memory->free = total - used - reserved;
    return error;
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    nvmlReturn_t error = enter_gpu(device, __func__);
    if (!error && memory->version != NVML_MEMORY_V2)
        error = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return error ? error : read_memory(device, memory);
}

/* The first version counts what the driver reserves as used. */
NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    nvmlMemory_v2_t all;
    nvmlReturn_t error = enter_gpu(device, __func__);
    if (!error)
        error = read_memory(device, &all);
    if (!error)
        *memory = (nvmlMemory_t){all.total, all.free, all.used + all.reserved};
    return error;
}

/* ---- load, clocks ---- */

NVML_EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
    nvmlReturn_t error = answer_unsigned(device, __func__, "utilization_percent", &rates->gpu);
    if (!error)
        error = read_unsigned(device, "memory_utilization_percent", &rates->memory);
    return error;
}

static nvmlReturn_t answer_codec(nvmlDevice_t device, const char *function, const char *key, unsigned int *percent,
                                 unsigned int *period_us) {
    *period_us = 1000000;
    return answer_unsigned(device, function, key, percent);
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *percent,
                                                         unsigned int *period_us) {
    return answer_codec(device, __func__, "encoder_utilization_percent", percent, period_us);
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *percent,
                                                         unsigned int *period_us) {
    return answer_codec(device, __func__, "decoder_utilization_percent", percent, period_us);
}

UNSIGNED(nvmlDeviceGetPerformanceState, "performance_state")
UNSIGNED(nvmlDeviceGetPowerState, "performance_state")
LONG(nvmlDeviceGetCurrentClocksEventReasons, "clocks_event_reasons")
LONG(nvmlDeviceGetCurrentClocksThrottleReasons, "clocks_event_reasons")
LONG(nvmlDeviceGetSupportedClocksEventReasons, "supported_clocks_event_reasons")
LONG(nvmlDeviceGetSupportedClocksThrottleReasons, "supported_clocks_event_reasons")
BY_KIND(nvmlDeviceGetClockInfo, "clock_graphics_mhz", "clock_sm_mhz", "clock_memory_mhz", "clock_video_mhz")
BY_KIND(nvmlDeviceGetMaxClockInfo, "clock_max_graphics_mhz", "clock_max_sm_mhz", "clock_max_memory_mhz",
        "clock_max_video_mhz")

/* ---- heat, power ---- */

BY_KIND(nvmlDeviceGetTemperature, "temperature_celsius")
BY_KIND(nvmlDeviceGetTemperatureThreshold, "temperature_shutdown_celsius", "temperature_slowdown_celsius",
        "temperature_memory_max_celsius", "temperature_gpu_max_celsius")

NVML_EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_v1_t *reading) {
    unsigned int celsius = 0;
    if (reading->version != NVML_TEMPERATURE_V1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (reading->sensor != 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    nvmlReturn_t error = answer_unsigned(device, __func__, "temperature_celsius", &celsius);
    if (!error)
        reading->temperature = (int)celsius;
    return error;
}

UNSIGNED(nvmlDeviceGetNumFans, "fan_count")
UNSIGNED(nvmlDeviceGetFanSpeed, "fan_speed_percent")

NVML_EXPORT nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *percent) {
    unsigned int count = 0;
    nvmlReturn_t error = answer_unsigned(device, __func__, "fan_count", &count);
    if (!error && fan >= count)
        error = NVML_ERROR_INVALID_ARGUMENT;
    return error ? error : read_unsigned(device, "fan_speed_percent", percent);
}

UNSIGNED(nvmlDeviceGetPowerManagementMode, "power_management_mode")
UNSIGNED(nvmlDeviceGetPowerUsage, "power_milliwatts")
UNSIGNED(nvmlDeviceGetPowerManagementLimit, "power_limit_milliwatts")
UNSIGNED(nvmlDeviceGetEnforcedPowerLimit, "power_limit_milliwatts")
UNSIGNED(nvmlDeviceGetPowerManagementDefaultLimit, "power_limit_default_milliwatts")
LONG(nvmlDeviceGetTotalEnergyConsumption, "energy_millijoules")

NVML_EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *least,
                                                                      unsigned int *most) {
    nvmlReturn_t error = answer_unsigned(device, __func__, "power_limit_min_milliwatts", least);
    return error ? error : read_unsigned(device, "power_limit_max_milliwatts", most);
}

/* ---- faults ---- */

NVML_EXPORT nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending) {
    nvmlReturn_t error = answer_unsigned(device, __func__, "ecc_mode", now);
    if (!error)
        *pending = *now;
    return error;
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int type, unsigned int scope,
                                                     unsigned long long *count) {
    static const char *const keys[2][2] = {
        {"ecc_corrected_volatile_errors", "ecc_corrected_aggregate_errors"},
        {"ecc_uncorrected_volatile_errors", "ecc_uncorrected_aggregate_errors"},
    };
    if (type > 1 || scope > 1)
        return NVML_ERROR_INVALID_ARGUMENT;
    return answer(device, __func__, keys[type][scope], count);
}

/* Answers how many pages; their addresses are all 0. */
NVML_EXPORT nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                                   unsigned long long *addresses) {
    static const char *const keys[] = {"retired_pages_single_bit", "retired_pages_double_bit"};
    unsigned int room = *count;
    if (cause > 1)
        return NVML_ERROR_INVALID_ARGUMENT;
    nvmlReturn_t error = answer_unsigned(device, __func__, keys[cause], count);
    if (error)
        return error;
    if (room < *count || (*count && !addresses))
        return NVML_ERROR_INSUFFICIENT_SIZE;
    if (*count)
        memset(addresses, 0, *count * sizeof *addresses);
    return NVML_SUCCESS;
}

UNSIGNED(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pages_pending")

/* ---- PCI Express ---- */

UNSIGNED(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_link_generation")
UNSIGNED(nvmlDeviceGetCurrPcieLinkWidth, "pcie_link_width")
UNSIGNED(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_link_max_generation")
UNSIGNED(nvmlDeviceGetMaxPcieLinkWidth, "pcie_link_max_width")
UNSIGNED(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
BY_KIND(nvmlDeviceGetPcieThroughput, "pcie_tx_kilobytes_per_second", "pcie_rx_kilobytes_per_second")
