// Copies of contiguous bytes, most of them short.
#pragma once

#include <cstdint>
#include <cstring>

namespace nmc {

// A call of the library costs more than the few words that most runs have; the last one overlaps the one before it.
inline void copy_run(const uint8_t* from, int64_t bytes, uint8_t* to) {
  constexpr int64_t kWord = 8, kFewWords = 16;
  if (bytes > kWord * kFewWords) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return;
  }
  if (bytes < kWord) {
    for (int64_t i = 0; i < bytes; ++i) to[i] = from[i];
    return;
  }
  for (int64_t i = 0; i < bytes - kWord; i += kWord) std::memcpy(to + i, from + i, kWord);
  std::memcpy(to + bytes - kWord, from + bytes - kWord, kWord);
}

}  // namespace nmc
