"""A part of this project's code as flat files that need nothing else of it, for programs that run elsewhere."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("mockingjay", "utility")


def portable(entries: Mapping[str, str], all_in: str | None = None) -> dict[str, str]:
    """Sources by file name: the modules of `entries` (module -> name of its file, without .py) whole, and of those that
    they import only the functions, classes and constants that are needed, with imports made relative.

    So one definition serves here and there, and the copies bring no package that what they hold does not use. The file
    `all_in` imports all the others itself: Transformers 4 copies from a local folder only what its file names."""
    modules = {name: _Module.read(name) for name in entries}
    needed = {name: set(module.bound) for name, module in modules.items()}
    waiting = [(name, bound) for name, all_bound in needed.items() for bound in all_bound]
    while waiting:
        owner, bound = waiting.pop()
        for other, name in modules[owner].needs(bound):
            if other not in modules:
                modules[other] = _Module.read(other)
            assert name in modules[other].bound, f"{other} does not define {name}"
            if name not in needed.setdefault(other, set()):
                needed[other].add(name)
                waiting.append((other, name))
    files = {name: entries.get(name, name.replace(".", "_")) for name in modules}
    sources = {f"{files[name]}.py": module.emit(needed[name], files) for name, module in sorted(modules.items())}
    if all_in is not None:
        others = sorted(file for file in files.values() if file != all_in)
        sources[f"{all_in}.py"] += "".join(["\n", *(f"from .{file} import __name__ as _\n" for file in others)])
    return sources


@dataclass(frozen=True)
class _Import:
    """One name that an import binds: `module` as a whole where `attribute` is None."""

    module: str
    attribute: str | None
    inside: bool  # of this project


@dataclass(frozen=True)
class _Module:
    name: str
    lines: list[str]
    tree: ast.Module

    @classmethod
    def read(cls, name: str) -> "_Module":
        text = _path(name).read_text(encoding="utf-8")
        return cls(name, text.splitlines(), ast.parse(text))

    @cached_property
    def bound(self) -> dict[str, list[ast.stmt]]:
        """The top-level statements that bind each name."""
        statements: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            for name in _names(statement):
                statements.setdefault(name, []).append(statement)
        return statements

    @cached_property
    def imports(self) -> dict[str, _Import]:
        """What each imported name stands for."""
        statements = [statement for statement in self.tree.body if isinstance(statement, ast.Import | ast.ImportFrom)]
        return {
            _alias_name(alias): _imported(statement, alias) for statement in statements for alias in statement.names
        }

    def needs(self, name: str) -> Iterator[tuple[str, str]]:
        """(module, name) of everything of this project that the definition of `name` uses directly."""
        if name in self.imports:
            source = self.imports[name]
            if source.inside and source.attribute is not None:
                yield source.module, source.attribute
            return
        for node in (node for statement in self.bound[name] for node in ast.walk(statement)):
            if isinstance(node, ast.Name) and node.id in self.bound:
                yield self.name, node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                whole = self.imports.get(node.value.id)
                if whole is not None and whole.inside and whole.attribute is None:
                    yield whole.module, node.attr
            assert not (isinstance(node, ast.ImportFrom) and _inside(node.module)), f"{self.name}.{name} imports inside"

    def emit(self, names: set[str], files: Mapping[str, str]) -> str:
        """The source of `names`, in their order, with the comments on them."""
        parts = [f'"""{ast.get_docstring(self.tree)}"""', "", f"# From {self.name.replace('.', '/')}.py, by --export."]
        for statement in self.tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                parts += self._import(statement, names, files)
            elif names.intersection(_names(statement)):
                parts += self._source(statement)
        return "\n".join(parts) + "\n"

    def _import(self, statement: ast.Import | ast.ImportFrom, names: set[str], files: Mapping[str, str]) -> list[str]:
        kept = [alias for alias in statement.names if _alias_name(alias) in names]
        words = {alias.name: f"{alias.name} as {alias.asname}" if alias.asname else alias.name for alias in kept}
        if isinstance(statement, ast.Import):
            return [f"import {word}" for word in words.values()]
        whole = [alias for alias in kept if _imported(statement, alias).attribute is None]
        lines = []
        for alias in whole:  # programs that copy the files which others import look for the second form only
            file = files[_imported(statement, alias).module]
            lines += [f"from . import {file} as {_alias_name(alias)}", f"from .{file} import __name__ as _"]
        single = ", ".join(words[alias.name] for alias in kept if alias not in whole)
        module = statement.module or ""
        origin = f".{files[module]}" if _inside(module) and single else module
        return [*lines, f"from {origin} import {single}"] if single else lines

    def _source(self, statement: ast.stmt) -> list[str]:
        """The lines of a definition, with decorators, comments above, and the blank lines before them."""
        decorators = statement.decorator_list if isinstance(statement, ast.FunctionDef | ast.ClassDef) else []
        first = min([statement.lineno, *(node.lineno for node in decorators)]) - 1
        while self.lines[first - 1].startswith("#"):
            first -= 1
        while first and not self.lines[first - 1]:
            first -= 1
        return self.lines[first : statement.end_lineno]


def _path(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def _inside(module: str | None) -> bool:
    return (module or "").split(".")[0] in PACKAGES


def _alias_name(alias: ast.alias) -> str:
    return alias.asname or alias.name.split(".")[0]


def _imported(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> _Import:
    if isinstance(statement, ast.Import):
        return _Import(alias.name, None, _inside(alias.name))
    if _inside(statement.module) and _path(f"{statement.module}.{alias.name}").is_file():
        return _Import(f"{statement.module}.{alias.name}", None, True)
    return _Import(statement.module or "", alias.name, _inside(statement.module))


def _names(statement: ast.stmt) -> list[str]:
    """What a top-level statement binds."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [_alias_name(alias) for alias in statement.names]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []
