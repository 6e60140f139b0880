"""The files that trials leave behind: in a folder that hosts may share, by the hash of their content.

The row that names a file is written after it, in one transaction with the trial's scores. So a row's file is
there; a file without a row is one whose trial did not come to its end, or was deleted.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, select

from anomalyvfm_opt.durable import write_whole
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.files import open_plain
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.home import ARTIFACTS_VARIABLE


@dataclass(frozen=True)
class Artifact:
    """A file, known by its content."""

    sha256: str  # hexadecimal
    size_bytes: int


class ArtifactFolder:
    """Files by their hashes; equal content is there once.

    Args:
        root: made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash is, or would be."""
        return self.root / sha256[:2] / sha256

    def put(self, content: bytes | Path) -> Artifact:
        """Store content; when this returns, it is on the disk for good.

        Args:
            content: the bytes, or a file that has them.

        Raises:
            EnvironmentMissingError: the folder cannot be written to, or its disk is full.
        """
        try:
            data = content.read_bytes() if isinstance(content, Path) else content
            artifact = Artifact(hashlib.sha256(data).hexdigest(), len(data))
            path = self.path(artifact.sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)  # also where one is there: that one may be damaged
        except OSError as error:
            raise EnvironmentMissingError(
                f"cannot store a trial's file in {self.root}: {error.strerror or error}",
                f"free space there, make it writable, or point {ARTIFACTS_VARIABLE} at another disk",
            ) from None
        return artifact

    def verify(self, sha256: str) -> Path:
        """Read a file to its end and compare it with its hash.

        Returns:
            Where it is.

        Raises:
            EnvironmentMissingError: it is not there, cannot be read, or is damaged.
        """
        path = self.path(sha256)
        try:
            with open_plain(path) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EnvironmentMissingError(
                f"the file {path} of a trial cannot be read: {error.strerror or error}",
                f"point {ARTIFACTS_VARIABLE} at the folder that the trial's worker wrote to, or at a copy",
            ) from None
        if found != sha256:
            raise EnvironmentMissingError(
                f"the file {path} of a trial is damaged: its content has the hash {found[:12]}",
                "restore it from a copy, or run the trial again",
            )
        return path


def put_all(folder: ArtifactFolder, contents: Mapping[str, bytes | Path]) -> dict[str, Artifact]:
    """Store a trial's files, by kind; before the rows that name them.

    Raises:
        EnvironmentMissingError: the folder cannot be written to, or its disk is full.
    """
    return {kind: folder.put(content) for kind, content in contents.items()}


def read_artifacts(engine: Engine, trial_id: int) -> dict[str, Artifact]:
    """Return a trial's files, by kind."""
    table = tables.artifact
    query = select(table.c.kind, table.c.sha256, table.c.size_bytes).where(table.c.trial_id == trial_id)
    with engine.connect() as connection:
        return {kind: Artifact(sha256, size) for kind, sha256, size in connection.execute(query)}
