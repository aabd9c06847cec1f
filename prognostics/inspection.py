"""What `twinloom model inspect | check | card` say of a model file."""

from __future__ import annotations

import json
from pathlib import Path

from twinloom.prognostics.contract import ModelContract
from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.prognostics.onnx_file import inspect
from twinloom.twin.instance import Json


def check(path: Path) -> OnnxEstimator:
    """Loads the model as the service would, trial run included. Raises BadFile with what does not fit."""
    return OnnxEstimator.open(path)


def describe(path: Path) -> dict[str, Json]:
    """The checked file as JSON: digest, size, operators, and the whole contract. Raises BadFile."""
    model = check(path)
    found = inspect(path.read_bytes(), str(path))
    contract: Json = json.loads(model.contract.dump())
    return {
        "file": str(path),
        "digest": model.version,
        "bytes": path.stat().st_size,
        "producer": found.producer,
        "nodes": found.nodes,
        "parameters": found.elements,
        "operators": sorted(f"{domain}.{kind}" if domain else kind for domain, kind in found.operators),
        "contract": contract,
    }


def card(path: Path) -> str:
    """A model card in Markdown from the file alone. Raises BadFile."""
    model = check(path)
    contract, unit = model.contract, model.contract.target_unit
    lines = [
        f"# Model card: {path.name}",
        "",
        f"- Digest: `{model.version}`; created {contract.created or 'unknown'}, commit {contract.commit or 'unknown'}.",
        f"- Says: {unit}s until failure, 0 to {contract.cap:g}; outputs {', '.join(contract.outputs)}.",
        f"- Trained on: {contract.training.get('trained_on', 'not stated')}.",
        f"- Needs: {contract.layout.window} rows, one every {contract.layout.stride:g} of `{contract.layout.clock}`"
        + (", watched since installation." if contract.history == "install" else "."),
        "",
        "| feature | channel | unit | made by | mean | deviation | from | to |",
        "|---|---|---|---|---|---|---|---|",
        *_features(contract),
        "",
        f"Interval: {contract.interval.method}, level {contract.interval.level:g}.",
        "",
        "| predicted | half width |",
        "|---|---|",
        *[
            f"| {low:g} to {high:g} {unit}s | {half:.1f} |"
            for low, high, half in zip(
                contract.interval.edges, contract.interval.edges[1:], contract.interval.half_widths, strict=False
            )
        ],
        "",
        "| figure | value |",
        "|---|---|",
        *[f"| {name} | {value} |" for name, value in contract.metrics.items() if isinstance(value, (int, float, list))],
    ]
    return "\n".join(lines) + "\n"


def _features(contract: ModelContract) -> list[str]:
    units = {channel.name: channel.unit for channel in contract.layout.channels}
    return [
        f"| {f.name} | {f.channel} | {units[f.channel]} | {f.transform}{f' {f.alpha:g}' if f.alpha else ''} |"
        f" {r.mean:.4g} | {r.std:.4g} | {r.minimum:.4g} | {r.maximum:.4g} |"
        for f, r in zip(contract.layout.features, contract.ranges, strict=True)
    ]
