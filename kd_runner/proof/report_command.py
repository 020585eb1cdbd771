"""`kd-report`: the report of runs and sweeps, or with `--verify` the numbers of runs measured again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from kd_runner.closed_output import may_be_closed
from kd_runner.errors import COMPLETED, FAILED, SettingsError
from kd_runner.plain_text import printable
from kd_runner.reports import report_arguments


@may_be_closed
def main() -> int:
    """`kd-report FOLDER…`; returns the exit code: of `--verify` 1 where a number is not as reported."""
    return report_arguments.main(verify_runs)


def verify_runs(folders: Sequence[Path], root: str | None, trust: Sequence[str], networks: Sequence[str] = ()) -> int:
    """Verify each run and print its table; returns 1 where a number is not as reported.

    Raises:
        SettingsError: a folder, a file or the images are missing or cannot be used.
    """
    from kd_runner.deploy.commands import in_words_of_commands, trust_packages
    from kd_runner.deploy.model_files import NETWORKS
    from kd_runner.quick_imports import quick_imports

    with quick_imports():
        from kd_runner.proof.verify import verify

    for name in networks:
        if name not in NETWORKS:
            raise SettingsError(f"--network: must be one of {', '.join(NETWORKS)}, got {name}")
    trust_packages(trust)
    code = COMPLETED
    for number, folder in enumerate(folders):
        try:
            verification = verify(folder, root, trust, networks)
        except SettingsError as error:
            raise SettingsError(in_words_of_commands(str(error))) from error
        print(("\n" if number else "") + printable(verification.text()))
        code = code if verification.holds else FAILED
    return code


if __name__ == "__main__":
    sys.exit(main())
