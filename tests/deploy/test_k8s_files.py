"""The Kubernetes files fit Kubernetes' published schemas, and say what the program's exit codes mean."""

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from kubernetes_validate import ValidationError, validate
from ruamel.yaml import YAML
from sqlalchemy import URL, make_url
from typer.models import OptionInfo

from anomalyvfm_opt.cli.worker import run_worker
from anomalyvfm_opt.errors import EXIT_BUG, EXIT_ENVIRONMENT, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_USAGE
from anomalyvfm_opt.launch.restart import Restarts
from anomalyvfm_opt.store.roles import Roles
from anomalyvfm_opt.store.url import URL_VARIABLE
from tests.deploy.files import OUR_IMAGE, ROOT, read_image_environment, read_last_stage

JOB_FILE = ROOT / "deploy" / "k8s-job.yaml"
DESK_FILE = ROOT / "deploy" / "k8s-desk.yaml"
FILES = [JOB_FILE, DESK_FILE]
RELEASES = ["1.31", "1.34", "1.37"]  # podFailurePolicy is stable since the first


def read(path: Path, *changes: tuple[str, str]) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    for right, wrong in changes:
        assert right in text
        text = text.replace(right, wrong)
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return content


JOB = read(JOB_FILE)
PODS: dict[str, dict[str, Any]] = {"job": JOB["spec"]["template"]["spec"], "desk": read(DESK_FILE)["spec"]}
CONTAINERS: dict[str, dict[str, Any]] = {name: pod["containers"][0] for name, pod in PODS.items()}
EACH = pytest.mark.parametrize("name", PODS)


def decide(exit_code: int, condition: str | None = None) -> str:
    """What the Job does with a pod that failed: as Kubernetes reads the rules, from the top."""
    for rule in JOB["spec"]["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes")
        if codes is not None:
            assert codes["operator"] == "In"
            assert codes["containerName"] == CONTAINERS["job"]["name"]
            if exit_code in codes["values"]:
                return str(rule["action"])
        elif condition in [each["type"] for each in rule["onPodConditions"] if each["status"] == "True"]:
            return str(rule["action"])
    return "Count"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_fit_kubernetes_schemas(path: Path, release: str) -> None:
    assert validate(read(path), release, strict=True) == release


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("parallelism: 4", "parallelism: four"),
        ("action: FailJob", "act: FailJob"),
        ("values: [2]", 'values: ["2"]'),
        ("  backoffLimit: 20", "  backofLimit: 20"),
        ("readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("nvidia.com/gpu: 1}", "nvidia.com/gpu: [1]}"),
    ],
)
def test_the_schema_finds_mistakes(right: str, wrong: str) -> None:
    with pytest.raises(ValidationError):
        validate(read(JOB_FILE, (right, wrong)), RELEASES[-1], strict=True)


def test_it_is_a_work_queue() -> None:
    """Any number of pods, and done when one of them finds nothing to do: as Kubernetes wants it spelled."""
    assert JOB["spec"]["parallelism"] > 1
    assert "completions" not in JOB["spec"]
    assert "completionMode" not in JOB["spec"]
    assert PODS["job"]["restartPolicy"] == "Never"  # else podFailurePolicy is refused


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (EXIT_USAGE, "FailJob"),
        (EXIT_ENVIRONMENT, "Count"),
        (EXIT_BUG, "Count"),
        (137, "Count"),  # out of memory
        (EXIT_INTERRUPTED, "Ignore"),
        (EXIT_TERMINATED, "Ignore"),
    ],
)
def test_exit_codes_mean_what_the_program_means_by_them(code: int, action: str) -> None:
    assert decide(code) == action
    is_retried = Restarts().plan(code, 1.0) is not None
    assert is_retried == (action == "Count")  # as on one host


def test_a_disruption_is_nobodys_fault() -> None:
    assert decide(EXIT_BUG, "DisruptionTarget") == "Ignore"
    assert decide(137, "DisruptionTarget") == "Ignore"
    assert decide(EXIT_USAGE, "DisruptionTarget") == "FailJob"


def test_every_rule_fits_something() -> None:
    """Kubernetes refuses 0 and codes that are listed twice."""
    rules = JOB["spec"]["podFailurePolicy"]["rules"]
    codes = [code for rule in rules for code in rule.get("onExitCodes", {}).get("values", [])]
    assert sorted(codes) == [EXIT_USAGE, EXIT_INTERRUPTED, EXIT_TERMINATED]
    assert all(("onExitCodes" in rule) != ("onPodConditions" in rule) for rule in rules)


