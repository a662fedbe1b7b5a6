"""The house's floors, budgets and manners, held by reading every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MODULES = sorted((SRC / "unstrung").rglob("*.py"))

# the longest prefix that fits says on which floor a module stands, and what that floor is for
FLOORS = {
    "unstrung": (0, "the public face"),
    "unstrung.errors": (0, "words"),
    "unstrung.request": (0, "words"),
    "unstrung.card": (0, "words"),
    "unstrung.events": (0, "words"),
    "unstrung.job": (0, "words"),
    "unstrung.recipe": (0, "words"),
    "unstrung.plugins": (0, "words"),
    "unstrung.licenses": (0, "words"),
    "unstrung.media": (1, "media"),
    "unstrung.diffusion": (2, "maths"),
    "unstrung.models": (3, "makers"),
    "unstrung.finish": (3, "makers"),
    "unstrung.corpus": (3, "makers"),
    "unstrung.engine": (4, "work"),
    "unstrung.edit": (4, "work"),
    "unstrung.train": (4, "work"),
    "unstrung.eval": (4, "work"),
    "unstrung.machine": (5, "running"),
    "unstrung.jobs": (5, "running"),
    "unstrung.cli": (6, "doors"),
    "unstrung.__main__": (6, "doors"),
    "unstrung.api": (6, "doors"),
    "unstrung.studio": (6, "doors"),
}
MOUNTED = ("unstrung.studio", "unstrung.api")  # the page stands in the API's application, on its desk
STARTED = ("unstrung.api", "unstrung.studio")  # doors that the command line starts; else no door knows another
SHARED = ("unstrung.models.base", "unstrung.models.device")  # by all makers
# what the lower floors may import from outside the standard library; None is anything
OUTSIDE: dict[int, set[str] | None] = {0: set(), 1: {"numpy", "av", "PIL"}, 2: set()}
PICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MODULE_NAMES = {path.stem for path in (SRC / "unstrung").glob("*.py")} | {path.name for path in (SRC / "unstrung").glob("*/")}


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> tuple[str, int]:
    prefix = max((p for p in FLOORS if module == p or module.startswith(p + ".")), key=len)
    if prefix == "unstrung" and module != "unstrung":
        raise AssertionError(f"{module} stands on no floor: give its first folder a line in FLOORS and in docs/design.md.")
    return prefix, FLOORS[prefix][0]


def room_of(module: str) -> str:
    """The folder whose modules may see one another: models/native is a room, so is train."""
    parts = module.replace("__main__", "cli").split(".")
    return ".".join(parts[:3]) if parts[1:2] in (["models"], ["corpus"]) else ".".join(parts[:2])


def imports(path: Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import by full name"
            if node.module == "unstrung":  # `from unstrung import engine` imports a module, `__version__` does not
                found += [(f"unstrung.{a.name}" if a.name in MODULE_NAMES else "unstrung", node.lineno) for a in node.names]
            else:
                found.append((node.module or "", node.lineno))
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    module = module_name(path)
    prefix, floor = floor_of(module)
    for name, line in imports(path):
        top = name.split(".")[0]
        where = f"{path.name}:{line}: {module} (floor {floor}, {FLOORS[prefix][1]}) imports {name}"
        if top == "unstrung":
            if name == "unstrung" or room_of(name) == room_of(module):
                continue
            other = floor_of(name)[1]
            if module == "unstrung":  # the public face names its homes for type checkers only
                continue
            if floor == 6 and other < 6:
                continue
            if room_of(module) == "unstrung.cli" and room_of(name) in STARTED:
                continue
            if (room_of(module), room_of(name)) == MOUNTED:
                continue
            if module == "unstrung.machine" and other == 0:
                continue
            allowed = other < floor or (floor == other == 0) or (name in SHARED and floor >= 3)
            assert allowed, f"{where} (floor {other}): what both need belongs on a floor below {min(floor, other)}."
        elif top not in sys.stdlib_module_names:
            outside = OUTSIDE.get(floor)
            assert outside is None or top in outside, f"{where}: floor {floor} uses {outside or 'the standard library only'}."


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_budgets(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 600, f"{path.name} has {text.count(chr(10))} lines: 600 are the budget; split it by idea."
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= 60, f"{path.name}:{node.lineno}: {node.name} has {lines} lines: 60 are the budget."
        if isinstance(node, ast.ClassDef):
            fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
            assert len(fields) <= 20, f"{path.name}:{node.lineno}: {node.name} has {len(fields)} fields: 20 are the budget."


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_manners(path: Path) -> None:
    """No silent failure, no state at module level, no print outside the doors."""
    tree = ast.parse(path.read_text())
    module = module_name(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path.name}:{node.lineno}: a bare except hides what went wrong."
            silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert not silent, f"{path.name}:{node.lineno}: 'except: pass' hides what went wrong."
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert module.startswith("unstrung.cli"), f"{path.name}:{node.lineno}: only the command line prints."
        if isinstance(node, ast.Global):
            raise AssertionError(f"{path.name}:{node.lineno}: no state at module level; make it in main and hand it down.")


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name == "cli"], ids=module_name)
def test_verbs_are_short(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and any("command" in ast.unparse(d) for d in node.decorator_list):
            body = node.body[-1].end_lineno - node.body[0].lineno + 1  # type: ignore[operator]
            assert body <= 30, f"{node.name} has a body of {body} lines: a verb parses, calls one function, prints."


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nothing_is_unpickled(path: Path) -> None:
    """A pickle does what whoever wrote it wants: nobody reads one, nor a file that may hold one."""
    for name, line in imports(path):
        assert name.split(".")[0] not in PICKLERS, f"{path.name}:{line}: {name} runs what a file says; use JSON or safetensors."
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            where = f"{path.name}:{node.lineno}: {ast.unparse(node)}"
            assert options.get("allow_pickle", "False") == "False", f"{where}: an array needs no pickle."
            if ast.unparse(node.func) == "torch.load":
                assert options.get("weights_only") == "True", f"{where}: say weights_only=True."


def test_no_familys_name_outside_its_folder() -> None:
    families = {p.name for p in (SRC / "unstrung" / "models").iterdir() if p.is_dir() and p.name not in ("__pycache__",)}
    below = [p for p in MODULES if floor_of(module_name(p))[1] < 3 or module_name(p) == "unstrung.engine"]
    for path in below:
        words = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        imported = {part for name, _ in imports(path) for part in name.split(".")}
        assert not families & (words | imported), (
            f"{path.name} names {families & (words | imported)}: families stay in their folder."
        )


def test_core_dependencies_fit_on_two_hands() -> None:
    import tomllib

    project = tomllib.loads((SRC.parent / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= 10
    assert not any(d.startswith("torch") for d in project["dependencies"])


def test_importing_is_free(tmp_path: Path) -> None:
    """`import unstrung` and the command line load nothing heavy, print nothing and make no folder."""
    heavy = {"torch", "numpy", "openvino", "av", "PIL", "rich", "openai", "httpx2"}
    code = f"import sys, unstrung, unstrung.cli; print(sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout == "[]\n", done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_every_module_imports_where_torch_and_openai_are_missing() -> None:
    """The default install has neither: all but training, the reader, what runs models in torch and what asks hosts do without."""
    native, hub = ([f"unstrung.models.{family}.{name}" for name in names] for family, names in
                   (("native", ("model", "detail")), ("hub", ("adapter", "pipes", "preview"))))  # fmt: skip
    needs_more = ("unstrung.train", "unstrung.eval", *native, *hub, "unstrung.models.remote.film", "unstrung.models.remote.host")
    names = [m for m in map(module_name, MODULES) if not m.startswith(needs_more)]
    code = f"import sys; sys.modules['torch'] = sys.modules['openai'] = None\nimport importlib\nfor n in {names!r}: importlib.import_module(n)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
