"""The CPU target: any level of a model through LLVM. Level 3 built here is the reference for the accelerator."""

from targets.cpu.build import CpuModule, build
from targets.cpu.interpreter import Interpreter, Observer, interpret

__all__ = ["CpuModule", "Interpreter", "Observer", "build", "interpret"]
