// A C door to RE2: regular expressions that are matched in time linear in the text.
// Only what MeshPrimitives needs; no exception crosses it. Threads: a compiled expression may be used from any.
#ifndef CRE2_H
#define CRE2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cre2_expression cre2_expression;

/// Compiles `pattern` (UTF-8). NULL if it is wrong; `error` then holds the reason, NUL-terminated.
cre2_expression *cre2_compile(
    const uint8_t *pattern, size_t length, bool ignores_case, char *error, size_t error_capacity);
void cre2_free(cre2_expression *expression);

/// Number of capturing groups.
int cre2_group_count(const cre2_expression *expression);

/// Whether the whole text matches.
bool cre2_matches(const cre2_expression *expression, const uint8_t *text, size_t length);
/// Whether a part of the text matches.
bool cre2_finds(const cre2_expression *expression, const uint8_t *text, size_t length);

/// Whether `rewrite` (`\0` … `\9`, `\\`) refers to groups that exist; `error` tells if not.
bool cre2_check_rewrite(
    const cre2_expression *expression, const uint8_t *rewrite, size_t length, char *error, size_t error_capacity);
/// Replaces every match that does not overlap the one before. The result is malloc'ed, for the caller to free; NULL if
/// nothing matches or there is no memory.
uint8_t *cre2_replace_all(
    const cre2_expression *expression, const uint8_t *text, size_t length, const uint8_t *rewrite,
    size_t rewrite_length, size_t *result_length);

#ifdef __cplusplus
}
#endif

#endif
