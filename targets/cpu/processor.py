"""The processors that host code is made for: this one, or any that a package may meet."""

from collections.abc import Sequence

from tvm.target import Target, codegen

WIDE_VECTORS = "x86-64-v3"
"""A level of processors that LLVM knows by name, each with the features below: vectors of 32 bytes."""
WIDE_VECTOR_FEATURES = ("avx2", "bmi2", "f16c", "fma", "lzcnt", "movbe")


def host_target() -> Target:
    """The processor this runs on, with all its instructions."""
    return Target({"kind": "llvm", "mcpu": str(codegen.llvm_get_system_cpu())})


def package_features() -> tuple[str, ...]:
    """What the code of a package made here needs of a processor beyond its family's base: the features of one level or
    none, not this processor's own, so that packages are equal bytes and give equal results on almost all machines."""
    return () if missing_features(WIDE_VECTOR_FEATURES) else WIDE_VECTOR_FEATURES


def package_target() -> Target:
    """What the code of a package made here is for: processors that have `package_features`."""
    return Target({"kind": "llvm", "mcpu": WIDE_VECTORS} if package_features() else {"kind": "llvm"})


def missing_features(features: Sequence[str]) -> list[str]:
    """Those of some features that this processor has not."""
    here = {str(feature) for feature in codegen.llvm_get_cpu_features(host_target())}
    return [feature for feature in features if feature not in here]
