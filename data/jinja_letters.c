/* SPDX-License-Identifier: MIT
 * jinja_letters.c - characters: white space, upper and lower case, what Python prints as it is. */
#include "data/jinja_priv.h"

#include "core/utf8.h"

#include <locale.h>
#include <string.h>
#include <wctype.h>

bool tn_jinja_is_space(uint32_t code) {
    if (code <= 0x20) return (code >= 0x09 && code <= 0x0D) || code >= 0x1C;
    if (code < 0x80) return false;
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

static bool is_stripped(const char *at, size_t n, const tn_jinja_text *chars) {
    uint32_t code;
    if (chars) return tn_jinja_search(*chars, 0, (tn_jinja_text){at, n}) != SIZE_MAX;
    tn_utf8_decode(at, &code);
    return tn_jinja_is_space(code);
}

/* Where the character that ends at `end` begins. */
static size_t character_before(tn_jinja_text t, size_t end) {
    do end--;
    while ((t.at[end] & 0xC0) == 0x80);
    return end;
}

tn_jinja_text tn_jinja_stripped(tn_jinja_text t, const tn_jinja_text *chars, int sides) {
    uint32_t code;
    size_t n;
    while ((sides & TN_JINJA_LEFT) && t.len) {
        n = tn_utf8_decode(t.at, &code);
        if (!is_stripped(t.at, n, chars)) break;
        t = (tn_jinja_text){t.at + n, t.len - n};
    }
    while ((sides & TN_JINJA_RIGHT) && t.len) {
        n = character_before(t, t.len);
        if (!is_stripped(t.at + n, t.len - n, chars)) break;
        t.len = n;
    }
    return t;
}

size_t tn_jinja_length(tn_jinja_text t) {
    size_t n = 0;
    for (size_t i = 0; i < t.len; i++) n += (t.at[i] & 0xC0) != 0x80;
    return n;
}

size_t tn_jinja_search(tn_jinja_text t, size_t from, tn_jinja_text part) {
    if (part.len > t.len - from) return SIZE_MAX;
    if (!part.len) return from;
    const char *found = memmem(t.at + from, t.len - from, part.at, part.len);
    return found ? (size_t)(found - t.at) : SIZE_MAX;
}

bool tn_jinja_starts(tn_jinja_text t, tn_jinja_text start) {
    return start.len <= t.len && (!start.len || memcmp(t.at, start.at, start.len) == 0);
}

bool tn_jinja_ends(tn_jinja_text t, tn_jinja_text end) {
    return end.len <= t.len && (!end.len || memcmp(t.at + t.len - end.len, end.at, end.len) == 0);
}

/* ---- what needs tables ---- */

static tn_status get_locale(tn_jinja_run *run, locale_t *out) {
    if (!run->locale) run->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!run->locale)
        return RUN_FAIL(run, UNSUPPORTED, "letters beyond ASCII need the locale C.UTF-8, which is not installed");
    *out = run->locale;
    return TN_OK;
}

void tn_jinja_letters_release(tn_jinja_run *run) {
    if (run->locale) freelocale(run->locale);
    run->locale = NULL;
}

static tn_status put_upper(tn_jinja_run *run, uint32_t code, locale_t locale) {
    static const struct {
        uint32_t code;
        const char *text;
    } several[] = {
#define UPPER(code, text) {code, text},
#include "data/letters.def"
    };
    char bytes[4];
    for (size_t i = 0; i < TN_COUNT(several); i++)
        if (several[i].code == code) return tn_jinja_put(run, several[i].text, strlen(several[i].text));
    return tn_jinja_put(run, bytes, tn_utf8_encode((uint32_t)towupper_l(code, locale), bytes));
}

static tn_status put_letter(tn_jinja_run *run, uint32_t code, bool upper, bool *has_case) {
    char bytes[4];
    locale_t locale;
    if (code < 0x80) {
        bool is_lower = code >= 'a' && code <= 'z', is_upper = code >= 'A' && code <= 'Z';
        *has_case = is_lower || is_upper;
        bytes[0] = (char)((upper && is_lower) || (!upper && is_upper) ? code ^ 0x20 : code);
        return tn_jinja_put(run, bytes, 1);
    }
    TN_TRY(get_locale(run, &locale));
    uint32_t lower = (uint32_t)towlower_l(code, locale);
    *has_case = lower != code || (uint32_t)towupper_l(code, locale) != code;
    return upper ? put_upper(run, code, locale) : tn_jinja_put(run, bytes, tn_utf8_encode(lower, bytes));
}

/* Whether the letter after this one begins a word. */
static bool begins_word(tn_jinja_case how, uint32_t code, bool has_case) {
    if (how == TN_JINJA_TITLE) return !has_case;
    return how == TN_JINJA_WORDS && (tn_jinja_is_space(code) || (code < 0x80 && strchr("-({[<", (int)code)));
}

tn_status tn_jinja_put_case(tn_jinja_run *run, tn_jinja_text t, tn_jinja_case how) {
    bool begins = how != TN_JINJA_LOWER, has_case;
    for (size_t i = 0; i < t.len;) {
        uint32_t code;
        i += tn_utf8_decode(t.at + i, &code);
        TN_TRY(put_letter(run, code, begins || how == TN_JINJA_UPPER, &has_case));
        begins = begins_word(how, code, has_case);
    }
    return TN_OK;
}

/* glibc prints spaces, formats and private characters, Python's repr() does not. */
tn_status tn_jinja_prints(tn_jinja_run *run, uint32_t code, bool *out) {
    static const uint32_t hidden[][2] = {{0xA0, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
                                         {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},
                                         {0x1680, 0x1680},   {0x180E, 0x180E},   {0x2000, 0x200F},   {0x2028, 0x202F},
                                         {0x205F, 0x206F},   {0x3000, 0x3000},   {0xE000, 0xF8FF},   {0xFEFF, 0xFEFF},
                                         {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F},
                                         {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0x10FFFF}};
    locale_t locale;
    TN_TRY(get_locale(run, &locale));
    *out = iswprint_l(code, locale);
    for (size_t i = 0; i < TN_COUNT(hidden); i++)
        if (code >= hidden[i][0] && code <= hidden[i][1]) *out = code >= 0xE0100 && code <= 0xE01EF;
    return TN_OK;
}
