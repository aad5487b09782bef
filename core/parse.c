/* SPDX-License-Identifier: MIT */
#include "core/config.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct unit {
    const char *name;
    double factor;
} unit;

static bool starts_number(const char *text) {
    if (*text == '-' || *text == '+') text++;
    return *text >= '0' && *text <= '9';
}

static int64_t count_factor(const char *suffix) {
    if (!*suffix) return 1;
    if (suffix[1]) return 0;
    switch (suffix[0]) {
    case 'k':
    case 'K': return 1000;
    case 'M': return 1000000;
    case 'G': return 1000000000;
    default: return 0;
    }
}

tn_status tn_parse_count(const char *what, const char *text, int64_t min, int64_t max, int64_t *out) {
    char *end = NULL;
    errno = 0;
    long long value = starts_number(text) ? strtoll(text, &end, 10) : 0;
    int64_t factor = end ? count_factor(end) : 0;
    if (!factor) return TN_FAIL(RANGE, "%s: \"%.60s\" is not a whole number (4096, 4k, 2M)", what, text);
    bool overflow = errno == ERANGE || value > INT64_MAX / factor || value < INT64_MIN / factor;
    if (overflow || value * factor < min || value * factor > max)
        return TN_FAIL(RANGE, "%s: %.60s is outside %lld..%lld", what, text, (long long)min, (long long)max);
    *out = value * factor;
    return TN_OK;
}

tn_status tn_parse_int(const char *what, const char *text, int min, int max, int *out) {
    int64_t value;
    TN_TRY(tn_parse_count(what, text, min, max, &value));
    *out = (int)value;
    return TN_OK;
}

/* A finite decimal number; what follows it goes to `end`. strtod alone would also take inf, nan, spaces and 0x10. */
static bool read_real(const char *text, double *value, char **end) {
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == '.') digits++;
    if (*digits < '0' || *digits > '9') return false;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) return false;
    *value = strtod(text, end);
    return isfinite(*value);
}

tn_status tn_parse_real(const char *what, const char *text, double min, double max, double *out) {
    char *end;
    double value;
    if (!read_real(text, &value, &end) || *end) return TN_FAIL(RANGE, "%s: \"%.60s\" is not a number", what, text);
    if (value < min || value > max) return TN_FAIL(RANGE, "%s: %.60s is outside %g..%g", what, text, min, max);
    *out = value;
    return TN_OK;
}

static bool is_one_of(const char *text, const char *const *words) {
    for (; *words; words++)
        if (strcasecmp(text, *words) == 0) return true;
    return false;
}

tn_status tn_parse_bool(const char *what, const char *text, bool *out) {
    static const char *const yes[] = {"true", "on", "yes", "1", "enabled", NULL};
    static const char *const no[] = {"false", "off", "no", "0", "disabled", NULL};
    *out = is_one_of(text, yes);
    if (*out || is_one_of(text, no)) return TN_OK;
    return TN_FAIL(RANGE, "%s: \"%.60s\" is neither true nor false", what, text);
}

/* The next word of "adamw|sgd": its length, 0 at the end; moves `choices` past it. */
static size_t next_choice(const char **choices, const char **word) {
    *word = *choices;
    size_t len = strcspn(*choices, "|");
    *choices += len + ((*choices)[len] == '|');
    return len;
}

tn_status tn_parse_choice(const char *what, const char *text, const char *choices, int *out) {
    const char *rest = choices, *word;
    size_t len, text_len = strlen(text);
    for (int i = 0; (len = next_choice(&rest, &word)) > 0; i++) {
        if (text_len != len || memcmp(text, word, len) != 0) continue;
        *out = i;
        return TN_OK;
    }
    return TN_FAIL(RANGE, "%s: \"%.60s\" is not one of %s", what, text, choices);
}

const char *tn_config_choice_name(const char *choices, int value, char *out, size_t size) {
    const char *word;
    size_t len = next_choice(&choices, &word);
    for (int i = 0; i < value && len; i++) len = next_choice(&choices, &word);
    snprintf(out, size, "%.*s", (int)len, word);
    return out;
}

/* A number that is not negative, followed by the name of a unit. */
static bool read_with_unit(const char *text, const unit *units, double *out) {
    char *end;
    double value;
    if (!read_real(text, &value, &end) || value < 0) return false;
    for (; units->name; units++)
        if (strcmp(end, units->name) == 0) {
            *out = value * units->factor;
            return true;
        }
    return false;
}

tn_status tn_parse_size(const char *what, const char *text, int64_t *bytes) {
    static const unit units[] = {{"", 1}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {NULL, 0}};
    double value;
    if (!read_with_unit(text, units, &value) || value > 0x1p62)
        return TN_FAIL(RANGE, "%s: \"%.60s\" is not a size (bytes, or a number with KiB, MiB or GiB)", what, text);
    *bytes = (int64_t)value;
    return TN_OK;
}

tn_status tn_parse_seconds(const char *what, const char *text, double *seconds) {
    static const unit units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {NULL, 0}};
    if (!read_with_unit(text, units, seconds))
        return TN_FAIL(RANGE, "%s: \"%.60s\" is not a time (seconds, or a number with s, m or h)", what, text);
    return TN_OK;
}

enum { NAME_MAX_COMPARED = 63 };

static int min3(int a, int b, int c) { return TN_MIN(a, TN_MIN(b, c)); }

int tn_edit_distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > NAME_MAX_COMPARED || m > NAME_MAX_COMPARED) return INT_MAX;
    int d[NAME_MAX_COMPARED + 1][NAME_MAX_COMPARED + 1]; /* d[i][j]: from the first i of a to the first j of b */
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            d[i][j] = min3(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]), d[i - 1][j] + 1, d[i][j - 1] + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) d[i][j] = TN_MIN(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

const char *tn_nearest_name(const char *text, const char *const *names, int count) {
    const char *best = NULL;
    int limit = TN_MAX((int)strlen(text) / 3, 1);
    for (int i = 0; i < count; i++) {
        int distance = tn_edit_distance(text, names[i]);
        if (distance > limit) continue;
        best = names[i];
        limit = distance - 1; /* only a nearer one replaces it */
    }
    return best;
}
