"""Files only: spaces as logs of immutable versions (design §3)."""

from latentstore.storage.archive import Archived
from latentstore.storage.backup import BackupReport
from latentstore.storage.diff import Diff
from latentstore.storage.manifest import ArtefactKind, ArtefactRecord, FileRecord, Json, Manifest, SegmentRecord
from latentstore.storage.repair import Mended, RepairReport
from latentstore.storage.segments import Segment
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.space_files import SpaceFiles
from latentstore.storage.staging import StagedSegment
from latentstore.storage.store import StoreFiles
from latentstore.storage.vacuum import VacuumReport
from latentstore.storage.verify import Problem

__all__ = [
    "Archived",
    "ArtefactKind",
    "ArtefactRecord",
    "BackupReport",
    "Diff",
    "FileRecord",
    "Json",
    "Manifest",
    "Mended",
    "Problem",
    "RepairReport",
    "Segment",
    "SegmentRecord",
    "Snapshot",
    "SpaceFiles",
    "StagedSegment",
    "StoreFiles",
    "VacuumReport",
]
