"""The house: which way imports point (CONTRIBUTING.md has the table)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "stress_lab"
PLUGINS = sorted((PACKAGE.parent / "hydra_plugins").glob("*.py"))
EXTRAS = {"joblib", "submitit", "ray", "optuna"}  # each brought by an extra
TORCH = {"torch", "torchvision", "torchmetrics", "pytorch_grad_cam"}
LIGHTNING = {"lightning"}
HYDRA = {"hydra", "omegaconf"}
DRAWING = {"matplotlib", "seaborn"}
HEAVY = TORCH | LIGHTNING
ARRAYS = {"scipy", "sklearn", "pandas", "pyarrow"}

# part of the package, from the bottom up: the packages that it must not import; of ours it may import what stands
# above it in this table, and nothing else
LAYERS = {
    # nouns
    "errors": HEAVY | HYDRA | DRAWING | ARRAYS,
    "plain_text": HEAVY | HYDRA | DRAWING | ARRAYS,
    "records": HEAVY | HYDRA | DRAWING | ARRAYS,
    # the machine
    "runtime": {"hydra"} | DRAWING | ARRAYS,  # of the config it reads the node of the Trainer
    # science on arrays
    "stats": HEAVY | HYDRA | DRAWING,
    "calibration": HEAVY | HYDRA | DRAWING,
    "slices": HEAVY | HYDRA | DRAWING,
    "labels": HEAVY | HYDRA | DRAWING,
    "failures": HEAVY | HYDRA | DRAWING,
    "evaluation": HEAVY | HYDRA | DRAWING,
    # science on tensors
    "transforms": LIGHTNING | HYDRA | DRAWING,
    "inference": LIGHTNING | HYDRA | DRAWING,
    "saliency": LIGHTNING | HYDRA | DRAWING,
    "stress": LIGHTNING | HYDRA | DRAWING,
    # disk
    "files": HEAVY | HYDRA | DRAWING,
    "storage": HEAVY | HYDRA | DRAWING,
    "runs": HEAVY | HYDRA | DRAWING,
    "prediction_files": HEAVY | HYDRA | DRAWING,
    "comparison": HEAVY | HYDRA | DRAWING,
    # Lightning shells, and the pages between them: what a shell records is drawn
    "data": HYDRA | DRAWING,
    "models": HYDRA | DRAWING,
    "figures": HEAVY | HYDRA,
    "report": HEAVY | HYDRA,
    "recording": LIGHTNING | HYDRA,
    "auditing": LIGHTNING | HYDRA | DRAWING,
    "callbacks": HYDRA | DRAWING,
    # flows
    "preflight": DRAWING,
    "training": DRAWING,
    "publishing": set(),
    "sweeps": DRAWING,
    # face
    "api": LIGHTNING | HYDRA | DRAWING,
    "cli": DRAWING,
    "__main__": DRAWING,
}
PURE_TENSORS = ["models/resnet.py", "models/three_block.py", "models/recipe.py", "data/splits.py", "data/images.py"]
FACE = [
    "cli/app",
    "cli/train",
    "cli/evaluate",
    "cli/compare",
    "cli/audit",
    "sweeps/callback",
    "preflight/rules",
    "runs/folder",
]


def imports(path, top_level_only=False):
    """Dotted names that a module imports, those for type checkers included."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def find_file(dotted, root=PACKAGE.parent):
    """The file that an import of ours reads, be the last name a module or something in one."""
    for name in (dotted, dotted.rpartition(".")[0]):
        path = root / name.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_the_right_way(path):
    name, used = part(path), imports(path)
    roots = {imported.split(".")[0] for imported in used}
    assert not roots & LAYERS[name]
    if str(path.relative_to(PACKAGE)) in PURE_TENSORS:
        assert not roots & (LIGHTNING | HYDRA)
    below = set(list(LAYERS)[: list(LAYERS).index(name) + 1])
    ours = {imported.split(".")[1] for imported in used if imported.startswith("stress_lab.")}
    assert ours - {"__version__"} <= below


def test_every_part_has_its_place_in_the_table():
    assert {part(path) for path in MODULES} == set(LAYERS)
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 14


@pytest.mark.parametrize("folder", ["stress_lab", "hydra_plugins", "benchmarks"])
def test_no_imports_run_in_a_circle(folder):
    """Those within functions and for type checkers count, so that none only hides a circle."""
    root = PACKAGE.parent if folder != "benchmarks" else PACKAGE.parent / folder  # a script finds its neighbours there
    todo = {path: {find_file(name, root) for name in imports(path)} for path in (PACKAGE.parent / folder).rglob("*.py")}
    while todo:
        free = [path for path, used in todo.items() if not (used & todo.keys()) - {path}]
        assert free, f"a circle among {sorted(str(path.relative_to(PACKAGE.parent)) for path in todo)}"
        for path in free:
            del todo[path]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_plugins_load_at_every_start(path):
    """Hydra loads every plugin before it answers --help, installed extra or not, and apart from ``sys.modules``."""
    used = imports(path, top_level_only=True)
    assert not {imported.split(".")[0] for imported in used} & (HEAVY | DRAWING | EXTRAS)
    assert "__future__.annotations" not in used  # dataclasses would look the module up
    ours = {imported.split(".")[1] for imported in used if imported.startswith("stress_lab.")}
    assert ours <= {"errors", "runtime", "sweeps"}


def test_plugins_share_the_namespace_of_hydras():
    assert len(PLUGINS) == 4
    assert not (PACKAGE.parent / "hydra_plugins" / "__init__.py").exists()


@pytest.mark.parametrize("module", FACE)
def test_commands_answer_before_heavy_imports(module):
    """Heavy packages are imported within functions, so that --help is instant."""
    todo, seen = [PACKAGE / f"{module}.py"], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imports(path, top_level_only=True):
            assert name.split(".")[0] not in HEAVY | DRAWING, f"{path.name} imports {name}"
            file = find_file(name) if name.startswith("stress_lab.") else None
            if file is not None:
                todo.append(file)
    assert len(seen) > 3
