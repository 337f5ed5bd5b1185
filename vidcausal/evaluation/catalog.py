"""What there is: presets of models, strategies and benchmarks, each with a line about it and whether it can be used."""

from __future__ import annotations

from typing import Any

from vidcausal.config.presets import available, config_dir, load_preset
from vidcausal.errors import UnknownNameError, VidcausalError


def about(group: str, name: str) -> str:
    """The comment at the top of a preset's file: one line, without ``# @package``."""
    lines = []
    for line in (config_dir() / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines)


def models() -> list[dict[str, Any]]:
    """A row a model preset: name, about, its weights and which of them are missing on this machine."""
    from vidcausal.models.weights.resolver import weights_table

    here = {str(row["name"]): row for row in weights_table()}
    rows = []
    for name in available("model"):
        needs = weights_of(name)
        sizes = [int(str(here[weight]["size"] or 0)) for weight in needs]
        rows.append(
            {
                "name": name,
                "about": about("model", name),
                "weights": needs,
                "missing": [weight for weight in needs if not here[weight]["present"]],
                "size": sum(sizes),
                "licenses": sorted({str(here[weight]["license"]) for weight in needs}),
            }
        )
    return rows


def weights() -> list[dict[str, Any]]:
    """A row for each set of named weights: size, license, whether it is here and how to get it."""
    from vidcausal.models.weights.resolver import weights_table

    return [dict(row) for row in weights_table()]


def weights_of(name: str) -> list[str]:
    """Names of the weights that a model preset uses: its ``_weights_``, and arguments that name weights."""
    from vidcausal.models.weights.manifest import names

    known = set(names())
    node = load_preset("model", name)
    listed = [*node.get("_weights_", []), *(value for value in node.values() if isinstance(value, str))]
    return [weight for weight in dict.fromkeys(listed) if weight in known]


def get(name: str) -> list[dict[str, Any]]:
    """Fetch the weights called ``name``, or all that the model preset ``name`` needs; a row for each.

    Raises:
        UnknownNameError: neither weights nor a preset.
        MissingWeightsError: no source could be reached.
    """
    from vidcausal.models.weights.manifest import names
    from vidcausal.models.weights.resolver import resolve

    known = names()
    if name not in known and name not in available("model"):
        raise UnknownNameError("weights or model", name, [*known, *available("model")])
    wanted = [name] if name in known else weights_of(name)
    found = [resolve(weight, download=True) for weight in wanted]
    return [{"name": entry.name, "path": str(entry.folder), "digest": entry.digest} for entry in found]


def check(name: str) -> dict[str, Any]:
    """What a model preset needs: its weights with their sizes, what is missing, and parameters by file.

    Parameters are counted in the headers of the files that are here, and in modules built on torch's meta device;
    no weights are loaded.

    Raises:
        UnknownNameError: no such preset.
    """
    if name not in available("model"):
        raise UnknownNameError("model", name, available("model"))
    from vidcausal.models.weights.resolver import resolve

    table = {str(row["name"]): row for row in weights()}
    parts = []
    for weight in weights_of(name):
        row = table[weight]
        part = {"name": weight, "size": row["size"], "present": bool(row["present"]), "parameters": {}}
        try:
            files = resolve(weight).files
        except VidcausalError as error:
            part["problem"] = str(error)
        else:
            part["parameters"] = {file: count for file, path in files.items() if (count := _parameters(path))}
        parts.append(part)
    modules = _modules(name)
    counted = sum(sum(part["parameters"].values()) for part in parts)
    return {
        "name": name,
        "about": about("model", name),
        "weights": parts,
        "modules": modules,
        "missing": [part["name"] for part in parts if not part["present"]],
        "bytes": sum(int(part["size"] or 0) for part in parts),
        "parameters": sum(modules.values()) if modules else counted,
    }


def _modules(name: str) -> dict[str, int]:
    """Parameters of each part of a model that is a torch module; empty for other models, or where parts are absent."""
    import typing

    import torch

    from vidcausal.config.instantiate import locate
    from vidcausal.evaluation.build import create_model

    kind = typing.get_type_hints(locate(load_preset("model", name)["_target_"])).get("return")
    if not (isinstance(kind, type) and issubclass(kind, torch.nn.Module)):
        return {}
    try:
        model = create_model(name, device="meta")
    except VidcausalError:
        return {}
    return {part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()}


def _parameters(path: Any) -> int:
    """Numbers in a file of weights, from its header; 0 for files that are no weights."""
    import math

    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(path), "np") as file:
            return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    if path.suffix == ".gguf":
        from gguf import GGUFReader

        return sum(int(tensor.n_elements) for tensor in GGUFReader(str(path)).tensors)
    return 0


def strategies() -> list[dict[str, Any]]:
    """A row a strategy preset."""
    return [{"name": name, "about": about("strategy", name)} for name in available("strategy")]


def benchmarks() -> list[dict[str, Any]]:
    """A row a benchmark preset."""
    return [{"name": name, "about": about("benchmark", name)} for name in available("benchmark")]
