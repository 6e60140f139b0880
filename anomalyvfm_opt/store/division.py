"""A study's images as they are stored: which is for what, with the hashes of their files."""

from dataclasses import dataclass

from sqlalchemy import Engine, func, select

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
    query = select(tables.study_image).where(tables.study_image.c.study_id == study_id)
    with engine.connect() as connection:
        rows = [row._asdict() for row in connection.execute(query)]
    return {row["image_key"]: StoredImage(**{k: v for k, v in row.items() if k != "study_id"}) for row in rows}


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
