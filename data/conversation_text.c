/* SPDX-License-Identifier: MIT
 * conversation_text.c - messages through the chat template, and where in the text stands what the assistant says. */
#include "core/log.h"
#include "data/examples_priv.h"
#include "data/grow.h"

#include <string.h>

/* What templates that tell the date are told: the same data are the same tokens on any day. */
static const int64_t FIXED_DATE = 1721952000; /* 2024-07-26, which Llama's templates fall back to */

tn_status tn_regions_add(tn_regions *regions, size_t begin, size_t end, bool learnt) {
    TN_GROW(regions->list, &regions->cap, regions->count + 1);
    regions->list[regions->count++] = (tn_region){begin, end, learnt};
    return TN_OK;
}

void tn_marked_text_release(tn_marked_text *text) {
    tn_chat_text_release(&text->chat);
    tn_heap_free(text->turns.list);
    tn_heap_free(text->holes.list);
    *text = (tn_marked_text){0};
}

/* ---- the template ---- */

static tn_status open_template(tn_example_maker *m) {
    const char *setting = m->options->chat_template, *source;
    if (m->chat_template) return TN_OK;
    bool own = !setting || strcmp(setting, "model") == 0;
    TN_TRY(tn_chat_template_choose(&m->chat_template, m->tokenizer, own ? NULL : setting, &source));
    if (strcmp(source, "none") == 0 && own)
        tn_log(TN_LOG_WARN, "data",
               "the tokenizer has no chat template, so conversations are their contents and nothing else "
               "(data.chat_template none); plain sets answers apart, chatml, llama3 or a file say who speaks");
    else
        tn_log(TN_LOG_INFO, "data", "conversations go through %s", own ? source : setting);
    return TN_OK;
}

static tn_chat_prompt prompt_of(const tn_example_maker *m, const tn_row *row, const json_t *messages,
                                bool answer_follows) {
    return (tn_chat_prompt){.chat_template = m->chat_template,
                            .messages = messages,
                            .tools = row->tools,
                            .add_generation_prompt = answer_follows,
                            .now = FIXED_DATE};
}

static tn_status render(const tn_example_maker *m, const tn_row *row, const json_t *messages, bool answer_follows,
                        tn_chat_text *out) {
    const tn_chat_prompt prompt = prompt_of(m, row, messages, answer_follows);
    return tn_chat_prompt_render(m->tokenizer, &prompt, out);
}

tn_status tn_conversation_ask(tn_example_maker *m, const tn_row *row, const json_t *messages, tn_ids *ids) {
    TN_TRY(open_template(m));
    const tn_chat_prompt prompt = prompt_of(m, row, messages, true);
    return tn_chat_prompt_encode(m->tokenizer, &prompt, ids);
}

/* ---- which answers are learnt ---- */

static bool is_assistant(const json_t *messages, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
    return role && strcmp(role, "assistant") == 0;
}

static size_t last_answer(const json_t *messages) {
    size_t i = json_array_size(messages);
    while (i && !is_assistant(messages, i - 1)) i--;
    return i ? i - 1 : 0;
}

static bool is_learnt(const tn_example_maker *m, const tn_row *row, const tn_said *said, size_t i) {
    bool compared = row->kind == TN_ROW_PREFERENCE || row->kind == TN_ROW_KTO;
    bool has_prompt = compared || row->kind == TN_ROW_COMPLETION;
    size_t from = has_prompt && (compared || m->options->loss_on != TN_LOSS_ASSISTANT) ? said->answer : 0;
    if (!has_prompt && m->options->loss_on == TN_LOSS_COMPLETION) from = last_answer(said->messages);
    return i >= from && tn_message_is_learnt(json_array_get(said->messages, i));
}

/* ---- where they stand ---- */

/* The template has marked every answer. */
static tn_status take_marked(const tn_example_maker *m, const tn_row *row, const tn_said *said, tn_marked_text *out) {
    const tn_jinja_spans *marked = &out->chat.answers;
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(said->messages); i++) {
        if (!is_assistant(said->messages, i)) continue;
        if (n < marked->count)
            TN_TRY(tn_regions_add(&out->turns, marked->list[n].begin, marked->list[n].end, is_learnt(m, row, said, i)));
        n++;
    }
    if (n == marked->count) return TN_OK;
    return TN_FAIL(MISMATCH, "the chat template has %zu generation blocks for %zu messages of the assistant",
                   marked->count, n);
}

