// Takes little-endian numbers and text off the front of bytes, and never reads beyond their end.
#ifndef NMC_BYTE_READER_H_
#define NMC_BYTE_READER_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "errors.h"

namespace nmc {

class ByteReader {
 public:
  explicit ByteReader(std::string_view data) : data_(data) {}

  size_t position() const { return position_; }
  size_t remaining() const { return data_.size() - position_; }

  std::string_view take(size_t size) {
    if (size > remaining()) fail("the program is damaged: it ends too early; compile the model again");
    position_ += size;
    return data_.substr(position_ - size, size);
  }

  template <typename T>
  T integer() {
    static_assert(std::is_integral_v<T>);
    const std::string_view bytes = take(sizeof(T));
    std::make_unsigned_t<T> value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      value = static_cast<std::make_unsigned_t<T>>(
          value | static_cast<std::make_unsigned_t<T>>(static_cast<uint8_t>(bytes[i])) << (8 * i));
    }
    return static_cast<T>(value);
  }

  // An enumeration whose values are 0..count-1.
  template <typename T>
  T enumeration(int count, const char* field) {
    const uint8_t value = integer<uint8_t>();
    if (value >= count) {
      fail("the program is damaged: byte ", position_ - 1, " of its commands is ", int{value}, ", which is no ", field);
    }
    return static_cast<T>(value);
  }

  std::string text() {
    const uint32_t size = integer<uint32_t>();
    return std::string(take(size));
  }

  [[noreturn]] void fail_opcode(size_t position, uint8_t opcode) const {
    fail("byte ", position, " of the program is ", int{opcode}, ", which is no opcode");
  }

 private:
  std::string_view data_;
  size_t position_ = 0;
};

}  // namespace nmc

#endif  // NMC_BYTE_READER_H_
