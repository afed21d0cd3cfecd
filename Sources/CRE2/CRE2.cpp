#include "CRE2.h"

#include <re2/re2.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

struct cre2_expression {
  RE2 expression;

  cre2_expression(const re2::StringPiece &pattern, const RE2::Options &options) : expression(pattern, options) {}
};

namespace {

re2::StringPiece piece(const uint8_t *bytes, size_t length) {
  return re2::StringPiece(reinterpret_cast<const char *>(bytes), length);
}

void copy(const std::string &text, char *buffer, size_t capacity) {
  if (capacity == 0) return;
  size_t count = text.size() < capacity - 1 ? text.size() : capacity - 1;
  std::memcpy(buffer, text.data(), count);
  buffer[count] = 0;
}

}  // namespace

cre2_expression *cre2_compile(
    const uint8_t *pattern, size_t length, bool ignores_case, char *error, size_t error_capacity) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_case_sensitive(!ignores_case);
  auto *result = new (std::nothrow) cre2_expression(piece(pattern, length), options);
  if (result == nullptr) {
    copy("out of memory", error, error_capacity);
    return nullptr;
  }
  if (result->expression.ok()) return result;
  copy(result->expression.error(), error, error_capacity);
  delete result;
  return nullptr;
}

void cre2_free(cre2_expression *expression) { delete expression; }

int cre2_group_count(const cre2_expression *expression) { return expression->expression.NumberOfCapturingGroups(); }

bool cre2_matches(const cre2_expression *expression, const uint8_t *text, size_t length) {
  return RE2::FullMatch(piece(text, length), expression->expression);
}

bool cre2_finds(const cre2_expression *expression, const uint8_t *text, size_t length) {
  return RE2::PartialMatch(piece(text, length), expression->expression);
}

bool cre2_check_rewrite(
    const cre2_expression *expression, const uint8_t *rewrite, size_t length, char *error, size_t error_capacity) {
  std::string reason;
  if (expression->expression.CheckRewriteString(piece(rewrite, length), &reason)) return true;
  copy(reason, error, error_capacity);
  return false;
}

uint8_t *cre2_replace_all(
    const cre2_expression *expression, const uint8_t *text, size_t length, const uint8_t *rewrite,
    size_t rewrite_length, size_t *result_length) {
  std::string result(reinterpret_cast<const char *>(text), length);
  if (RE2::GlobalReplace(&result, expression->expression, piece(rewrite, rewrite_length)) == 0) return nullptr;
  auto *copied = static_cast<uint8_t *>(std::malloc(result.size() + 1));
  if (copied == nullptr) return nullptr;
  std::memcpy(copied, result.data(), result.size());
  *result_length = result.size();
  return copied;
}
