/* SPDX-License-Identifier: MIT
 * What a GGUF file or checkpoint must say, one wrong thing at a time: a good file is copied with one edit. */
#include "core/arena.h"
#include "core/fs.h"
#include "core/log.h"
#include "formats/gguf.h"
#include "models/export.h"
#include "kernels/kernels.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct fixture {
    char dir[TN_TEST_PATH], checkpoint[TN_TEST_PATH + 16], good[TN_TEST_PATH + 16], bad[TN_TEST_PATH + 16];
    tn_arena *arena;
} fixture;

static void make(fixture *f, tn_tokenizer_kind kind, const char *setting) {
    tn_test_tiny_checkpoint(f->checkpoint, kind, (const char *const[]){"model.n_layer=1", setting, NULL});
}

static int set_up(void **state) {
    static fixture f;
    assert_ok(tn_kernels_init(NULL));
    tn_test_dir_make(f.dir);
    snprintf(f.checkpoint, sizeof f.checkpoint, "%s/step.h5", f.dir);
    snprintf(f.good, sizeof f.good, "%s/good.gguf", f.dir);
    snprintf(f.bad, sizeof f.bad, "%s/bad.gguf", f.dir);
    f.arena = tn_arena_create("test");
    make(&f, TN_TOKENIZER_CHAR, NULL);
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tn_arena_free(f->arena);
    tn_test_dir_remove(f->dir);
    return 0;
}

/* ---- a copy with one edit ---- */

/* NULL fields change nothing. */
typedef struct edit {
    const char *key;        /* leave this key out, and */
    const char *text;       /* write it with this text, or */
    const uint32_t *number; /* this number, or */
    const float *real;      /* this one */
    const char *drop;       /* leave this tensor out */
    const char *add;        /* add an F32 tensor {1} of that name, after the others */
    float added;
    const char *shape; /* write this tensor with its two sizes swapped */
    const char *data;  /* hand this tensor's data, `from` on, to be filled with `byte` */
    size_t from, count;
    unsigned char byte;
    bool foreign; /* no key and no checksum of ours, as other tools write it */
} edit;

static void put_array(tn_gguf_writer *w, const tn_gguf *in, const char *key, tn_gguf_kind element, int64_t count) {
    assert_ok(tn_gguf_put_array(w, key, element, count));
    for (int64_t i = 0; i < count; i++) {
        tn_gguf_text text;
        int64_t whole;
        double real;
        if (element == TN_GGUF_STRING) {
            assert_ok(tn_gguf_array_text(in, key, i, &text));
            assert_ok(tn_gguf_put_element_text(w, text.data, text.len));
        } else if (element == TN_GGUF_F32) {
            assert_ok(tn_gguf_array_real(in, key, i, &real));
            assert_ok(tn_gguf_put_element_f32(w, (float)real));
        } else {
            assert_ok(tn_gguf_array_int(in, key, i, &whole));
            assert_ok(tn_gguf_put_element_i32(w, (int32_t)whole));
        }
    }
}

static void put_key(tn_gguf_writer *w, const tn_gguf *in, int64_t i) {
    tn_gguf_kind kind, element;
    int64_t count, whole;
    double real;
    bool flag;
    tn_gguf_text text;
    const char *key = tn_gguf_key_at(in, i, &kind, &element, &count);
    switch (kind) {
    case TN_GGUF_ARRAY: put_array(w, in, key, element, count); break;
    case TN_GGUF_STRING:
        assert_ok(tn_gguf_get_text(in, key, &text));
        assert_ok(tn_gguf_put_text(w, key, text.data, text.len));
        break;
    case TN_GGUF_BOOL:
        assert_ok(tn_gguf_get_bool(in, key, &flag));
        assert_ok(tn_gguf_put_bool(w, key, flag));
        break;
    case TN_GGUF_F32:
        assert_ok(tn_gguf_get_real(in, key, &real));
        assert_ok(tn_gguf_put_f32(w, key, (float)real));
        break;
    default: assert_ok(tn_gguf_get_int(in, key, &whole)); assert_ok(tn_gguf_put_u32(w, key, (uint32_t)whole));
    }
}

static bool is(const char *a, const char *b) { return a && strcmp(a, b) == 0; }

static void put_keys(tn_gguf_writer *w, const tn_gguf *in, const edit *e) {
    for (int64_t i = 0; i < tn_gguf_n_keys(in); i++) {
        const char *key = tn_gguf_key_at(in, i, NULL, NULL, NULL);
        bool own = is("tern.version", key) || is("tern.checksum", key) || (e->foreign && strncmp(key, "tern.", 5) == 0);
        if (!own && !is(e->key, key)) put_key(w, in, i);
    }
    if (e->text) assert_ok(tn_gguf_put_text(w, e->key, e->text, strlen(e->text)));
    if (e->number) assert_ok(tn_gguf_put_u32(w, e->key, *e->number));
    if (e->real) assert_ok(tn_gguf_put_f32(w, e->key, *e->real));
}

