"""Looking after a whole store: every space and every encoder, checked and mended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from latentstore.errors import LatentStoreError
from latentstore.space.repair import rebuild
from latentstore.storage import Problem, RepairReport, StoreFiles
from latentstore.storage.repair import drop_left_imports

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace

_RETRAIN = "restore its folder from a backup; without it latents stay searchable, but nothing is encoded or decoded"


def verify(files: StoreFiles, *, deep: bool) -> list[Problem]:
    """Check every file of every version of every space, and every encoder against its fingerprint."""
    return files.verify(deep=deep) + verify_encoders(files)


def verify_encoders(files: StoreFiles) -> list[Problem]:
    """Encoders whose files are damaged or missing, also those that only a space names."""
    problems = []
    folder = files.layout.encoders
    found = {one.name for one in folder.iterdir() if not one.name.startswith(".")} if folder.is_dir() else set()
    for fingerprint in sorted(found):
        from latentstore.encoders.checkpoint import check_encoder, read_card

        place = files.layout.encoders / fingerprint
        for read in (check_encoder, read_card):
            try:
                read(place)
            except LatentStoreError as error:
                problems.append(Problem(place, str(error), _RETRAIN))
    for name in files.spaces():
        try:
            wanted = files.space(name).snapshot().encoder
        except LatentStoreError:  # named by the check of the space
            continue
        if wanted is not None and wanted not in found:
            problems.append(Problem(folder / wanted, f"is missing; space {name!r} was made with it", _RETRAIN))
    return problems


def repair(files: StoreFiles, open_space: Callable[[str], EmbeddingSpace]) -> RepairReport:
    """Rebuild everything that is damaged and holds nothing of its own; see `LatentStore.repair`."""
    files.create()
    report = RepairReport([*drop_left_imports(files.layout)])
    refused: list[Problem] = []
    for name in files.spaces():
        try:
            found = files.space(name).repair()
            report.mended += found.mended
            if found.left:
                report.mended += rebuild(open_space(name), [problem.path for problem in found.left])
        except LatentStoreError as error:  # the newest version cannot be opened: the check below names the files
            refused.append(Problem(files.layout.space(name), str(error), "look at the disk and its permissions"))
    report.left = verify(files, deep=True) or refused
    return report
