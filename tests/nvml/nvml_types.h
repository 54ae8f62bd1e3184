/* The part of NVIDIA's NVML interface that the simulation answers: codes, handles and structs.
 *
 * Values and layouts follow the NVML API reference, release 12.9 ("Device Structs", "Device Enumerations").
 */
#ifndef NVML_TYPES_H
#define NVML_TYPES_H

#define NVML_EXPORT __attribute__((visibility("default")))

/* A second exported name for a function of the same file: nvmlInit and nvmlInit_v2. */
#define NVML_ALIAS(name, target) extern __typeof__(target) name __attribute__((alias(#target), visibility("default")))

typedef enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_DRIVER_NOT_LOADED = 9,
    NVML_ERROR_TIMEOUT = 10,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18,
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
    NVML_ERROR_UNKNOWN = 999,
} nvmlReturn_t;

typedef struct device *nvmlDevice_t;
typedef struct event_set *nvmlEventSet_t;

#define NVML_NO_INSTANCE 0xFFFFFFFFu
#define NVML_EVENT_XID 0x8ull

/* A versioned struct carries its size in the low 24 bits and its version above (NVML_STRUCT_VERSION). */
#define NVML_MEMORY_V2 0x02000028u
#define NVML_TEMPERATURE_V1 0x0100000Cu

typedef struct {
    unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
    unsigned int version;
    unsigned long long total, reserved, free, used;
} nvmlMemory_v2_t;

typedef struct {
    unsigned int gpu, memory;
} nvmlUtilization_t;

typedef struct {
    unsigned int version;
    unsigned int sensor;
    int temperature;
} nvmlTemperature_v1_t;

typedef struct {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} nvmlPciInfo_t;

typedef struct {
    unsigned int pid;
    unsigned long long used_memory;
} nvmlProcessInfo_v1_t;

/* The third version is the second one under another function name. */
typedef struct {
    unsigned int pid;
    unsigned long long used_memory;
    unsigned int gpu_instance, compute_instance;
} nvmlProcessInfo_v2_t;

typedef struct {
    nvmlDevice_t device;
    unsigned long long type, data;
    unsigned int gpu_instance, compute_instance;
} nvmlEventData_t;

#endif
