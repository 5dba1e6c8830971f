"""The house: which way imports point (CONTRIBUTING.md has the table)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "stress_lab"
DOORS = {"train", "evaluate", "compare", "sweep"}
COMPOSITION = {
    "build",
    "cases",
    "check",
    "fingerprints",
    "gallery",
    "publishing",
    "ranks",
    "resume",
    "signals",
    "training",
    "world",
    "door",
    "preflight",
    "sentences",
    "hardware",
    "gpus",
    "launching",
    "search",
    "streams",
    "terminal",
}  # serve the doors
PLUGINS = sorted((PACKAGE.parent / "hydra_plugins").glob("*.py"))
EXTRAS = {"joblib", "submitit", "ray", "optuna"}  # each brought by an extra
HEAVY = {"torch", "torchvision", "lightning", "torchmetrics", "pytorch_grad_cam"}
FRAMEWORK = {"lightning", "hydra", "omegaconf"}
DRAWING = {"matplotlib", "seaborn"}

# part of the package: what it must not import
FORBIDDEN = {
    **dict.fromkeys(["records", "errors", "plain_text"], HEAVY | FRAMEWORK | DRAWING | {"scipy", "sklearn", "pandas"}),
    **dict.fromkeys(["stats", "calibration", "failures", "evaluation", "slices"], HEAVY | FRAMEWORK | DRAWING),
    **dict.fromkeys(["transforms", "saliency", "inference"], FRAMEWORK | DRAWING),
    **dict.fromkeys(
        ["files", "filesets", "keys", "launches", "locks", "runs", "seals", "comparison"], HEAVY | FRAMEWORK | DRAWING
    ),
    **dict.fromkeys(["checkpoint_files", "checkpoints", "disks", "log_files", "pickles"], HEAVY | FRAMEWORK | DRAWING),
    **dict.fromkeys(["cores", "limits"], HEAVY | FRAMEWORK | DRAWING),
    **dict.fromkeys(["figures", "report"], HEAVY | FRAMEWORK),
    "recording": FRAMEWORK,
    "board": HEAVY | FRAMEWORK | DRAWING,
    "prediction_files": HEAVY | FRAMEWORK | DRAWING,
    "models": {"hydra", "omegaconf"} | DRAWING,
    "data": {"hydra", "omegaconf"} | DRAWING,
    "callbacks": {"hydra", "omegaconf"} | DRAWING,
}
PURE_TENSORS = ["models/resnet.py", "models/three_block.py", "models/recipe.py", "data/splits.py", "data/images.py"]


def imports(path, top_level_only=False):
    """Dotted names that a module imports, those for type checkers aside."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_the_right_way(path):
    name, used = part(path), imports(path)
    roots = {imported.split(".")[0] for imported in used}
    assert not roots & FORBIDDEN.get(name, set())
    if str(path.relative_to(PACKAGE)) in PURE_TENSORS:
        assert not roots & FRAMEWORK
    if name not in DOORS | COMPOSITION:
        upward = {f"stress_lab.{door}" for door in DOORS | COMPOSITION}
        assert not {target for target in used for door in upward if target == door or target.startswith(door + ".")}
    if name not in {"report", "publishing"} | DOORS:
        assert not any(imported.startswith("stress_lab.report") for imported in used)


def test_every_part_has_its_place_in_the_table():
    assert {part(path) for path in MODULES} == set(FORBIDDEN) | DOORS | COMPOSITION


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_plugins_load_at_every_start(path):
    """Hydra loads every plugin before it answers --help, installed extra or not, and apart from ``sys.modules``."""
    used = imports(path, top_level_only=True)
    assert not {imported.split(".")[0] for imported in used} & (HEAVY | DRAWING | EXTRAS)
    assert "__future__.annotations" not in used  # dataclasses would look the module up
    assert {imported.split(".")[1] for imported in used if imported.startswith("stress_lab.")} <= COMPOSITION | {
        "cores",
        "errors",
    }


def test_plugins_share_the_namespace_of_hydras():
    assert len(PLUGINS) == 4
    assert not (PACKAGE.parent / "hydra_plugins" / "__init__.py").exists()


@pytest.mark.parametrize("module", sorted(DOORS | {"door", "check", "runs", "records"}))
def test_doors_answer_before_heavy_imports(module):
    """Heavy packages are imported within functions, so that --help is instant."""
    todo, seen = [PACKAGE / f"{module}.py"], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imports(path, top_level_only=True):
            assert name.split(".")[0] not in HEAVY | DRAWING, f"{path.name} imports {name}"
            for dotted in (name, name.rpartition(".")[0]):
                file = PACKAGE.parent / (dotted.replace(".", "/") + ".py")
                if dotted.startswith("stress_lab.") and file.is_file():
                    todo.append(file)
