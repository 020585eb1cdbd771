"""Files that `torch.save` wrote, read without running code in them; other files are refused in one line."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from kd_runner.networks import file_kinds, pickle_requests, pickled_values
from kd_runner.networks.names_in_files import first_names

MOST_TIMES = 20  # the unpacked records of a torch file over the file's size; torch does not compress
SAVE_AGAIN = "torch reads none but its own: torch.save(state_dict, 'plain.pth') saves it plainly"
ENDS_EARLY = "it ends early or is damaged: the download or copy was cut short"


def read_torch(path: Path, head: bytes, size: int) -> Any:
    """The content of a file that `torch.save` wrote: containers, tensors, plain values and stand-ins.

    Args:
        head: The first bytes of the file.
        size: The size of the file in bytes.

    Raises:
        ValueError: the file is another one, damaged, or asks for code; the message says so.
    """
    kind = file_kinds.kind_of(path, head)
    if kind is not None:
        raise ValueError(kind)
    if head.startswith(b"PK"):
        _check_records(path, size)
    elif not head.startswith(pickle_requests.LEGACY_MAGIC, 2):
        raise ValueError(_reason(path, f"it is a pickle that torch.save did not write, and {SAVE_AGAIN}"))
    try:
        allowed = torch.serialization.safe_globals(pickled_values.allowed_stand_ins())
        # An open file, as torch would judge a path by its ending.
        with warnings.catch_warnings(), allowed, path.open("rb") as file:
            warnings.simplefilter("ignore")  # torch's warnings describe its own internals
            return torch.load(file, map_location="cpu", weights_only=True)
    # torch's readers raise errors of any kind on unexpected bytes. torch's messages explain how to run the file's
    # code all the same; ours do not.
    except Exception as error:
        full = isinstance(error, MemoryError) or "allocate memory" in str(error)
        raise ValueError(_reason(path, "it does not fit into memory" if full else ENDS_EARLY)) from error


def _check_records(path: Path, size: int) -> None:
    """Refuse a zip archive that is no torch file, or whose records would fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except Exception as error:  # zipfile raises errors of any kind, too
        raise ValueError(f"it looks like a torch file, but {ENDS_EARLY}") from error
    kind = file_kinds.kind_of_zip(path, [record.filename for record in records])
    if kind is not None:
        raise ValueError(kind)
    if sum(record.file_size for record in records) > MOST_TIMES * size + 2**20:
        raise ValueError(f"unpacked it is more than {MOST_TIMES} times larger, which torch.save does not write")


def _reason(path: Path, otherwise: str) -> str:
    """The reason why a file with pickles is not read: the code that it asks for; `otherwise` where it asks for none."""
    requests = _requested_globals(path)
    if requests is None or not requests.names:
        if requests is not None and requests.protocol > 2 and otherwise == ENDS_EARLY:
            return f"its pickle has protocol {requests.protocol}, torch reads 2: save it without pickle_protocol"
        return otherwise
    if requests.suspicious:
        return f"it asks for {first_names(requests.suspicious, 3)}, which no weights need; nothing in it was run"
    names = first_names(requests.names, 2)
    if requests.alone:
        weights = "content.state_dict()"
    elif any(name.startswith("torch.nn.modules.") for name in requests.names):
        weights = f"content[{requests.key[:40]!r}].state_dict()"
    else:
        key = next((key for key in ("state_dict", "model", "net") if key in requests.texts), "…")
        weights = f"content[{key!r}]"
    return (
        f"it holds {names}, and reading those runs their code. Where you trust it, two lines make it plain: "
        f"content = torch.load({path.name!r}, weights_only=False); torch.save({weights}, 'plain.pth')"
    )


def _requested_globals(path: Path) -> pickle_requests.PickleRequests | None:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(name) as file:
                    return pickle_requests.requested_globals(file)
        with path.open("rb") as file:
            return pickle_requests.requested_globals(file, pickle_requests.LEGACY_PICKLES)
    except Exception:  # a broken archive
        return None
