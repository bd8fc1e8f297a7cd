"""Help is instant, because nothing heavy is imported for it, and covers every command."""

import json
import subprocess
import sys

import pytest

HEAVY = ("tvm", "tvm_ffi", "onnx", "onnxruntime", "numpy", "scipy", "matplotlib")
COMMANDS = ("compile", "run", "check", "dump", "profile", "ops", "pwl")

PROGRAM = """
import json, sys
from nmc.cli import main
code = main(sys.argv[1:])
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


def run_and_list_modules(*arguments: str) -> tuple[int, set[str], str]:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    report = json.loads(finished.stderr.splitlines()[-1])
    return report["code"], set(report["modules"]), finished.stdout


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), *((command, "--help") for command in COMMANDS)]
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code, modules, text = run_and_list_modules(*arguments)
    assert code == 0
    assert not modules.intersection(HEAVY)
    assert text.strip()


def test_help_lists_every_command(nmc) -> None:
    text = nmc("--help").out
    assert all(command in text for command in COMMANDS)


def test_importing_nmc_imports_nothing_heavy() -> None:
    program = "import json, sys, nmc; print(json.dumps(sorted(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(json.loads(finished.stdout)).intersection(HEAVY)


def test_no_arguments_print_the_help(nmc) -> None:
    finished = nmc()
    assert finished.code == 0
    assert finished.out == nmc("--help").out