def test_a_pod_has_time_to_give_its_trial_back() -> None:
    option = inspect.signature(run_worker).parameters["drain_s"]
    assert not isinstance(option.default, OptionInfo)
    assert PODS["job"]["terminationGracePeriodSeconds"] >= option.default + 60


def test_for_kueue_two_lines_are_changed() -> None:
    changes = (
        ("    # kueue.x-k8s.io/queue-name", "    kueue.x-k8s.io/queue-name"),
        ("suspend: false", "suspend: true"),
    )
    queued = read(JOB_FILE, *changes)
    assert validate(queued, RELEASES[-1], strict=True)
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "vision"
    assert queued["spec"]["suspend"] is True


@EACH
def test_a_pod_has_no_more_rights_than_it_needs(name: str) -> None:
    pod, container = PODS[name], CONTAINERS[name]
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all("hostPath" not in volume for volume in pod["volumes"])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (user,) = [each.text for each in read_last_stage() if each.name == "USER"]
    context = pod["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["fsGroup"] == context["runAsGroup"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@EACH
def test_the_password_is_in_a_secret_that_the_entrypoint_copies(name: str) -> None:
    pod, container = PODS[name], CONTAINERS[name]
    assert "command" not in container  # it would replace the entrypoint
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert make_url(environment["ANOMALYVFM_OPT_DB_URL"]).password is None
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    secret = Path(environment["PGPASSFILE_SECRET"])
    mount = mounts[str(secret.parent)]
    assert mount["readOnly"] is True
    source = volumes[mount["name"]]["secret"]
    assert {"key": "passfile", "path": secret.name} in source["items"]
    assert source["defaultMode"] == 0o440
    memory = volumes[mounts[str(Path(environment["PGPASSFILE"]).parent)]["name"]]
    assert memory["emptyDir"]["medium"] == "Memory"
    text = (JOB_FILE if name == "job" else DESK_FILE).read_text()
    assert not re.search(r"PGPASSWORD|PASSWORD", text)


@EACH
def test_folders_are_mounted_where_the_settings_point(name: str) -> None:
    pod, container = PODS[name], CONTAINERS[name]
    environment = {each["name"]: each["value"] for each in container["env"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts[environment["ANOMALYVFM_OPT_DATA"]]["readOnly"] is True
    assert "readOnly" not in mounts[environment["ANOMALYVFM_OPT_ARTIFACTS"]]
    assert read_image_environment()["ANOMALYVFM_OPT_HOME"] in mounts
    assert "/tmp" in mounts  # noqa: S108 - the pod's own, since its root is read-only
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}
    claims = {
        volume["name"]: volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["volumes"]
    }
    assert claims["artifacts"] == f"{OUR_IMAGE}-artifacts"
    assert claims["data"] == f"{OUR_IMAGE}-data"


def test_the_image_is_of_this_version_and_the_worker_asks_for_a_gpu() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {container["image"] for container in CONTAINERS.values()} == {f"{OUR_IMAGE}:{version}"}
    worker = CONTAINERS["job"]
    assert worker["args"][:3] == ["anomalyvfm-opt", "worker", "run"]
    assert worker["args"][worker["args"].index("--device") + 1] == "cuda"
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_a_worker_at_the_desk_runs_in_the_same_place() -> None:
    def place(name: str) -> tuple[Any, ...]:
        container = CONTAINERS[name]
        others = [each for each in container["env"] if each["name"] != URL_VARIABLE]
        return others, container["volumeMounts"], PODS[name]["securityContext"]

    assert place("job") == place("desk")


def test_workers_have_a_role_and_a_secret_of_their_own() -> None:
    def credentials(name: str) -> tuple[URL, str]:
        (url,) = (each["value"] for each in CONTAINERS[name]["env"] if each["name"] == URL_VARIABLE)
        (secret,) = (each["secret"]["secretName"] for each in PODS[name]["volumes"] if "secret" in each)
        return make_url(url), secret

    job, desk = credentials("job"), credentials("desk")
    assert job[0].username == Roles("").worker != desk[0].username
    assert job[0].set(username=desk[0].username) == desk[0]
    assert job[1] != desk[1]
