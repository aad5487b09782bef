/* SPDX-License-Identifier: MIT
 * replay.c - runs a fuzzer over its corpus without libFuzzer, one test a file: build/.../fuzz_NAME reads
 * tests/fuzz/corpus/NAME, or the files it is given. */
#include "core/arena.h"
#include "core/fs.h"
#include "tests/fuzz/fuzz.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FILES = 4096, MAX_INPUT = 1 << 24 };

static void run_file(void **state) {
    const char *path = *state;
    tn_buf bytes = {0};
    int64_t alive = tn_memory_alive();
    assert_ok(tn_file_read(path, MAX_INPUT, &bytes));
    /* A piece of its own size, so that the address sanitizer sees the first byte read too far. */
    uint8_t *exact = tn_heap_resize(NULL, bytes.len + !bytes.len);
    assert_non_null(exact);
    if (bytes.len) memcpy(exact, bytes.data, bytes.len);
    assert_int_equal(LLVMFuzzerTestOneInput(exact, bytes.len), 0);
    tn_heap_free(exact);
    tn_buf_release(&bytes);
    assert_int_equal(tn_memory_alive(), alive);
}

static void add(struct CMUnitTest *list, size_t *count, const char *dir, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", name);
    char *kept = tn_heap_strdup(path);
    TN_ASSERT(kept && *count < MAX_FILES);
    list[(*count)++] = (struct CMUnitTest){kept, run_file, NULL, NULL, kept};
}

int main(int argc, char **argv) {
    static struct CMUnitTest list[MAX_FILES];
    size_t count = 0;
    const char *program = strrchr(argv[0], '/'), *reader = strstr(program ? program : argv[0], "fuzz_");
    char dir[512];
    tn_names names = {0};
    snprintf(dir, sizeof dir, "tests/fuzz/corpus/%.200s", reader ? reader + strlen("fuzz_") : "");
    for (int i = 1; i < argc; i++) add(list, &count, "", argv[i]);
    if (argc == 1 && tn_dir_list(dir, &names)) {
        print_error("%s\n", tn_error_message());
        return 1;
    }
    for (size_t i = 0; i < names.count; i++) add(list, &count, dir, names.list[i]);
    tn_names_release(&names);
    int failed = _cmocka_run_group_tests(reader ? reader : "fuzz", list, count, NULL, NULL);
    for (size_t i = 0; i < count; i++) tn_heap_free((char *)(uintptr_t)list[i].name);
    return failed;
}