static bool begins_with(const tn_buf *text, const tn_buf *start) {
    return text->len >= start->len && memcmp(tn_buf_text(text), tn_buf_text(start), start->len) == 0;
}

static const char white[] = " \t\r\n";

/* The words without the white space around them. */
static void strip(const char **text, size_t *len) {
    while (*len && memchr(white, **text, 4)) ++*text, --*len;
    while (*len && memchr(white, (*text)[*len - 1], 4)) --*len;
}

/* Where the words of a JSON string stand in bytes [begin, end) of the text; false: nowhere, or there are none. */
static bool find_words(const tn_buf *text, size_t begin, size_t end, const json_t *words, size_t *at, size_t *len) {
    const char *wanted = json_string_value(words), *found;
    *len = json_string_length(words);
    if (!wanted || begin >= end) return false;
    strip(&wanted, len);
    found = *len ? memmem(text->data + begin, end - begin, wanted, *len) : NULL;
    if (found) *at = (size_t)(found - text->data);
    return found;
}

/* The conversation up to an answer, and what is compared: the whole text, and the place for the rendering of a part. */
typedef struct comparison {
    const tn_example_maker *maker;
    const tn_row *row;
    json_t *shown;
    const tn_buf *whole;
    tn_chat_text *part;
} comparison;

static tn_status no_memory(void) { return TN_FAIL(NOMEM, "out of memory for messages"); }

/* EOS that some templates put behind all, unless an answer is to follow, is no part of what comes before more. */
static void drop_eos(const comparison *c) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(c->maker->tokenizer);
    tn_buf *text = &c->part->text;
    size_t len = v->eos >= 0 ? v->lens[v->eos] : 0;
    if (len && text->len >= len && memcmp(text->data + text->len - len, v->texts[v->eos], len) == 0) text->len -= len;
}

/* Render what is shown; whether the whole text begins so, and how far. */
static tn_status render_part(const comparison *c, bool answer_follows, bool *same, size_t *len) {
    TN_TRY(render(c->maker, c->row, c->shown, answer_follows, c->part));
    *same = begins_with(c->whole, &c->part->text);
    if (!*same) drop_eos(c), *same = begins_with(c->whole, &c->part->text);
    *len = c->part->text.len;
    return TN_OK;
}

static tn_status fail_otherwise(size_t i) {
    return TN_FAIL(MISMATCH,
                   "the chat template writes the messages up to messages[%zu] otherwise when more follow, so where the "
                   "answer stands is not known; data.loss_on completion learns the last answer alone, and all, or a "
                   "data.chat_template with {%% generation %%} blocks, needs no comparison",
                   i);
}

static bool is_white(const tn_buf *text, size_t begin, size_t end) {
    while (begin < end && memchr(white, text->data[begin], 4)) begin++;
    return begin >= end;
}

/* A template that knows no generation prompt (`before` bytes are shown with one, `bare` without) leaves the head of the
 * answer behind `before`, which then ends where the words begin. White space is no head: the model writes it. */
static tn_status skip_head(const comparison *c, const json_t *message, size_t i, size_t bare, size_t after,
                           size_t *before) {
    size_t at, len;
    bool found = find_words(c->whole, *before, after, json_object_get(message, "content"), &at, &len);
    if (bare != *before || !len || (found && is_white(c->whole, *before, at))) return TN_OK;
    if (found) return *before = at, TN_OK;
    return TN_FAIL(MISMATCH,
                   "the chat template knows no add_generation_prompt and does not write messages[%zu] as it stands, so "
                   "where the answer begins is not known",
                   i);
}

/* Where answer `i` stands, as far as the text up to it, and with it, begins the whole; one that is not learnt may stand
 * anywhere. */
static tn_status compare_answer(const comparison *c, json_t *message, size_t i, bool learnt, tn_regions *turns) {
    size_t last = turns->count ? turns->list[turns->count - 1].end : 0, bare, before, after;
    bool same, so_far;
    TN_TRY(render_part(c, false, &same, &bare));
    TN_TRY(render_part(c, true, &so_far, &before));
    if (json_array_append(c->shown, message)) return no_memory();
    TN_TRY(render_part(c, false, &same, &after));
    if (!so_far || !same || after < before)
        return learnt ? fail_otherwise(i) : tn_regions_add(turns, last, last, false);
    TN_TRY(skip_head(c, message, i, bare, after, &before));
    return tn_regions_add(turns, before, after, learnt);
}

