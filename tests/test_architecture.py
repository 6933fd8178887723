"""The structure of the package: faces, file names and the direction of imports."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import sk_sentemb

ROOT = Path(sk_sentemb.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
FOLDERS = {name for name, path in MODULES.items() if path.name == "__init__.py"}
# Folders within a folder that users import themselves.
PUBLIC_SUBFOLDERS = {"sk_sentemb.losses.cross_encoder"}
REPEATED_BY_DESIGN = {"__init__", "_base", "embedder", "classifier"}


def folder_of(module):
    return module if module in FOLDERS else module.rpartition(".")[0]


def names_in_face(folder):
    tree = ast.parse(MODULES[folder].read_text())
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def imported_modules(module):
    """Yield the modules of the package that a module names in its imports."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = folder_of(module).split(".")
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, base] if base else kept)
            if base.split(".")[0] == "sk_sentemb":
                for alias in node.names:
                    name = f"{base}.{alias.name}"
                    # A function may have the name of its file.
                    is_file = name in MODULES and base in FOLDERS
                    yield name if is_file and alias.name not in names_in_face(base) else base


def face_for(target, importer):
    """Return the outermost folder of the target that the importer is not in, or the target."""
    parts = target.split(".")
    for end in range(1, len(parts) + 1):
        folder = ".".join(parts[:end])
        inside = folder_of(importer) == folder or folder_of(importer).startswith(f"{folder}.")
        if folder in FOLDERS and not inside:
            return folder
    return target


def test_imports_between_folders_go_through_their_init():
    bypasses = [
        f"{module} imports from {target}"
        for module in MODULES
        for target in imported_modules(module)
        if target not in PUBLIC_SUBFOLDERS and face_for(target, module) != target
    ]
    assert bypasses == []


def test_file_names_are_unique():
    names = Counter(path.stem for path in MODULES.values())
    assert [name for name, n in names.items() if n > 1 and name not in REPEATED_BY_DESIGN] == []


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_files_and_folders_do_not_import_each_other_in_a_circle(folder):
    def child(module):
        """Return the file or folder directly in this folder that a module belongs to."""
        inside = module.startswith(f"{folder}.")
        return ".".join(module.split(".")[: folder.count(".") + 2]) if inside else None

    arrows = {child(module): set() for module in MODULES if child(module)}
    for module in MODULES:
        for target in imported_modules(module):
            here, there = child(module), child(target)
            if here and there and here != there:
                arrows[here].add(there)
    while ends := {name for name, others in arrows.items() if not others}:
        arrows = {name: others - ends for name, others in arrows.items() if name not in ends}
    assert arrows == {}
