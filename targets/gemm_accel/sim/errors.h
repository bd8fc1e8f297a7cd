// The one error of the simulator: a program, or a run of it, that the accelerator refuses.
#ifndef NMC_ERRORS_H_
#define NMC_ERRORS_H_

#include <sstream>
#include <stdexcept>
#include <string>

namespace nmc {

class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws ProgramError with its arguments, streamed one after the other, as the message.
template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw ProgramError(text.str());
}

}  // namespace nmc

#endif  // NMC_ERRORS_H_
