"""The command streams of a package, decoded once it is certain that this accelerator understands them."""

from nmc.errors import PackageError
from nmc.package import Package
from targets.gemm_accel import isa
from targets.gemm_accel.config import config_from
from targets.gemm_accel.program import Program


def programs_of(package: Package) -> list[Program]:
    """The program of each region, in order.

    Raises PackageError for another ISA version or a program that is for another accelerator than the manifest
    says, ProgramError for one that does not decode.
    """
    accelerator = package.manifest.accelerator
    if accelerator is None:
        return []
    model = package.manifest.model
    if accelerator.isa_version != isa.ISA_VERSION:
        raise PackageError(
            f"the package of '{model}' is for instruction set {accelerator.isa_version}, this nmc has"
            f" {isa.ISA_VERSION}: compile the model again"
        )
    config_hash = config_from(dict(accelerator.config)).hash
    programs = [Program.from_bytes(package.region_program(i)) for i in range(len(package.manifest.regions))]
    if config_hash.hex() != accelerator.config_hash or any(p.config_hash != config_hash for p in programs):
        raise PackageError(
            f"the commands of '{model}' are for another accelerator than its package says: compile it again"
        )
    return programs
