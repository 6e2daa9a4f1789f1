"""Configurations that are composed again and again are read and merged once a session, whichever process asks.

The files that a command line chooses are merged once for each choice and kept in a folder; Hydra sets the values of a command
line in a copy. So it is with `${...}`, which OmegaConf parses at each look at a value. The tests (conftest.py) and the runs
that they start (launcher.py) compose so; `test_a_composition_is_the_same_at_its_second_time` compares with Hydra's own way.
"""

import functools
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any


def remember(folder: Path, put: Callable[[Any, str, Any], None]) -> Callable[..., Any]:
    """Put the quick ways in their places, by `put(owner, name, value)`. Returns Hydra's own."""
    import omegaconf
    from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override
    from hydra.core.utils import JobRuntime

    whole = ConfigLoaderImpl._load_configuration_impl

    def is_value(loader: Any, override: Override) -> bool:
        """Set when all files are merged, as Hydra sets it."""
        return not override.is_sweep_override() and not loader.repository.group_exists(override.key_or_group)

    def load(self: Any, config_name: str | None, overrides: list[str], run_mode: Any, *args: Any, **kwargs: Any) -> Any:
        parsed = OverridesParser.create().parse_overrides(overrides)
        if any(each.key_or_group == "hydra.searchpath" for each in parsed):  # a test's own files, which it changes
            return whole(self, config_name, overrides, run_mode, *args, **kwargs)
        values = [each for each in parsed if is_value(self, each)]
        choices = [str(each.input_line) for each in parsed if each not in values]
        places = [(each.provider, each.path) for each in self.repository.get_sources()]
        key = repr((config_name, run_mode, JobRuntime.instance().conf, choices, places, args, kwargs))
        kept = folder / hashlib.sha256(key.encode()).hexdigest()
        if not kept.is_file():
            own = kept.with_name(f"{kept.name}-{os.getpid()}")
            own.write_bytes(pickle.dumps(whole(self, config_name, choices, run_mode, *args, **kwargs)))
            own.replace(kept)
        config = pickle.loads(kept.read_bytes())
        self._apply_overrides_to_config(values, config)
        job, tasks = config.hydra.job, [each for each in parsed if not each.is_hydra_override()]
        config.hydra.overrides.task = [each.input_line for each in tasks]
        config.hydra.overrides.hydra = [each.input_line for each in parsed if each.is_hydra_override()]
        config.hydra.runtime.cwd = str(Path.cwd())
        job.override_dirname = get_overrides_dirname(tasks, **job.config.override_dirname)
        return config

    put(ConfigLoaderImpl, "_load_configuration_impl", load)
    put(omegaconf.base, "parse", functools.cache(omegaconf.base.parse))
    return whole
