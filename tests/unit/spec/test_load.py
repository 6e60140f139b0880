from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution
from pydantic import ValidationError

from anomalyvfm_opt.errors import SpecError
from anomalyvfm_opt.model.limits import find_limits_problems
from anomalyvfm_opt.spec.contradictions import Problem
from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.model import Spec, Tiles
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.shipped import find_shipped
from anomalyvfm_opt.trial.space import fix_parameters, is_inside, list_distributions

ROOT = Path(__file__).parents[3]
STUDIES = ROOT / "studies"
SHIPPED = sorted(STUDIES.glob("*.yaml"))
DEFAULT_SCHEMA = ROOT / "schema" / "study.json"
MINIMAL = "name: x\ndata: {image_size_px: 64, lock: half}\nsearch: {trials: 5}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_load_under_their_own_name(path: Path) -> None:
    assert load_spec(path).name == path.stem


def test_shipped_specs_are_those_that_the_readme_promises() -> None:
    assert {path.stem for path in STUDIES.glob("*.yaml")} == {
        "demo",
        "dinov2_offline",
        "offline_quick",
        "mvtec_ad",
        "mvtec_ad2",
        "mvtec_ad2_quick",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_ask_for_nothing_that_their_backbones_lack(path: Path) -> None:
    assert find_limits_problems(load_spec(path)) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_name_the_schema(path: Path) -> None:
    mark, _, place = path.read_text().splitlines()[0].partition("$schema=")
    assert mark == "# yaml-language-server: "
    assert (path.parent / place).resolve() == DEFAULT_SCHEMA


def test_mvtec_ad2_is_the_default_space_on_dinov2_with_everything_locked() -> None:
    spec = load_spec(STUDIES / "mvtec_ad2.yaml")
    assert spec.data.categories != "all"
    assert len(spec.data.categories) == 8
    assert (spec.data.image_size_px, spec.data.lock) == (518, "all")
    assert spec.backbone.name == "vit_base_patch14_dinov2.lvd142m"
    assert "space" not in spec.search.model_fields_set


def test_mvtec_ad2_teaches_tiles_that_cover_the_image(tmp_path: Path) -> None:
    """What the comment shows is what a reader will put in."""
    text = (STUDIES / "mvtec_ad2.yaml").read_text()
    shown = [line.removeprefix("  # ") for line in text.splitlines() if line.startswith("  # ")]
    fields = [line for line in shown if line.startswith(("image_size_px:", "aspect:", "tiles:"))]
    assert len(fields) == 3
    taught = text.replace("  image_size_px: 518 ", "".join(f"  {line}\n" for line in fields) + "  # was: 518 ")
    data = load_spec(write(tmp_path, taught)).data
    assert data.tiles == Tiles(size_px=518, overlap_px=0)
    assert (data.image_size_px, data.aspect, data.input_size_px) == (2072, "keep", 518)


def test_mvtec_ad_lists_what_can_be_halved() -> None:
    """Toothbrush has 12 good test images and wood 19; half of them needs 20."""
    spec = load_spec(STUDIES / "mvtec_ad.yaml")
    assert spec.data.lock == "half"
    assert len(spec.data.categories) == 13
    assert not {"toothbrush", "wood"} & set(spec.data.categories)


@pytest.mark.parametrize("category", ["can", "fabric", "fruit_jelly"])
def test_the_quick_spec_has_all_references_in_its_space(category: str) -> None:
    spec = load_spec(STUDIES / "mvtec_ad2_quick.yaml")
    distributions = list_distributions(spec.search.space)
    for name in ("v1.1", "v1.2"):
        parameters = spec.reference(name, category)
        assert parameters is not None
        assert is_inside(parameters, distributions)


def test_a_spec_and_a_trial_from_before_there_was_a_dropout_had_none(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, MINIMAL))
    stored = spec.content()
    del stored["search"]["space"]["dropout"]
    assert Spec.model_validate(stored) == spec
    parameters = spec.reference("v1.1", "can")
    assert parameters is not None
    suggested = parameters.to_suggested()
    now = Parameters.from_suggested(suggested, 64)
    assert suggested.pop("dropout") == 0.0
    assert Parameters.from_suggested(suggested, 64) == now
    older = parameters.to_json()
    assert older.pop("dropout") == 0.0
    assert Parameters.from_json(older, 64) == parameters


def test_a_reference_is_outside_a_space_without_its_dropout(tmp_path: Path) -> None:
    parameters = load_spec(write(tmp_path, MINIMAL)).reference("v1.1", "can")
    assert parameters is not None
    for choices, is_in in (("0, 0.1", True), ("0.1", False)):
        text = MINIMAL.replace("5", f"5, space: {{synthesis_mix: thirds, dropout: [{choices}]}}")
        distributions = list_distributions(load_spec(write(tmp_path, text)).search.space)
        assert is_inside(parameters, distributions) == is_in


