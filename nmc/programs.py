"""The command streams of a package, decoded once it is certain that this accelerator understands them."""

from nmc.errors import PackageError
from nmc.manifest import Manifest
from nmc.package import Package
from targets.gemm_accel import isa
from targets.gemm_accel.config import config_from
from targets.gemm_accel.program import Program

NO_COMMANDS = "there are no commands: nothing of this model runs on the accelerator"


def check_accelerator(manifest: Manifest) -> None:
    """Raises PackageError unless this nmc understands the instructions and the configuration of a package."""
    accelerator = manifest.accelerator
    if accelerator is None:
        return
    if accelerator.isa_version != isa.ISA_VERSION:
        raise PackageError(
            f"the package of '{manifest.model}' is for instruction set {accelerator.isa_version},"
            f" this nmc has {isa.ISA_VERSION}: compile the model again"
        )
    if config_from(dict(accelerator.config)).hash.hex() != accelerator.config_hash:
        raise PackageError(
            f"the accelerator that the package of '{manifest.model}' describes is not the one it names:"
            " compile the model again"
        )


def programs_of(package: Package) -> list[Program]:
    """The program of each region, in order.

    Raises PackageError for another ISA version or a program that is for another accelerator than the manifest
    says, ProgramError for one that does not decode.
    """
    check_accelerator(package.manifest)
    accelerator = package.manifest.accelerator
    if accelerator is None:
        return []
    programs = [Program.from_bytes(package.region_program(i)) for i in range(len(package.manifest.regions))]
    if any(program.config_hash.hex() != accelerator.config_hash for program in programs):
        raise PackageError(
            f"the commands of '{package.manifest.model}' are for another accelerator than its package says:"
            " compile the model again"
        )
    return programs
