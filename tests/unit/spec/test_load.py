from pathlib import Path

import pytest

from anomalyvfm_opt.errors import EXIT_USAGE, SpecError
from anomalyvfm_opt.spec.load import load_spec

STUDIES = Path(__file__).parents[3] / "studies"
MINIMAL = "name: x\ndata: {image_size_px: 64, lock: half}\nsearch: {trials: 5}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_specs_load_under_their_own_name(path: Path) -> None:
    assert load_spec(path).name == path.stem


def test_shipped_specs_are_those_that_the_readme_promises() -> None:
    assert {path.stem for path in STUDIES.glob("*.yaml")} == {"demo", "offline_quick", "mvtec_ad2"}


def test_mvtec_ad2_is_the_default_space_on_dinov2_with_everything_locked() -> None:
    spec = load_spec(STUDIES / "mvtec_ad2.yaml")
    assert spec.data.categories != "all"
    assert len(spec.data.categories) == 8
    assert (spec.data.image_size_px, spec.data.lock) == (518, "all")
    assert spec.backbone.name == "vit_base_patch14_dinov2.lvd142m"
    assert "space" not in spec.search.model_fields_set


def test_a_float_without_a_dot_is_a_number(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, MINIMAL + "training: {head_learning_rate: 1e-4}\n"))
    assert spec.training.head_learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        (MINIMAL + "traning: {}\n", ":4:1:", "did you mean 'training'"),
        (MINIMAL + "name: y\n", ":4:1:", 'duplicate key "name"'),
        (MINIMAL.replace("64", "'big'"), ":2:8:", "data.image_size_px"),
        (MINIMAL.replace("lock: half", "lock: third"), ":2:27:", "'third'"),
        (MINIMAL.replace("trials: 5", "trials: 1"), ":1:1:", "cannot hold the 3 references"),
        (MINIMAL.replace("5}", "5, space: {epochs: {low: 9, high: 3}}}"), ":3:29:", "low 9 is above high 3"),
        (MINIMAL.replace("trials: 5", "trials: 5, space: {rank: [4, 4]}"), ":3:21:", "twice"),
        ("name: [\n", ":2:1:", "not YAML"),
        ("- 1\n", ":1:1:", "mapping"),
        ("search: {trials: 5}\nname: x\n", ":1:1:", "data: Field required"),
    ],
)  # fmt: skip
def test_a_mistake_is_shown_with_its_place(tmp_path: Path, text: str, position: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert f"{path}{position}" in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.exit_code == EXIT_USAGE


def test_all_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a b\ndata: {image_size_px: 1, lock: no}\nsearch: {trials: 0, sead: 1}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert len(str(caught.value).splitlines()) == 5


def test_a_missing_file_says_where_specs_are(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such spec file.*studies/"):
        load_spec(tmp_path / "nothing.yaml")


def test_the_hash_is_of_the_numbers_and_not_of_the_words(tmp_path: Path) -> None:
    plain = load_spec(write(tmp_path, MINIMAL)).sha256()
    assert load_spec(write(tmp_path, "# note\n" + MINIMAL + "description: other\n")).sha256() == plain
    assert load_spec(write(tmp_path, MINIMAL.replace("trials: 5", "trials: 6"))).sha256() != plain
