/* Reads the state file, again whenever it changes, and looks values up in it. */
#define _GNU_SOURCE
#include "state.h"

#include <ctype.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#define HANG_POLL_MS 10

struct entry {
    char key[MAX_KEY];
    char value[MAX_VALUE];
};

struct section {
    int count;
    struct entry entries[MAX_ENTRIES];
};

struct state {
    struct section driver;
    int gpu_count;
    struct section gpus[MAX_GPUS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct state current, parsed;
static struct stat seen;
static int is_readable;
static int users;
static unsigned long long session_generation;
static struct device devices[MAX_GPUS];

void sleep_ms(unsigned int milliseconds) {
    struct timespec pause = {milliseconds / 1000, (milliseconds % 1000) * 1000000L};
    nanosleep(&pause, NULL);
}

/* ---- reading ---- */

static void find_path(char *path, size_t length) {
    const char *named = getenv("SPUD_SIMULATED_GPUS");
    Dl_info library;
    if (named && *named) {
        snprintf(path, length, "%s", named);
    } else if (dladdr((void *)find_path, &library) && strrchr(library.dli_fname, '/')) {
        int folder = (int)(strrchr(library.dli_fname, '/') - library.dli_fname);
        snprintf(path, length, "%.*s/gpus.state", folder, library.dli_fname);
    } else {
        snprintf(path, length, "gpus.state");
    }
}

static char *trim(char *text) {
    while (isspace((unsigned char)*text))
        text++;
    for (size_t end = strlen(text); end > 0 && isspace((unsigned char)text[end - 1]); end--)
        text[end - 1] = '\0';
    return text;
}

static struct section *open_section(const char *title) {
    if (!strcmp(title, "[driver]"))
        return &parsed.driver;
    if (!strcmp(title, "[gpu]") && parsed.gpu_count < MAX_GPUS)
        return &parsed.gpus[parsed.gpu_count++];
    return NULL;
}

static int add_entry(struct section *section, char *line) {
    char *equals = strchr(line, '=');
    if (!section || !equals || section->count == MAX_ENTRIES)
        return 0;
    *equals = '\0';
    const char *key = trim(line), *value = trim(equals + 1);
    if (!*key || strlen(key) >= MAX_KEY || strlen(value) >= MAX_VALUE)
        return 0;
    struct entry *entry = &section->entries[section->count++];
    strcpy(entry->key, key);
    strcpy(entry->value, value);
    return 1;
}

static int parse(FILE *file, const char *path) {
    char line[512];
    struct section *section = NULL;
    memset(&parsed, 0, sizeof parsed);
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        char *text = trim(line);
        if (!*text || *text == '#')
            continue;
        int is_valid = *text == '[' ? (section = open_section(text)) != NULL : add_entry(section, text);
        if (!is_valid) {
            fprintf(stderr, "simulated NVML: cannot read line %d of %s\n", number, path);
            return 0;
        }
    }
    return 1;
}

static int is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Without a file that can be read there is no driver, as on a box whose module is not loaded. */
static void refresh(void) {
    char path[PATH_MAX];
    struct stat now;
    find_path(path, sizeof path);
    if (stat(path, &now) != 0) {
        is_readable = 0;
        memset(&seen, 0, sizeof seen);
        return;
    }
    if (is_same_file(&now, &seen))
        return;
    FILE *file = fopen(path, "re");
    is_readable = file && parse(file, path);
    if (file)
        fclose(file);
    if (is_readable)
        current = parsed;
    seen = now;
}

/* ---- looking up; all with the lock held ---- */

static const char *value_of(const struct section *section, const char *key, int nth) {
    for (int i = 0; i < section->count; i++)
        if (!strcmp(section->entries[i].key, key) && nth-- == 0)
            return section->entries[i].value;
    return NULL;
}

static unsigned long long number_of(const struct section *section, const char *key) {
    const char *value = value_of(section, key, 0);
    return value ? strtoull(value, NULL, 0) : 0;
}

static int is_vanished(const struct section *gpu) {
    const char *value = value_of(gpu, "vanished", 0);
    return value && !strcmp(value, "yes");
}

static const struct section *section_of(nvmlDevice_t device) {
    for (int i = 0; i < current.gpu_count; i++) {
        const char *uuid = value_of(&current.gpus[i], "uuid", 0);
        if (uuid && !strcmp(uuid, device->uuid) && !is_vanished(&current.gpus[i]))
            return &current.gpus[i];
    }
    return NULL;
}

static nvmlReturn_t error_named(const char *name) {
    if (!name)
        return NVML_SUCCESS;
    return strcmp(name, "gpu_is_lost") ? NVML_ERROR_UNKNOWN : NVML_ERROR_GPU_IS_LOST;
}

static nvmlReturn_t driver_error(void) {
    const char *state = value_of(&current.driver, "state", 0);
    if (!is_readable || !state || !strcmp(state, "not_loaded"))
        return NVML_ERROR_DRIVER_NOT_LOADED;
    return strcmp(state, "mismatch") ? NVML_SUCCESS : NVML_ERROR_LIB_RM_VERSION_MISMATCH;
}

static nvmlReturn_t copy_text(const char *value, char *buffer, unsigned int length) {
    if (!value)
        return NVML_ERROR_NOT_SUPPORTED;
    if (!buffer)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(value) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(buffer, value);
    return NVML_SUCCESS;
}

/* ---- calls ---- */

nvmlReturn_t session_start(void) {
    pthread_mutex_lock(&lock);
    refresh();
    nvmlReturn_t error = driver_error();
    if (!error && users++ == 0)
        session_generation = number_of(&current.driver, "generation");
    pthread_mutex_unlock(&lock);
    return error;
}

nvmlReturn_t session_end(void) {
    pthread_mutex_lock(&lock);
    nvmlReturn_t error = users > 0 ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
    if (!error)
        users--;
    pthread_mutex_unlock(&lock);
    return error;
}

/* With the lock held. A driver that was loaded anew knows nothing of sessions from before. */
static nvmlReturn_t session_error(void) {
    if (users == 0)
        return NVML_ERROR_UNINITIALIZED;
    if (driver_error())
        return driver_error();
    int is_stale = session_generation != number_of(&current.driver, "generation");
    return is_stale ? NVML_ERROR_UNKNOWN : NVML_SUCCESS;
}

nvmlReturn_t enter(void) {
    pthread_mutex_lock(&lock);
    refresh();
    nvmlReturn_t error = session_error();
    unsigned long long latency_us = number_of(&current.driver, "latency_us");
    pthread_mutex_unlock(&lock);
    if (latency_us) {
        struct timespec pause = {(time_t)(latency_us / 1000000), (long)(latency_us % 1000000) * 1000};
        nanosleep(&pause, NULL);
    }
    return error;
}

static int hangs(nvmlDevice_t device, const char *function) {
    pthread_mutex_lock(&lock);
    refresh();
    const struct section *gpu = section_of(device);
    const char *hanging = gpu ? value_of(gpu, "hang", 0) : NULL;
    int is_hanging = hanging && (!strcmp(hanging, "all") || !strcmp(hanging, function));
    pthread_mutex_unlock(&lock);
    return is_hanging;
}

nvmlReturn_t enter_gpu(nvmlDevice_t device, const char *function) {
    nvmlReturn_t error = enter();
    if (error)
        return error;
    if (place_of(device) < 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    while (hangs(device, function))
        sleep_ms(HANG_POLL_MS);
    pthread_mutex_lock(&lock);
    const struct section *gpu = section_of(device);
    error = gpu ? error_named(value_of(gpu, "query_error", 0)) : NVML_ERROR_GPU_IS_LOST;
    pthread_mutex_unlock(&lock);
    return error;
}

nvmlReturn_t driver_text(const char *key, char *buffer, unsigned int length) {
    pthread_mutex_lock(&lock);
    nvmlReturn_t error = copy_text(value_of(&current.driver, key, 0), buffer, length);
    pthread_mutex_unlock(&lock);
    return error;
}

nvmlReturn_t gpu_text(nvmlDevice_t device, const char *key, int nth, char *buffer, unsigned int length) {
    pthread_mutex_lock(&lock);
    const struct section *gpu = section_of(device);
    nvmlReturn_t error = gpu ? copy_text(value_of(gpu, key, nth), buffer, length) : NVML_ERROR_GPU_IS_LOST;
    pthread_mutex_unlock(&lock);
    return error;
}

nvmlReturn_t driver_number(const char *key, unsigned long long *value) {
    char text[MAX_VALUE];
    nvmlReturn_t error = driver_text(key, text, sizeof text);
    if (!error)
        *value = strtoull(text, NULL, 0);
    return error;
}

nvmlReturn_t gpu_number(nvmlDevice_t device, const char *key, unsigned long long *value) {
    char text[MAX_VALUE];
    nvmlReturn_t error = gpu_text(device, key, 0, text, sizeof text);
    if (!error)
        *value = strtoull(text, NULL, 0);
    return error;
}

/* ---- handles ---- */

int place_of(nvmlDevice_t device) {
    for (int place = 0; place < MAX_GPUS; place++)
        if (device == &devices[place] && *devices[place].uuid)
            return place;
    return -1;
}

nvmlDevice_t device_at(int place) {
    return place < MAX_GPUS && *devices[place].uuid ? &devices[place] : NULL;
}

/* With the lock held: the handle of a GPU, the same one whenever it is looked up. */
static nvmlReturn_t hand_out(const struct section *gpu, nvmlDevice_t *device) {
    const char *uuid = value_of(gpu, "uuid", 0);
    nvmlReturn_t error = error_named(value_of(gpu, "lookup_error", 0));
    if (error || !uuid)
        return error ? error : NVML_ERROR_UNKNOWN;
    for (int place = 0; place < MAX_GPUS; place++) {
        if (!*devices[place].uuid)
            strcpy(devices[place].uuid, uuid);
        if (!strcmp(devices[place].uuid, uuid)) {
            *device = &devices[place];
            return NVML_SUCCESS;
        }
    }
    return NVML_ERROR_UNKNOWN;
}

unsigned int gpu_count(void) {
    unsigned int count = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < current.gpu_count; i++)
        count += !is_vanished(&current.gpus[i]);
    pthread_mutex_unlock(&lock);
    return count;
}

nvmlReturn_t find_by_index(unsigned int index, nvmlDevice_t *device) {
    nvmlReturn_t error = NVML_ERROR_INVALID_ARGUMENT;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < current.gpu_count; i++)
        if (!is_vanished(&current.gpus[i]) && index-- == 0) {
            error = hand_out(&current.gpus[i], device);
            break;
        }
    pthread_mutex_unlock(&lock);
    return error;
}

nvmlReturn_t find_by_text(const char *key, const char *value, nvmlDevice_t *device) {
    nvmlReturn_t error = NVML_ERROR_NOT_FOUND;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < current.gpu_count; i++) {
        const char *own = value_of(&current.gpus[i], key, 0);
        if (own && !strcasecmp(own, value) && !is_vanished(&current.gpus[i])) {
            error = hand_out(&current.gpus[i], device);
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return error;
}

nvmlReturn_t index_of(nvmlDevice_t device, unsigned int *index) {
    nvmlReturn_t error = NVML_ERROR_GPU_IS_LOST;
    unsigned int listed = 0;
    pthread_mutex_lock(&lock);
    const struct section *gpu = section_of(device);
    for (int i = 0; gpu && i < current.gpu_count; i++) {
        if (gpu == &current.gpus[i]) {
            *index = listed;
            error = NVML_SUCCESS;
            break;
        }
        listed += !is_vanished(&current.gpus[i]);
    }
    pthread_mutex_unlock(&lock);
    return error;
}
