/* SPDX-License-Identifier: MIT */
#include "data/chat_prompt.h"

#include <string.h>

/* Models whose file brings no template, known by a token. */
static const struct {
    const char *token, *name;
} chat_hints[] = {{"<|im_start|>", "chatml"}, {"<|start_header_id|>", "llama3"}};

static const char *hinted_name(const tn_tokenizer *tokenizer) {
    for (size_t i = 0; i < TN_COUNT(chat_hints); i++)
        if (tn_tokenizer_find(tokenizer, chat_hints[i].token, strlen(chat_hints[i].token)) >= 0)
            return chat_hints[i].name;
    return "none";
}

tn_status tn_chat_template_choose(tn_chat_template **out, const tn_tokenizer *tokenizer, const char *setting,
                                  const char **source) {
    const char *own = tn_tokenizer_vocabulary(tokenizer)->chat_template;
    *source = setting;
    if (setting) return tn_chat_template_open(out, setting);
    *source = "the model's own chat template";
    if (*own) return tn_chat_template_create(out, "chat template of the model", own, strlen(own));
    *source = hinted_name(tokenizer);
    return tn_chat_template_open(out, *source);
}

bool tn_chat_template_is_name(const char *setting) {
    int count;
    const char *const *names = tn_chat_template_names(&count);
    for (int i = 0; i < count; i++)
        if (strcmp(setting, names[i]) == 0) return true;
    return strcmp(setting, "model") == 0;
}

static const char *token_text(const tn_vocabulary *v, int id) { return id >= 0 ? v->texts[id] : NULL; }

tn_status tn_chat_prompt_render(const tn_tokenizer *tokenizer, const tn_chat_prompt *prompt, tn_chat_text *out) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    const tn_chat chat = {.messages = prompt->messages,
                          .tools = prompt->tools,
                          .variables = prompt->variables,
                          .bos = token_text(v, v->bos),
                          .eos = token_text(v, v->eos),
                          .add_generation_prompt = prompt->add_generation_prompt,
                          .now = prompt->now};
    return tn_chat_template_render(prompt->chat_template, &chat, out);
}

bool tn_chat_text_wants_bos(const tn_tokenizer *tokenizer, const tn_chat_text *text) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    return v->add_bos && v->bos >= 0 && !text->begins_with_bos;
}

tn_status tn_chat_prompt_encode(const tn_tokenizer *tokenizer, const tn_chat_prompt *prompt, tn_ids *ids) {
    tn_chat_text text = {0};
    tn_status status = tn_chat_prompt_render(tokenizer, prompt, &text);
    if (!status && tn_chat_text_wants_bos(tokenizer, &text))
        status = tn_ids_append(ids, tn_tokenizer_vocabulary(tokenizer)->bos);
    if (!status) status = tn_tokenizer_encode(tokenizer, tn_buf_text(&text.text), text.text.len, true, ids);
    tn_chat_text_release(&text);
    return status;
}
