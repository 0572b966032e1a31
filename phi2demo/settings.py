"""The settings of the app, and the only module that reads or changes the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, cast, get_args

from phi2demo.errors import SettingsError, quoted

ASSETS = Path(__file__).resolve().parent.parent / "assets"
EMBEDDED_MODEL = ASSETS / "model"
EMBEDDED_ADAPTER = ASSETS / "adapter"
SHIPPED_SET = ASSETS / "evaluation" / "set"

LONGEST_S = 3600
"""The highest time limit of a request, in seconds."""
SERVED_LONGEST_S = 300
"""The default time limit of a request where other machines can reach the page, since their users wait for each other."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
EngineName = Literal["auto", "transformers", "onnx"]
Quantization = Literal["none", "int8", "int4"]


@dataclass(frozen=True)
class ModelSettings:
    """The base model and the adapters to load; by default the pair in `assets`. Raises SettingsError."""

    model: str | None = None
    """Folder or hub id of the base model; None is the one that the adapter names, or the embedded one."""
    adapter: str | None = None
    """Folder or hub id of a PEFT adapter."""
    revision: str | None = None
    """Commit, tag or branch of the base model on the hub."""
    adapter_revision: str | None = None
    device: Device = "auto"
    dtype: Dtype = "auto"
    token: str | None = None
    """Access token for private or gated repositories on the hub."""
    other_adapters: tuple[str, ...] = ()
    """Folders or hub ids of further adapters on the same base, for comparison."""
    other_revisions: tuple[str, ...] = ()
    """Commit, tag or branch of each of these on the hub; an empty text is the newest."""
    template: str | None = None
    """Name or text of the prompt template; None leaves it to the adapter and the tokenizer."""
    system: str | None = None
    """System text of a chat template."""
    base: str | None = None
    """Folder or hub id of the base of a wholly finetuned `model`, to compare it with."""
    engine: EngineName = "auto"
    """The library that generates: transformers, or ONNX Runtime GenAI on a CPU."""
    quantize: Quantization = "none"
    """Number format of the weights of an ONNX graph; "none" is float32."""
    cache: Path = Path("~/.cache/phi2demo")
    """Folder in which converted graphs are kept."""

    def __post_init__(self) -> None:
        _check_choice("device", self.device, get_args(Device))
        _check_choice("dtype", self.dtype, get_args(Dtype))
        _check_choice("engine", self.engine, get_args(EngineName))
        _check_choice("quantize", self.quantize, get_args(Quantization))
        if self.engine == "onnx" and (self.device in ("cuda", "mps") or self.dtype in ("bfloat16", "float16")):
            raise SettingsError(
                "--engine onnx computes in float32 on the CPU: leave --device and --dtype out, or give --engine transformers."
            )
        if self.quantize != "none" and self.engine != "onnx":
            raise SettingsError(f"--quantize {self.quantize} is for --engine onnx; give that too.")
        for option, addresses in (
            ("model", (self.model,)),
            ("adapter", (self.adapter, *self.other_adapters)),
            ("base", (self.base,)),
        ):
            if "" in addresses:
                raise SettingsError(f"--{option} is empty; give a folder or a hub id such as microsoft/phi-2.")
        if len(self.other_revisions) > len(self.other_adapters):
            raise SettingsError(
                f"--adapter-revision is given {len(self.other_revisions) + 1} times for {len(self.other_adapters) + 1} "
                "--adapter; give one for each adapter, in the same order."
            )
        if self.base is not None and (self.model is None or self.adapter is not None):
            raise SettingsError(
                f"--base {self.base} is what a wholly finetuned --model is compared with: give that model, and no --adapter."
            )

    def by_transformers(self) -> "ModelSettings":
        """Return the settings of the same model for transformers."""
        return replace(self, engine="transformers", quantize="none")

    def __repr__(self) -> str:
        names = ("model", "adapter", "other_adapters", "device", "dtype")  # never the token
        return f"ModelSettings({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


