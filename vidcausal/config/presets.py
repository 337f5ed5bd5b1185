"""Presets are files: ``configs/<group>/<name>.yaml``. The directory is the registry.

Data manifests are files too; both folders stand beside the package in the source tree and inside it in a wheel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from vidcausal.errors import ConfigError, UnknownNameError, first_line

_PACKAGE = Path(__file__).resolve().parents[1]


def config_dir() -> Path:
    """The folder of the configs: ``vidcausal/_configs`` of an installed wheel, else ``configs`` of the source tree.

    Raises:
        ConfigError: neither exists.
    """
    return _shipped("configs")


def manifest_dir() -> Path:
    """The folder of the manifests of benchmarks and, under ``weights``, of weights.

    Raises:
        ConfigError: it does not exist.
    """
    return _shipped("data_manifests")


def _shipped(name: str) -> Path:
    for folder in (_PACKAGE / f"_{name}", _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"no {name} beside {_PACKAGE}; reinstall the package: pip install --force-reinstall vidcausal")


def available(group: str) -> list[str]:
    """Names of the presets of a group, sorted; read from the folder, without Hydra."""
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def load_preset(group: str, name: str) -> dict[str, Any]:
    """One preset as a plain dict: ``_target_`` and arguments, inherited presets merged, interpolations resolved.

    A preset may start from others of its group (``defaults: [rrd, _self_]``) and may refer to ``${paths.…}``.

    Raises:
        UnknownNameError: there is no such preset.
        ConfigError: the file is not a YAML mapping, or refers to something that does not exist.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    node = _read(group, name, ())
    paths = _read("paths", "default", ()) if group != "paths" else node
    try:
        whole = OmegaConf.create({"paths": paths, group: node})
        plain = OmegaConf.to_container(whole[group], resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"configs/{group}/{name}.yaml: {first_line(error)}") from error
    return cast(dict[str, Any], plain)


def _read(group: str, name: str, above: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    if name not in available(group):
        raise UnknownNameError(group, name, available(group))
    where = f"configs/{group}/{name}.yaml"
    if name in above:
        raise ConfigError(f"{where} inherits from itself: {' -> '.join((*above, name))}")
    try:
        own = yaml.safe_load((config_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{where} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(own, dict):
        raise ConfigError(f"{where} must be a mapping of keys to values, got {type(own).__name__}")
    defaults = own.pop("defaults", None) or []
    merged: dict[str, Any] = {}
    for entry in [*defaults, *([] if "_self_" in defaults else ["_self_"])]:
        if not isinstance(entry, str):
            raise ConfigError(f"{where}: a preset can only inherit presets of its own group by name, got {entry!r}")
        merged = _merge(merged, own if entry == "_self_" else _read(group, entry, (*above, name)))
    return merged


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both
