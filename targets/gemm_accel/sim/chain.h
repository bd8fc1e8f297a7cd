// Follows the streams of the compute queue: each is consumed whole by the next command of that queue.
#ifndef NMC_CHAIN_H_
#define NMC_CHAIN_H_

#include "program.h"

namespace nmc {

// Whether a command continues the chain of the one before it in the compute queue.
bool takes_stream(const isa::Command& command);

class Chain {
 public:
  // The next command of the list. Throws ProgramError for a stream that is not there, not consumed, or of another type
  // or length than its consumer expects.
  void follow(const isa::Command& command);

 private:
  bool pending_ = false;
  isa::Type type_{};
  int64_t elements_ = 0;
};

}  // namespace nmc

#endif  // NMC_CHAIN_H_
