"""Names of studies: `<spec>/<category>`, and beside it the siblings that only retrain with other seeds."""

from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args

Kind = Literal["search", "replicates", "confirm"]


@dataclass(frozen=True)
class StudyName:
    """A study's name in its parts; `str()` puts it together.

    Args:
        spec: the spec's name.
        category: the product's.
        kind: `search` chooses parameters; `replicates` retrains chosen ones with more seeds on search data;
            `confirm` judges them on the locked images.
    """

    spec: str
    category: str
    kind: Kind = "search"

    def __str__(self) -> str:
        suffix = "" if self.kind == "search" else f"#{self.kind}"
        return f"{self.spec}/{self.category}{suffix}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The parts of a name.

        Raises:
            ValueError: it is no study's name.
        """
        family, mark, kind = text.partition("#")
        spec, slash, category = family.partition("/")
        kind = kind if mark else "search"
        if not (spec and slash and category) or kind not in get_args(Kind) or (mark and kind == "search"):
            raise ValueError(
                f"{text!r} is no study's name: <spec>/<category>, or that with #replicates or #confirm"
            )
        return cls(spec, category, cast(Kind, kind))

    @property
    def family(self) -> str:
        """The name of the study that searches, which its siblings stand beside."""
        return str(replace(self, kind="search"))

    def sibling(self, kind: Kind) -> Self:
        """The study of the same spec and category that does something else."""
        return replace(self, kind=kind)