static void announce(tn_gguf_writer *w, const tn_gguf *in, const edit *e) {
    for (int64_t i = 0; i < tn_gguf_n_tensors(in); i++) {
        const tn_gguf_tensor *t = tn_gguf_tensor_at(in, i);
        int64_t ne[4] = {t->ne[0], t->ne[1], t->ne[2], t->ne[3]};
        if (is(e->shape, t->name)) ne[0] = t->ne[1], ne[1] = t->ne[0];
        if (!is(e->drop, t->name)) assert_ok(tn_gguf_announce(w, t->name, t->type, t->n_dims, ne));
    }
    const int64_t one = 1;
    if (e->add) assert_ok(tn_gguf_announce(w, e->add, TN_GGML_F32, 1, &one));
}

static void put_tensors(tn_gguf_writer *w, const tn_gguf *in, const edit *e, tn_arena *arena) {
    for (int64_t i = 0; i < tn_gguf_n_tensors(in); i++) {
        const tn_gguf_tensor *t = tn_gguf_tensor_at(in, i);
        if (is(e->drop, t->name)) continue;
        unsigned char *data = tn_arena_alloc(arena, t->bytes, "test");
        memcpy(data, t->data, t->bytes);
        if (is(e->data, t->name)) memset(data + e->from, e->byte, e->count ? e->count : t->bytes - e->from);
        assert_ok(tn_gguf_put_data(w, data, t->bytes));
    }
    if (e->add) assert_ok(tn_gguf_put_data(w, &e->added, sizeof e->added));
}

static void copy(fixture *f, const edit *e) {
    tn_gguf *in;
    tn_gguf_writer *w;
    assert_ok(tn_gguf_open(&in, f->good));
    assert_ok(tn_gguf_create(&w, f->bad));
    if (e->foreign) tn_gguf_without_checksum(w);
    put_keys(w, in, e);
    announce(w, in, e);
    put_tensors(w, in, e, f->arena);
    assert_ok(tn_gguf_commit(w));
    tn_gguf_close(in);
}

static void export_good(fixture *f, tn_export_type type) {
    tn_export_report report;
    assert_ok(tn_export(f->checkpoint, f->good, (tn_export_options){.type = type}, &report));
}

static tn_status load(fixture *f, const char *path, tn_loaded *out) {
    return tn_model_file_load(path, f->arena, TN_MODEL_RUN, out);
}

static void assert_refused(fixture *f, const edit *e, tn_status expected, const char *words) {
    tn_loaded loaded;
    copy(f, e);
    tn_status status = load(f, f->bad, &loaded);
    if (status != expected || !strstr(tn_error_message(), words))
        fail_msg("%s: \"%s\", expected %s with \"%s\"", tn_status_name(status), tn_error_message(),
                 tn_status_name(expected), words);
}

/* ---- what is refused ---- */

static void gguf__keys_that_cannot_be_are_refused(void **state) {
    fixture *f = *state;
    static const uint32_t zero = 0, seven = 7, huge = 4000000000u, two = 2;
    static const float nan = NAN, half = 0.5f;
    const struct {
        edit edit;
        tn_status expected;
        const char *words;
    } cases[] = {
        {{.key = "general.architecture", .text = "qwen3"}, TN_E_UNSUPPORTED, "\"qwen3\", Tern runs"},
        {{.key = "general.architecture"}, TN_E_MISSING, "general.architecture"},
        {{.key = "bitnet-b1.58.block_count"}, TN_E_MISSING, "block_count"},
        {{.key = "bitnet-b1.58.block_count", .number = &zero}, TN_E_CORRUPT, "block_count is 0"},
        {{.key = "bitnet-b1.58.block_count", .number = &two}, TN_E_MISSING, "has no tensor blk.1.attn_norm.weight"},
        {{.key = "bitnet-b1.58.embedding_length", .number = &huge}, TN_E_CORRUPT, "is 4000000000, expected 8 to 65536"},
        {{.key = "bitnet-b1.58.context_length", .number = &huge}, TN_E_CORRUPT, "context_length"},
        {{.key = "bitnet-b1.58.attention.head_count_kv", .number = &seven},
         TN_E_CONFIG,
         "bad.gguf: model.n_kv_head 7 does not divide"},
        {{.key = "bitnet-b1.58.rope.freq_base", .real = &nan}, TN_E_CORRUPT, "freq_base is nan"},
        {{.key = "bitnet-b1.58.rope.scaling.factor", .real = &half}, TN_E_CORRUPT, "factor is 0.5, expected 1 to"},
        {{.key = "bitnet-b1.58.rope.scaling.type", .text = "yarn"}, TN_E_UNSUPPORTED, "type is \"yarn\", Tern has"},
        {{.key = "bitnet-b1.58.expert_count", .number = &seven}, TN_E_UNSUPPORTED, "expert_count is 7"},
        {{.key = "bitnet-b1.58.logit_scale", .real = &half}, TN_E_UNSUPPORTED, "logit_scale is 0.5"},
        {{.key = "bitnet-b1.58.hidden_activation", .text = "gelu"}, TN_E_UNSUPPORTED, "expected relu2 or silu"},
        {{.key = "bitnet-b1.58.attention.key_length", .number = &seven}, TN_E_UNSUPPORTED, "key_length is 7"},
        {{.key = "bitnet-b1.58.vocab_size", .number = &seven}, TN_E_CORRUPT, "vocab_size is 7"},
    };
    export_good(f, TN_EXPORT_I2_S);
    for (size_t i = 0; i < TN_COUNT(cases); i++) assert_refused(f, &cases[i].edit, cases[i].expected, cases[i].words);
}

