"""The module of the wheel: where it finds the program in each way of installing it, and how it runs it."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "config/wheel/ram_sidecar"


class Installed(unittest.TestCase):
    """Each test lays files out as an installer does, and asks a Python of its own."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name).resolve()

    def install(self, packages, recorded=None):
        """Copies the module to a directory, with the record of an installer."""
        self.packages = self.root / packages
        shutil.copytree(MODULE, self.packages / "ram_sidecar", ignore=shutil.ignore_patterns("__pycache__"))
        if recorded is not None:
            information = self.packages / "ram_sidecar-0.1.0.dist-info"
            information.mkdir()
            (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ram-sidecar\nVersion: 0.1.0\n")
            (information / "RECORD").write_text(f"ram_sidecar/__init__.py,,\n{recorded},,\n")

    def program(self, path, mode=0o755):
        """Makes a program that prints its name, arguments and process."""
        program = self.root / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$$" "$@"\nexit 7\n')
        program.chmod(mode)
        return program

    def python(self, *arguments, scripts=None):
        """Runs Python with the module, and optionally with another directory of scripts."""
        start = f"import sys; sys.path.insert(0, {str(self.packages)!r})\n"
        if scripts is not None:
            start += f"import sysconfig; sysconfig.get_path = lambda name: {str(self.root / scripts)!r}\n"
        command = [sys.executable, "-IBc", start + arguments[0], *arguments[1:]]
        # The process is the one that exec replaces.
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            output, errors = process.communicate(timeout=60)
        return process, output, errors

    def found(self, scripts="nowhere"):
        process, output, errors = self.python("import ram_sidecar; print(ram_sidecar.find_bin())", scripts=scripts)
        self.assertEqual(process.returncode, 0, errors)
        return Path(output.strip())

    def test_a_virtual_environment_has_it_where_pip_recorded(self):
        self.install("venv/lib/python3/site-packages", "../../../bin/ram-sidecar")
        program = self.program("venv/bin/ram-sidecar")
        self.assertEqual(self.found(), program)

    def test_debian_has_it_in_usr_local_and_not_in_the_directory_of_scripts(self):
        self.install("usr/local/lib/python3/dist-packages", "../../../bin/ram-sidecar")
        self.program("usr/bin/ram-sidecar")
        program = self.program("usr/local/bin/ram-sidecar")
        self.assertEqual(self.found(scripts="usr/bin"), program)

    def test_target_has_it_beside_the_package_whatever_is_recorded(self):
        self.install("opt/packages", "../../bin/ram-sidecar")
        self.program("bin/ram-sidecar")
        program = self.program("opt/packages/bin/ram-sidecar")
        self.assertEqual(self.found(), program)

    def test_without_a_record_it_is_in_the_directory_of_scripts(self):
        self.install("lib/python3/site-packages")
        program = self.program("scripts/ram-sidecar")
        self.assertEqual(self.found(scripts="scripts"), program)

    def test_what_cannot_be_executed_is_passed_over(self):
        self.install("opt/packages", "../../bin/ram-sidecar")
        self.program("opt/packages/bin/ram-sidecar", mode=0o644)
        program = self.program("bin/ram-sidecar")
        self.assertEqual(self.found(), program)

    def test_a_missing_program_is_an_error_with_the_paths_and_the_remedy(self):
        self.install("opt/packages", "../../bin/ram-sidecar")
        process, _, errors = self.python("import ram_sidecar; ram_sidecar.find_bin()", scripts="scripts")
        self.assertEqual(process.returncode, 1)
        last = errors.splitlines()[-1]
        for directory in ("opt/packages/bin", "bin", "scripts"):
            self.assertIn(f" {self.root / directory}/ram-sidecar", last)
        self.assertIn("pip install --force-reinstall ram-sidecar", last)

    def test_m_runs_it_as_the_same_process_with_its_arguments_and_its_exit_code(self):
        self.install("opt/packages")
        program = self.program("opt/packages/bin/ram-sidecar")
        run = "import runpy; runpy.run_module('ram_sidecar', run_name='__main__')"
        process, output, errors = self.python(run, "exec", "--", "a b", "")
        self.assertEqual(process.returncode, 7, errors)
        self.assertEqual(output.splitlines(), [str(program), str(process.pid), "exec", "--", "a b", ""])

    def test_it_is_typed(self):
        self.assertTrue((MODULE / "py.typed").is_file())


if __name__ == "__main__":
    unittest.main()