static tn_status compare_answers(const comparison *c, const tn_said *said, tn_regions *turns) {
    for (size_t i = 0; i < json_array_size(said->messages); i++) {
        json_t *message = json_array_get(said->messages, i);
        if (is_assistant(said->messages, i))
            TN_TRY(compare_answer(c, message, i, is_learnt(c->maker, c->row, said, i), turns));
        else if (json_array_append(c->shown, message))
            return no_memory();
    }
    return TN_OK;
}

static tn_status take_compared(const tn_example_maker *m, const tn_row *row, const tn_said *said, tn_marked_text *out) {
    tn_chat_text part = {0};
    const comparison c = {m, row, json_array(), &out->chat.text, &part};
    tn_status status = c.shown ? compare_answers(&c, said, &out->turns) : no_memory();
    json_decref(c.shown);
    tn_chat_text_release(&part);
    return status;
}

/* Thoughts taken out, quotes escaped: the words that are learnt are not those of the row. */
static void warn_of_other_words(tn_example_maker *m, const tn_row *row, const tn_said *said,
                                const tn_marked_text *text) {
    size_t turn = 0, at, len;
    for (size_t i = 0; i < json_array_size(said->messages) && !m->told_words; i++) {
        if (!is_assistant(said->messages, i)) continue;
        const tn_region *r = &text->turns.list[turn++];
        const json_t *words = json_object_get(json_array_get(said->messages, i), "content");
        if (!r->learnt || find_words(&text->chat.text, r->begin, r->end, words, &at, &len) || !len) continue;
        m->told_words = true;
        tn_log(TN_LOG_WARN, "data",
               "%s:%lld: the chat template does not write messages[%zu] as it stands, so other words than its own are "
               "learnt; tern data inspect shows them",
               row->path, (long long)row->line, i);
    }
}

/* ---- parts that are not learnt ---- */

static tn_status add_holes(const json_t *content, size_t message, const tn_region *turn, tn_marked_text *out) {
    size_t from = turn->begin, at, len;
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i), *words = json_object_get(part, "text");
        bool found = find_words(&out->chat.text, from, turn->end, words, &at, &len);
        if (!found && len && !tn_message_is_learnt(part))
            return TN_FAIL(MISMATCH,
                           "\"messages[%zu].content[%zu]\" is not as it stands in what the chat template wrote, so its "
                           "weight cannot be kept",
                           message, i);
        if (!found) continue;
        if (!tn_message_is_learnt(part)) TN_TRY(tn_regions_add(&out->holes, at, at + len, false));
        from = at + len;
    }
    return TN_OK;
}

static tn_status add_all_holes(const json_t *messages, tn_marked_text *out) {
    size_t turn = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        if (!is_assistant(messages, i)) continue;
        TN_TRY(add_holes(json_object_get(json_array_get(messages, i), "content"), i, &out->turns.list[turn++], out));
    }
    return TN_OK;
}

/* ---- all of it ---- */

static void tell_of_bos(tn_example_maker *m, const tn_chat_text *text) {
    if (m->told_bos || !text->begins_with_bos || !tn_tokenizer_vocabulary(m->tokenizer)->add_bos) return;
    m->told_bos = true;
    tn_log(TN_LOG_INFO, "data", "the chat template writes BOS itself, so the tokenizer adds none");
}

tn_status tn_conversation_text(tn_example_maker *m, const tn_row *row, const tn_said *said, tn_marked_text *out) {
    size_t count = json_array_size(said->messages);
    TN_TRY(open_template(m));
    TN_TRY(render(m, row, said->messages, false, &out->chat));
    tell_of_bos(m, &out->chat);
    out->text = tn_buf_text(&out->chat.text);
    out->len = out->chat.text.len;
    out->specials = true;
    out->wants_bos = tn_chat_text_wants_bos(m->tokenizer, &out->chat);
    out->wants_eos = count && is_assistant(said->messages, count - 1);
    out->all = m->options->loss_on == TN_LOSS_ALL && row->kind != TN_ROW_PREFERENCE && row->kind != TN_ROW_KTO;
    if (out->chat.answers.count)
        TN_TRY(take_marked(m, row, said, out));
    else if (!out->all)
        TN_TRY(take_compared(m, row, said, out));
    if (!out->turns.count || out->all) return TN_OK;
    warn_of_other_words(m, row, said, out);
    return add_all_holes(said->messages, out);
}