static void gguf__a_message_names_the_file_once(void **state) {
    fixture *f = *state;
    const edit no_model = {.key = "tokenizer.ggml.model"};
    export_good(f, TN_EXPORT_I2_S);
    assert_refused(f, &no_model, TN_E_MISSING, "bad.gguf: has no key \"tokenizer.ggml.model\"");
    assert_null(strstr(strstr(tn_error_message(), "bad.gguf") + 1, "bad.gguf"));
}

static void gguf__tensors_that_cannot_be_are_refused(void **state) {
    fixture *f = *state;
    const size_t codes = 256 * 256 / 4; /* of attn_q; its scale follows */
    const struct {
        edit edit;
        tn_status expected;
        const char *words;
    } cases[] = {
        {{.drop = "blk.0.ffn_up.weight"}, TN_E_MISSING, "has no tensor blk.0.ffn_up.weight"},
        {{.drop = "token_embd.weight"}, TN_E_MISSING, "token_embd.weight"},
        {{.add = "output_norm.bias"}, TN_E_UNSUPPORTED, "output_norm.bias: Tern runs models without biases"},
        {{.add = "blk.0.attn_q_norm_in.weight"}, TN_E_MISMATCH, "blk.0.attn_q_norm_in.weight is not part"},
        {{.add = "blk.7.attn_q.scale", .added = 1}, TN_E_MISMATCH, "blk.7.attn_q.scale is not part"},
        {{.add = "blk.0.attn_norm.scale", .added = 1}, TN_E_MISMATCH, "blk.0.attn_norm.scale is not part"},
        {{.shape = "blk.0.ffn_up.weight"}, TN_E_MISMATCH, "ffn_up.weight is {512, 256"},
        {{.data = "blk.0.attn_q.weight", .from = 77, .count = 1, .byte = 0xff}, TN_E_CORRUPT, "attn_q"},
        {{.data = "blk.0.attn_q.weight", .from = codes, .count = 4, .byte = 0xff}, TN_E_CORRUPT, "scale"},
        {{.data = "blk.0.attn_q.weight", .from = codes, .count = 4}, TN_E_CORRUPT, "scale"},
        {{.add = "blk.0.attn_q.scale", .added = INFINITY}, TN_E_CORRUPT, "the scale of blk.0.attn_q.weight is inf"},
        {{.add = "blk.0.attn_q.scale", .added = -1}, TN_E_CORRUPT, "the scale of blk.0.attn_q.weight is -"},
        {{.data = "blk.0.attn_norm.weight", .from = 8, .count = 4, .byte = 0xff},
         TN_E_CORRUPT,
         "element 2 of blk.0.attn_norm"},
    };
    export_good(f, TN_EXPORT_I2_S);
    for (size_t i = 0; i < TN_COUNT(cases); i++) assert_refused(f, &cases[i].edit, cases[i].expected, cases[i].words);
}

static void keep_text(void *context, tn_log_level level, const char *room, const char *text) {
    tn_buf *kept = context;
    (void)room;
    if (level == TN_LOG_WARN) assert_ok(tn_buf_printf(kept, "%s\n", text));
}

