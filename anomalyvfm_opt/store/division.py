"""A study's images as they are stored: which is for what, with the hashes of their files."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select

from anomalyvfm_opt.data.names import to_form
from anomalyvfm_opt.store import tables


@dataclass(frozen=True)
class StoredImage:
    """One image of a study's division, with the hashes of its file's bytes and of its mask's, if it has one."""

    image_key: str
    role: str  # fit, held_out, search or locked
    label: str
    scene: str
    light: str | None
    sha256: str
    mask_sha256: str | None = None


def list_images(engine: Engine, study_id: int) -> dict[str, StoredImage]:
    """Return the stored division of a study: image key -> image."""
    with engine.connect() as connection:
        return {image.image_key: image for image in _list_images(connection, study_id)}


def is_same_by_form(connection: Connection, study_id: int, images: Iterable[StoredImage]) -> bool:
    """Return whether images are those of a study, and only the Unicode form of names is another one.

    Such names sort otherwise, so what each image would be for may differ; the stored division is what counts.
    """
    stored, given = _list_images(connection, study_id), list(images)
    differ_in_form = {image.image_key for image in stored} != {image.image_key for image in given}
    return differ_in_form and _describe(stored) == _describe(given)


def _list_images(connection: Connection, study_id: int) -> list[StoredImage]:
    query = select(tables.study_image).where(tables.study_image.c.study_id == study_id)
    rows = [row._asdict() for row in connection.execute(query)]
    return [StoredImage(**{name: value for name, value in row.items() if name != "study_id"}) for row in rows]


def _describe(images: Iterable[StoredImage]) -> set[tuple[str, str, str, str | None]]:
    return {(to_form(image.image_key), image.label, image.sha256, image.mask_sha256) for image in images}


def count_roles(engine: Engine, study_id: int) -> dict[str, int]:
    """Return how many images of a study have each role."""
    image = tables.study_image
    query = (
        select(image.c.role, func.count().label("images"))
        .where(image.c.study_id == study_id)
        .group_by(image.c.role)
    )
    with engine.connect() as connection:
        return {row.role: row.images for row in connection.execute(query)}


def count_locked_scenes(engine: Engine, study_id: int) -> tuple[int, int]:
    """Return good and bad scenes among the locked images of a study."""
    image = tables.study_image
    query = (
        select(image.c.label, func.count(func.distinct(image.c.scene)).label("scenes"))
        .where(image.c.study_id == study_id, image.c.role == "locked")
        .group_by(image.c.label)
    )
    with engine.connect() as connection:
        scenes = {row.label: row.scenes for row in connection.execute(query)}
    return scenes.get("good", 0), scenes.get("bad", 0)
