"""`twinloom validate`: DTDL files through the parser, a report for people or for CI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from twinloom.twin.dtdl import Document, DtdlError, Models, parse
from twinloom.twin.errors import BadFile


def read_documents(paths: Sequence[Path]) -> list[Document]:
    """The DTDL files, and those of the folders. Raises BadFile for one that cannot be read, or where there is none."""
    files = [file for path in paths for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise BadFile(str(paths[0]), "holds no .json file", remedy="name DTDL files or a folder of them")
    documents = []
    for file in files:
        try:
            documents.append(Document(file.read_bytes(), str(file)))
        except OSError as error:
            raise BadFile(str(file), f"cannot be read ({error.strerror})", remedy="name an existing file") from None
    return documents


def read_models(paths: Sequence[Path]) -> Models:
    """The models of files and folders. Raises BadFile, and DtdlError for what is not DTDL."""
    return parse(read_documents(paths))


def validate_files(paths: Sequence[Path], *, as_json: bool) -> int:
    """0 when the files together are valid, 2 when not. Raises BadFile for one that cannot be read."""
    documents = read_documents(paths)
    try:
        models = parse(documents)
    except DtdlError as error:
        if as_json:
            defects = [
                {
                    "file": d.file,
                    "line": d.line,
                    "path": d.path,
                    "code": d.code,
                    "message": d.message,
                    "remedy": d.remedy,
                }
                for d in error.errors
            ]
            print(json.dumps({"valid": False, "files": len(documents), "defects": defects}))
            return 2
        console = Console(highlight=False)
        for defect in error.errors:
            place = f"{defect.file or 'document'}:{defect.line}" if defect.line else (defect.file or "document")
            console.print(f"[bold]{escape(place)}[/] {escape(defect.path)} [red]{escape(defect.code)}[/]")
            console.print(f"    {escape(defect.message)}")
            if defect.remedy:
                console.print(f"    [green]{escape(defect.remedy)}[/]")
        console.print(f"[red]{len(error.errors)} defects in {len(documents)} files[/]")
        return 2
    if as_json:
        print(json.dumps({"valid": True, "files": len(documents), "interfaces": len(models)}))
    else:
        Console(highlight=False).print(f"[green]valid[/]: {len(models)} interfaces in {len(documents)} files")
    return 0