static void gguf__matrices_of_zeros_are_named_in_a_warning(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    tn_buf text = {0};
    const edit e = {.data = "blk.0.attn_q.weight", .count = 256 * 256 / 4, .byte = 0x55};
    export_good(f, TN_EXPORT_I2_S);
    tn_log_set_sink(keep_text, &text);
    assert_ok(load(f, f->good, &loaded));
    tn_loaded_release(&loaded);
    assert_int_equal(text.len, 0);
    copy(f, &e);
    assert_ok(load(f, f->bad, &loaded));
    tn_loaded_release(&loaded);
    tn_log_set_sink(NULL, NULL);
    assert_non_null(strstr(tn_buf_text(&text), "every weight is zero in 1 of its matrices: blk.0.attn_q.weight"));
    tn_buf_release(&text);
}

static void gguf__floats_that_are_not_ternary_are_refused(void **state) {
    fixture *f = *state;
    const edit e = {.data = "blk.0.attn_k.weight", .from = 40, .count = 2, .byte = 0x3c};
    export_good(f, TN_EXPORT_F16);
    assert_refused(f, &e, TN_E_UNSUPPORTED, "blk.0.attn_k.weight is not ternary");
}

static void gguf__gives_no_latents(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    export_good(f, TN_EXPORT_I2_S);
    assert_int_equal(tn_model_file_load(f->good, f->arena, TN_MODEL_EVAL, &loaded), TN_E_UNSUPPORTED);
    assert_int_equal(tn_model_file_load(f->good, f->arena, TN_MODEL_TRAIN, &loaded), TN_E_UNSUPPORTED);
}

/* ---- what is understood ---- */

static int activation_of(fixture *f, const edit *e) {
    tn_loaded loaded;
    copy(f, e);
    assert_ok(load(f, f->bad, &loaded));
    int activation = tn_model_get_config(loaded.model)->activation;
    tn_loaded_release(&loaded);
    return activation;
}

static void gguf__the_activation_is_that_of_the_key_else_of_the_architecture(void **state) {
    fixture *f = *state;
    export_good(f, TN_EXPORT_I2_S);
    const edit none = {.key = "bitnet-b1.58.hidden_activation"};
    const edit silu = {.key = "bitnet-b1.58.hidden_activation", .text = "silu"};
    assert_int_equal(activation_of(f, &none), TN_ACTIVATION_RELU2);
    assert_int_equal(activation_of(f, &silu), TN_ACTIVATION_SILU);
    make(f, TN_TOKENIZER_BPE, "model.activation=silu");
    export_good(f, TN_EXPORT_I2_S);
    const edit foreign = {.foreign = true};
    assert_int_equal(activation_of(f, &foreign), TN_ACTIVATION_SILU);
}

static void gguf__a_scale_tensor_multiplies(void **state) {
    fixture *f = *state;
    tn_loaded a, b;
    const edit twice = {.add = "blk.0.ffn_gate.scale", .added = 2};
    export_good(f, TN_EXPORT_I2_S);
    copy(f, &twice);
    assert_ok(load(f, f->good, &a));
    assert_ok(load(f, f->bad, &b));
    const char *name = "blk.0.ffn_gate.weight";
    assert_true(tn_model_find(b.model, name)->scale == 2 * tn_model_find(a.model, name)->scale);
    tn_loaded_release(&a);
    tn_loaded_release(&b);
}

static void file__of_no_known_kind_is_refused(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    static const char *const texts[] = {"", "GG", "GGUF", "\x89HDF\r\n\x1a\n", "hello, this is a text"};
    static const tn_status expected[] = {TN_E_FORMAT, TN_E_FORMAT, TN_E_CORRUPT, TN_E_CORRUPT, TN_E_FORMAT};
    for (size_t i = 0; i < TN_COUNT(texts); i++) {
        assert_ok(tn_file_write(f->bad, texts[i], strlen(texts[i])));
        tn_status status = load(f, f->bad, &loaded);
        if (status != expected[i] && status != TN_E_FORMAT)
            fail_msg("\"%s\": %s: %s", texts[i], tn_status_name(status), tn_error_message());
    }
    assert_ok(tn_file_remove(f->bad));
    assert_int_equal(load(f, f->bad, &loaded), TN_E_MISSING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gguf__keys_that_cannot_be_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gguf__a_message_names_the_file_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gguf__tensors_that_cannot_be_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gguf__matrices_of_zeros_are_named_in_a_warning, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gguf__floats_that_are_not_ternary_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gguf__gives_no_latents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gguf__the_activation_is_that_of_the_key_else_of_the_architecture, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(gguf__a_scale_tensor_multiplies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(file__of_no_known_kind_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("model_file", tests, NULL, NULL);
}
