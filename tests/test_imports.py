"""The import rule: parts know no method, the library knows no recipe, and `import hybridrec` is light."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "hybridrec"

TORCH_ONLY = {"losses", "pairs", "graph", "precision"}
PARTS = {"views", "encoders", "decoders", "discriminators", "data"}
SHARED = {"bags", "dropout", "errors", "protocols", "saving", "memo", "precision", "shares"}  # small, and know no model
ALLOWED = {
    **{part: {part, "graph", "data", *SHARED} for part in PARTS},
    "bags": {"errors"},
    "foldin": {"data", "precision"},
    "linear": {"data", "errors"},
    "rows": {"bags", "data", "errors", "saving"},
    "objectives": {"data", "errors", "losses", "saving"},
    "hub": {"errors"},
    "cards": set(),
    "pretrained": {"cards", "errors", "hub", "saving"},
    "saving": {"data", "errors", "pretrained"},
    "shares": {"data"},
    "methods": PARTS | TORCH_ONLY | SHARED | {"foldin", "linear", "objectives", "rows", "methods"},
    "baselines": PARTS | TORCH_ONLY | SHARED | {"foldin", "linear", "rows", "baselines"},
    "training": {"average", "data", "evaluation", "graph", "training", *SHARED},
    "diagnostics": {"data", "evaluation", "losses", *SHARED},
    "evaluation": {"data", "evaluation", *SHARED},
    "doctor": {"data", "doctor", "evaluation", *SHARED},
}


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files() -> list[tuple[str, Path]]:
    """Every file of the package with the room it is in."""
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in sorted(PACKAGE.rglob("*.py"))]


def test_rooms_import_only_what_lies_below_them():
    wrong = []
    for room, path in files():
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "hybridrec" and room in ALLOWED and len(parts) > 1 and parts[1] not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong, wrong


def test_losses_pairs_and_graph_import_only_torch():
    standard = set(sys.stdlib_module_names) | {"torch", "hybridrec", "__future__"}
    wrong = []
    for room, path in files():
        if room in TORCH_ONLY:
            for name in imports(path):
                parts = name.split(".")
                if parts[0] not in standard or (parts[0] == "hybridrec" and parts[1] not in (room, "precision")):
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong, wrong


def test_no_method_imports_another_method():
    wrong = []
    for room, path in files():
        if room in ("methods", "baselines") and path.stem != "__init__":
            siblings = {p.stem for p in (PACKAGE / room).glob("*.py") if not p.stem.startswith("_")} - {path.stem}
            for name in imports(path):
                parts = name.split(".")
                if parts[:2] == ["hybridrec", room] and len(parts) > 2 and parts[2] in siblings and room == "methods":
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong, wrong


def test_the_library_reads_no_arguments_environment_or_recipes():
    wrong = []
    for _, path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            reads = isinstance(node, ast.Attribute) and f"{ast.unparse(node.value)}.{node.attr}" in (
                "sys.argv",
                "os.environ",
                "os.getenv",
            )
            if reads:
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
        wrong += [
            f"{path.relative_to(PACKAGE)} imports {name}" for name in imports(path) if name.startswith(("recipes", "argparse"))
        ]
    assert not wrong, wrong


def test_no_pickle_is_read_or_written():
    wrong = []
    for _, path in [*files(), *(("recipes", p) for p in (PACKAGE.parent / "recipes").rglob("*.py"))]:
        tree = ast.parse(path.read_text())
        wrong += [
            f"{path.name} imports {name}"
            for name in imports(path)
            if name.split(".")[0] in ("pickle", "dill", "joblib", "shelve")
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "torch.save"):
                wrong.append(f"{path.name}:{node.lineno} {ast.unparse(node.func)}")
            if (
                isinstance(node, ast.keyword)
                and node.arg == "allow_pickle"
                and not (isinstance(node.value, ast.Constant) and node.value.value is False)
            ):
                wrong.append(f"{path.name}:{node.value.lineno} allow_pickle")
    assert not wrong, wrong


def test_importing_the_package_loads_no_heavy_library():
    heavy = [
        "transformers",
        "sentence_transformers",
        "peft",
        "diffusers",
        "datasets",
        "accelerate",
        "pyarrow",
        "scipy",
        "pandas",
    ]
    code = (
        "import sys, torch; before = set(sys.modules); import hybridrec; "
        f"print([m for m in {heavy} if m in sys.modules and m not in before])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_public_name_resolves():
    import hybridrec

    missing = [name for name in hybridrec.__dir__() if not hasattr(hybridrec, name)]
    assert not missing
    try:
        hybridrec.no_such_thing  # noqa: B018
    except AttributeError as error:
        assert "no_such_thing" in str(error)
    else:
        raise AssertionError("an unknown name must raise")
