"""Settings of the app. The environment is read here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, cast, get_args

from phi2demo.errors import SettingsError

ASSETS = Path(__file__).resolve().parent.parent / "assets"
EMBEDDED_MODEL = ASSETS / "model"
EMBEDDED_ADAPTER = ASSETS / "adapter"
SHIPPED_SET = ASSETS / "evaluation" / "set"

LONGEST_S = 3600
"""No request takes longer, whatever is asked."""
SERVED_LONGEST_S = 300
"""The same where the page is served to others, who wait meanwhile."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class ModelSettings:
    """Which weights answer. Nothing given: the embedded pair."""

    model: str | None = None
    """Folder or hub id of the base; None: the one the adapter names, or the embedded one."""
    adapter: str | None = None
    """Folder or hub id of a PEFT adapter."""
    revision: str | None = None
    """Of the base, on the hub."""
    adapter_revision: str | None = None
    device: Device = "auto"
    dtype: Dtype = "auto"
    token: str | None = None
    """For private or gated repositories on the hub."""
    second_adapter: str | None = None
    """Folder or hub id of another adapter on the same base, to compare with."""
    second_adapter_revision: str | None = None

    def __post_init__(self) -> None:
        _one_of("device", self.device, get_args(Device))
        _one_of("dtype", self.dtype, get_args(Dtype))
        for name in ("model", "adapter", "second_adapter"):
            if getattr(self, name) == "":
                option = name.replace("_", "-")
                raise SettingsError(f"--{option} is empty; give a folder or a hub id such as microsoft/phi-2.")
        if self.second_adapter is not None and self.model is not None and self.adapter is None:
            raise SettingsError(
                f"--second-adapter {self.second_adapter} has no first one beside it, since --model alone is a bare base. "
                "Give the first with --adapter."
            )
        if self.second_adapter_revision is not None and self.second_adapter is None:
            raise SettingsError(
                f"--second-adapter-revision {self.second_adapter_revision} is of no adapter; give it with --second-adapter."
            )

    def __repr__(self) -> str:
        shown = ("model", "adapter", "second_adapter", "device", "dtype")
        return f"ModelSettings({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


@dataclass(frozen=True)
class ServerSettings:
    """How the page is served."""

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    """Through a public link, for three days."""
    auth: str | None = None
    """user:password, asked of every visitor."""
    public: bool = False
    """Share without a password."""
    queue_size: int = 16
    """Requests that may wait; more are told to come back."""
    time_limit_s: int | None = None
    """What one request may take at most; None: see `longest_s`."""

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
        """Seconds that one request may take: as said, or what suits whoever can reach the page."""
        if self.time_limit_s is not None:
            return self.time_limit_s
        return SERVED_LONGEST_S if self.share or not _is_loopback(self.host) else LONGEST_S

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password, where visitors are asked for them."""
        if self.auth is None:
            return None
        user, _, password = self.auth.partition(":")
        return user, password

    def __repr__(self) -> str:
        return f"ServerSettings(host={self.host!r}, port={self.port}, share={self.share}, auth={'***' if self.auth else None})"


@dataclass(frozen=True)
class Launch:
    """Which process this is, where a launcher as torchrun started several."""

    index: int = 0
    """Of all, on all machines."""
    count: int = 1
    local_index: int = 0
    """On this machine."""

    def __post_init__(self) -> None:
        if not self.index < self.count:
            raise SettingsError(f"RANK is {self.index} of a WORLD_SIZE of {self.count}; start processes by torchrun.")


def model_settings_from(environment: Mapping[str, str] | None = None) -> ModelSettings:
    """PHI2DEMO_MODEL, _ADAPTER, _SECOND_ADAPTER, their _REVISIONs, _DEVICE, _DTYPE; HF_TOKEN for the hub."""
    env = os.environ if environment is None else environment
    return ModelSettings(
        model=env.get("PHI2DEMO_MODEL"),
        adapter=env.get("PHI2DEMO_ADAPTER"),
        revision=env.get("PHI2DEMO_REVISION"),
        adapter_revision=env.get("PHI2DEMO_ADAPTER_REVISION"),
        second_adapter=env.get("PHI2DEMO_SECOND_ADAPTER"),
        second_adapter_revision=env.get("PHI2DEMO_SECOND_ADAPTER_REVISION"),
        device=cast(Device, env.get("PHI2DEMO_DEVICE", "auto")),
        dtype=cast(Dtype, env.get("PHI2DEMO_DTYPE", "auto")),
        token=env.get("HF_TOKEN") or None,
    )


def server_settings_from(environment: Mapping[str, str] | None = None) -> ServerSettings:
    """PHI2DEMO_HOST, _PORT, _SHARE, _AUTH, _PUBLIC, _TIME_LIMIT; on a Space, which sets SPACE_ID, the host is 0.0.0.0."""
    env = os.environ if environment is None else environment
    host = env.get("PHI2DEMO_HOST") or ("0.0.0.0" if "SPACE_ID" in env else ServerSettings.host)
    port = env.get("PHI2DEMO_PORT", str(ServerSettings.port))
    if not port.isdecimal():
        raise SettingsError(f"PHI2DEMO_PORT is {port!r}; give a number from 0 to 65535.")
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
    """RANK, WORLD_SIZE and LOCAL_RANK, as torchrun sets them; alone where there is none."""
    env = os.environ if environment is None else environment
    told = {name: env.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))}
    for name, value in told.items():
        if not value.isdecimal():
            raise SettingsError(f"{name} is {value!r}; start several processes by torchrun, which sets it.")
    launch = Launch(*(int(value) for value in told.values()))
    if launch.count > 1 and "MASTER_ADDR" not in env:
        raise SettingsError("WORLD_SIZE is set but MASTER_ADDR is not; start several processes by torchrun.")
    return launch


def keep_one_gpu(launch: Launch, count: int) -> None:
    """Leave this process one of the `count` GPUs that it sees, for all that asks CUDA from now on."""
    if count:
        names = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")[:count]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[launch.local_index % count].strip()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong_time_limit(given: object) -> SettingsError:
    return SettingsError(f"--time-limit (PHI2DEMO_TIME_LIMIT) is {given!r}; give whole seconds from 1 to {LONGEST_S}.")


def _flag(name: str, env: Mapping[str, str]) -> bool:
    value = env.get(name, "0").lower()
    if value not in ("0", "1", "true", "false", ""):
        raise SettingsError(f"{name} is {value!r}; give 1 or 0.")
    return value in ("1", "true")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} is {value!r}; give one of {', '.join(allowed)}.")
