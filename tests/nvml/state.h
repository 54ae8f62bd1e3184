/* The state file: what the simulated driver answers, and what goes wrong with it. README.md describes its keys. */
#ifndef STATE_H
#define STATE_H

#include "nvml_types.h"

enum { MAX_GPUS = 16, MAX_ENTRIES = 128, MAX_KEY = 48, MAX_VALUE = 96 };

/* A handle stays valid when the state changes; the GPU behind it is found by its UUID. */
struct device {
    char uuid[MAX_VALUE];
};

/* Start or end a use of the library; every other call answers NVML_ERROR_UNINITIALIZED outside. */
nvmlReturn_t session_start(void);
nvmlReturn_t session_end(void);

/* What every call to the driver does first: re-read a changed file, take the set latency, see if there is a driver. */
nvmlReturn_t enter(void);

/* The same for a call on one GPU, by the function's name: hangs or answers an error if the state says so. */
nvmlReturn_t enter_gpu(nvmlDevice_t device, const char *function);

/* Text of a key of [driver] or of a GPU; `nth` counts lines with the same key. NOT_SUPPORTED without such a line. */
nvmlReturn_t driver_text(const char *key, char *buffer, unsigned int length);
nvmlReturn_t gpu_text(nvmlDevice_t device, const char *key, int nth, char *buffer, unsigned int length);

/* The same as a number. */
nvmlReturn_t driver_number(const char *key, unsigned long long *value);
nvmlReturn_t gpu_number(nvmlDevice_t device, const char *key, unsigned long long *value);

/* The GPUs that the driver lists now, in the order of the file, without the vanished ones. */
unsigned int gpu_count(void);
nvmlReturn_t find_by_index(unsigned int index, nvmlDevice_t *device);
nvmlReturn_t find_by_text(const char *key, const char *value, nvmlDevice_t *device);
nvmlReturn_t index_of(nvmlDevice_t device, unsigned int *index);

/* Place of a handle in 0..MAX_GPUS-1, and the handle there (NULL past the last one). */
int place_of(nvmlDevice_t device);
nvmlDevice_t device_at(int place);

void sleep_ms(unsigned int milliseconds);

#endif