@dataclass(frozen=True)
class ServerSettings:
    """How the page is served. Raises SettingsError."""

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    """Whether to create a public link, which works for three days."""
    auth: str | None = None
    """user:password that every visitor must enter."""
    public: bool = False
    """Whether `share` is allowed without a password."""
    queue_size: int = 16
    """Number of requests that may wait; any further one is refused."""
    time_limit_s: int | None = None
    """Time limit of a request; None chooses one, see `longest_s`."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"--port {self.port}: give a number from 0 (any free port) to 65535.")
        if self.auth is not None and not all(self.auth.partition(":")[::2]):
            raise SettingsError("--auth needs the form user:password, both not empty.")
        if self.time_limit_s is not None and not 1 <= self.time_limit_s <= LONGEST_S:
            raise _wrong_time_limit(self.time_limit_s)
        if self.share and not (self.auth or self.public):
            raise SettingsError(
                "--share puts this page on the internet. Add --auth user:password, or --public to let everyone in."
            )

    @property
    def longest_s(self) -> int:
        """Time limit of a request in seconds: the one that is set, or a default that depends on who can reach the page."""
        if self.time_limit_s is not None:
            return self.time_limit_s
        return SERVED_LONGEST_S if self.share or not _is_loopback(self.host) else LONGEST_S

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password, or None where visitors need none."""
        if self.auth is None:
            return None
        user, _, password = self.auth.partition(":")
        return user, password

    def __repr__(self) -> str:
        return f"ServerSettings(host={self.host!r}, port={self.port}, share={self.share}, auth={'***' if self.auth else None})"


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that torchrun started together. Raises SettingsError."""

    index: int = 0
    """Number of this process among those of all machines."""
    count: int = 1
    local_index: int = 0
    """Number of this process among those of this machine."""

    def __post_init__(self) -> None:
        if not self.index < self.count:
            raise SettingsError(f"RANK is {self.index} of a WORLD_SIZE of {self.count}; start processes by torchrun.")


def model_settings_from(
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    several: bool = True,
) -> ModelSettings:
    """Settings from PHI2DEMO_MODEL, _ADAPTER, _BASE, their _REVISION, _DEVICE, _DTYPE, _ENGINE, _QUANTIZE, _CACHE and more.

    `environment` replaces that of the process. `overrides` has values by field name, which win unless they are None.
    PHI2DEMO_ADAPTER may name several adapters, separated as in PATH; unless `several`, all but the first are left out.
    """
    env = _override(environment, overrides)
    adapters, revisions = (_listed(env, name) for name in ("PHI2DEMO_ADAPTER", "PHI2DEMO_ADAPTER_REVISION"))
    return ModelSettings(
        model=env.get("PHI2DEMO_MODEL"),
        adapter=adapters[0] if adapters else None,
        other_adapters=adapters[1:] if several else (),
        revision=env.get("PHI2DEMO_REVISION"),
        adapter_revision=(revisions[0] or None) if revisions else None,
        other_revisions=revisions[1:] if several else (),
        base=env.get("PHI2DEMO_BASE"),
        device=cast(Device, env.get("PHI2DEMO_DEVICE", "auto")),
        dtype=cast(Dtype, env.get("PHI2DEMO_DTYPE", "auto")),
        template=env.get("PHI2DEMO_TEMPLATE") or None,
        system=env.get("PHI2DEMO_SYSTEM") or None,
        engine=cast(EngineName, env.get("PHI2DEMO_ENGINE", "auto")),
        quantize=cast(Quantization, env.get("PHI2DEMO_QUANTIZE", "none")),
        cache=Path(env.get("PHI2DEMO_CACHE") or ModelSettings.cache),
        token=env.get("HF_TOKEN") or None,
    )


def server_settings_from(
    environment: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> ServerSettings:
    """Settings from PHI2DEMO_HOST, _PORT, _SHARE, _AUTH, _PUBLIC, _TIME_LIMIT; the parameters are as above.

    On a Hugging Face Space, which sets SPACE_ID, the host is 0.0.0.0 by default.
    """
    env = _override(environment, overrides)
    host = env.get("PHI2DEMO_HOST") or ("0.0.0.0" if "SPACE_ID" in env else ServerSettings.host)
    port = env.get("PHI2DEMO_PORT", str(ServerSettings.port))
    if not port.isdecimal():
        raise SettingsError(f"--port (PHI2DEMO_PORT) is {quoted(port)}; give a number from 0 (any free port) to 65535.")
    limit = env.get("PHI2DEMO_TIME_LIMIT")
    if limit is not None and not limit.isdecimal():
        raise _wrong_time_limit(limit)
    return ServerSettings(
        host=host,
        port=int(port),
        share=_flag("PHI2DEMO_SHARE", env),
        auth=env.get("PHI2DEMO_AUTH"),
        public=_flag("PHI2DEMO_PUBLIC", env),
        time_limit_s=None if limit is None else int(limit),
    )


def launch_from(environment: Mapping[str, str] | None = None) -> Launch:
    """Read RANK, WORLD_SIZE and LOCAL_RANK, which torchrun sets; without them this is the only process."""
    env = _override(environment, None)
    ranks = {
        name: env.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    }
    for name, value in ranks.items():
        if not value.isdecimal():
            raise SettingsError(f"{name} is {quoted(value)}; start several processes by torchrun, which sets it.")
    launch = Launch(*(int(value) for value in ranks.values()))
    if launch.count > 1 and "MASTER_ADDR" not in env:
        raise SettingsError("WORLD_SIZE is set but MASTER_ADDR is not; start several processes by torchrun.")
    return launch


def keep_one_gpu(launch: Launch, count: int) -> None:
    """Hide all but one of the `count` GPUs from this process; call it before CUDA is used."""
    if count:
        names = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")[:count]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[launch.local_index % count].strip()


def turn_off_tokenizer_threads(_worker: int = 0) -> None:
    """Make tokenizers run in one thread; a worker process calls it, since their threads do not survive a fork."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _override(environment: Mapping[str, str] | None, overrides: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The environment, with PHI2DEMO_ variables replaced by the overrides that are not None."""
    env = dict(os.environ if environment is None else environment)
    for name, value in (overrides or {}).items():
        if value is not None:
            text = os.pathsep.join(value) if isinstance(value, list) else str(value)
            env[f"PHI2DEMO_{name.upper()}"] = "1" if value is True else text
    return env


def _listed(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(env[name].split(os.pathsep)) if name in env else ()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong_time_limit(value: object) -> SettingsError:
    return SettingsError(
        f"--time-limit (PHI2DEMO_TIME_LIMIT) is {quoted(value)}; give whole seconds from 1 to {LONGEST_S}."
    )


def _flag(name: str, env: Mapping[str, str]) -> bool:
    value = env.get(name, "0").lower()
    if value not in ("0", "1", "true", "false", ""):
        raise SettingsError(f"{name} is {quoted(value)}; give 1 or 0.")
    return value in ("1", "true")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {quoted(value)}; give one of {', '.join(choices)}.")