def test_a_spec_and_a_trial_from_before_sizes_were_searched_have_one(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, MINIMAL))
    stored = spec.content()
    assert stored["search"]["space"].pop("image_size_px") == []
    assert Spec.model_validate(stored) == spec
    assert not spec.is_size_searched
    assert spec.image_sizes_px == (spec.data.image_size_px,)
    distributions = list_distributions(spec.search.space)
    assert "image_size_px" not in distributions
    parameters = spec.reference("v1.1", "can")
    assert parameters is not None
    assert parameters.image_size_px == spec.data.image_size_px == 64
    older = {name: value for name, value in parameters.to_json().items() if name != "image_size_px"}
    for stored_values in (older, {**older, "image_size_px": None}):
        assert Parameters.from_json(stored_values, 64) == parameters
    fixed = fix_parameters(parameters, distributions)
    assert fixed is not None
    assert "image_size_px" not in fixed
    assert Parameters.from_suggested(fixed, 64).image_size_px == 64


def test_a_searched_size_is_one_more_parameter_and_references_have_that_of_the_spec(tmp_path: Path) -> None:
    searched = MINIMAL.replace("5", "5, space: {image_size_px: [128, 64]}")
    plain, spec = (load_spec(write(tmp_path, text)) for text in (MINIMAL, searched))
    own = 64
    distributions = list_distributions(spec.search.space)
    assert distributions.pop("image_size_px") == CategoricalDistribution((128, own))
    assert distributions == list_distributions(plain.search.space)
    assert spec.image_sizes_px == (own, 128)
    assert spec.is_size_searched
    parameters = spec.reference("v1.1", "can")
    assert parameters is not None
    assert parameters.to_suggested()["image_size_px"] == own
    assert is_inside(parameters, list_distributions(spec.search.space))
    assert not is_inside(replace(parameters, image_size_px=96), list_distributions(spec.search.space))
    assert Parameters.from_suggested(parameters.to_suggested(), 32).image_size_px == own
    assert Parameters.from_json(parameters.to_json(), 32) == parameters
    assert spec.at_size(128).data.image_size_px == 128
    assert spec.at_size(own) == spec


def test_a_float_without_a_dot_is_a_number(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, MINIMAL + "training: {head_learning_rate: 1e-4}\n"))
    assert spec.training.head_learning_rate == 1e-4


def test_a_missing_file_says_where_specs_are(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such spec file") as caught:
        load_spec(tmp_path / "nothing.yaml")
    assert (Path(caught.value.hint.removeprefix("shipped specs are in ")) / "demo.yaml").is_file()


def test_a_mistyped_file_is_answered_with_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "bracket.yaml").write_text(MINIMAL)
    for typed, meant in (
        ("brakcet.yaml", tmp_path / "bracket.yaml"),
        ("offline_quik.yaml", find_shipped("offline_quick.yaml")),
    ):
        with pytest.raises(SpecError, match="no such spec file") as caught:
            load_spec(tmp_path / typed)
        assert caught.value.hint == f"did you mean {meant}?"


def test_the_hash_is_of_the_numbers_and_not_of_the_words(tmp_path: Path) -> None:
    plain = load_spec(write(tmp_path, MINIMAL)).sha256()
    assert load_spec(write(tmp_path, "# note\n" + MINIMAL + "description: other\n")).sha256() == plain
    assert load_spec(write(tmp_path, MINIMAL.replace("trials: 5", "trials: 6"))).sha256() != plain


def test_a_further_check_reports_with_the_rest_in_the_order_of_the_file(tmp_path: Path) -> None:
    def find_problems(spec: Spec) -> list[Problem]:
        assert (spec.data.image_size_px, spec.backbone.name) == (64, "resnet18")
        return [Problem(("backbone", "name"), "no blocks"), Problem(("search", "space", "rank", 3), "too large")]

    path = write(tmp_path, MINIMAL.replace("5}", "5, sampler: tpr}") + "backbone: {name: resnet18}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path, find_problems)
    assert str(caught.value).splitlines() == [
        f"{path}:3:1: search.space.rank.3: too large",
        f"{path}:3:21: search.sampler: should be 'tpe' or 'random', not 'tpr'; did you mean 'tpe'?",
        f"{path}:4:12: backbone.name: no blocks",
    ]


def test_a_further_check_is_not_asked_about_a_backbone_that_is_wrong(tmp_path: Path) -> None:
    def find_problems(spec: Spec) -> list[Problem]:
        raise AssertionError("asked")

    with pytest.raises(SpecError, match="decoder_blocks"):
        load_spec(write(tmp_path, MINIMAL + "backbone: {decoder_blocks: [a]}\n"), find_problems)


def test_plain_values_that_contradict_each_other_are_no_spec() -> None:
    """As the store and the tests make a spec: without a file, so all contradictions are in one message."""
    plain = {
        "name": "x",
        "data": {"image_size_px": 2000, "lock": "half", "tiles": {"size_px": 518}},
        "search": {"trials": 2, "space": {"epochs": {"low": 9, "high": 3}}},
    }
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(plain)
    (error,) = caught.value.errors()
    assert "search.trials: 2 cannot hold the 3 references" in error["msg"]
    assert "search.space.epochs: low 9 is above high 3" in error["msg"]
    assert "use 1554 or 2072" in error["msg"]


def test_a_spec_survives_the_way_through_the_store() -> None:
    for path in SHIPPED:
        spec = load_spec(path)
        assert Spec.model_validate(spec.model_dump(mode="json")) == spec


def test_what_a_newer_program_stored_beside_the_parameters_is_left_out() -> None:
    parameters = load_spec(find_shipped("demo.yaml")).reference("v1.1", "brick")
    assert parameters is not None
    stored = {**parameters.to_json(), "weight_decay": 0.1}
    assert Parameters.from_json(stored, 32) == parameters
