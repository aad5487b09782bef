/* SPDX-License-Identifier: MIT
 * Folders as transformers writes them (tests/golden/make_golden_hf.py): shards of latents, packed states, rope of Llama
 * 3; their logits are those that transformers gives in double precision, at ids whose activations lie well within their
 * codes of 8 bits. */
#include "core/arena.h"
#include "core/fs.h"
#include "kernels/kernels.h"
#include "models/model_file.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

enum { IDS = 6 };

static json_t *read_expected(const char *folder) {
    char path[256];
    tn_buf text = {0};
    json_error_t error;
    snprintf(path, sizeof path, "%s/expected.json", folder);
    assert_ok(tn_file_read(path, 1 << 20, &text));
    json_t *root = json_loadb(tn_buf_text(&text), text.len, 0, &error);
    assert_non_null(root);
    tn_buf_release(&text);
    return root;
}

/* Logits are printed with 6 digits behind the point, and sums in floats are off by some 1e-6. */
static void check(const char *folder, tn_model_use use) {
    const double tolerance = 5e-6;
    json_t *expected = read_expected(folder), *ids = json_object_get(expected, "ids"), *row, *logit;
    tn_arena *arena = tn_arena_create("test");
    tn_loaded loaded;
    int32_t list[IDS];
    size_t place, id;
    double most = 0;
    assert_int_equal(json_array_size(ids), IDS);
    for (size_t i = 0; i < IDS; i++) list[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    assert_ok(tn_model_file_load(folder, arena, use, &loaded));
    const tn_real *found = tn_test_logits(loaded.model, list, IDS, arena);
    json_array_foreach(json_object_get(expected, "logits"), place, row) {
        assert_int_equal(json_array_size(row), loaded.config.vocab_size);
        json_array_foreach(row, id, logit) most = fmax(most, fabs(json_real_value(logit) - (double)*found++));
    }
    assert_int_equal(place, IDS);
    printf("%s: %.2g of %.2g\n", folder, most, tolerance);
    assert_true(most <= tolerance);
    const tn_vocabulary *v = tn_tokenizer_vocabulary(loaded.tokenizer);
    assert_true(v->bos == 0 && v->eos == 1 && v->add_bos && v->chat_template[0]);
    assert_true(tn_tokenizer_is_stop(loaded.tokenizer, v->eot));
    tn_loaded_release(&loaded);
    tn_arena_free(arena);
    json_decref(expected);
}

static void shards_of_latents__give_the_logits_of_transformers(void **state) {
    (void)state;
    check("tests/golden/hf/bitnet-shards", TN_MODEL_RUN);
    check("tests/golden/hf/bitnet-shards", TN_MODEL_EVAL);
}

static void packed_states__give_the_logits_of_transformers(void **state) {
    (void)state;
    check("tests/golden/hf/bitnet-packed", TN_MODEL_RUN);
    check("tests/golden/hf/llama-packed", TN_MODEL_RUN);
}

static int set_up(void **state) {
    (void)state;
    assert_ok(tn_kernels_init(NULL));
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_of_latents__give_the_logits_of_transformers),
        cmocka_unit_test(packed_states__give_the_logits_of_transformers),
    };
    return cmocka_run_group_tests_name("hf_golden", tests, set_up, NULL);
}
