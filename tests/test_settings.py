import os

import pytest

from phi2demo.engine.engine import RANGES
from phi2demo.errors import SettingsError
from phi2demo.settings import (
    LONGEST_S,
    ModelSettings,
    ServerSettings,
    model_settings_from,
    server_settings_from,
    turn_off_tokenizer_threads,
)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert model_settings_from({}) == ModelSettings()
    assert server_settings_from({}) == ServerSettings()


def test_every_variable_is_read() -> None:
    environment = {
        "PHI2DEMO_MODEL": "m",
        "PHI2DEMO_ADAPTER": "a",
        "PHI2DEMO_REVISION": "r",
        "PHI2DEMO_ADAPTER_REVISION": "s",
        "PHI2DEMO_DEVICE": "cuda",
        "PHI2DEMO_DTYPE": "bfloat16",
        "PHI2DEMO_TEMPLATE": "alpaca",
        "PHI2DEMO_SYSTEM": "Be brief.",
        "HF_TOKEN": "t",
        "PHI2DEMO_HOST": "::1",
        "PHI2DEMO_PORT": "0",
        "PHI2DEMO_SHARE": "TRUE",
        "PHI2DEMO_AUTH": "u:p:q",
        "PHI2DEMO_PUBLIC": "0",
        "PHI2DEMO_TIME_LIMIT": "60",
    }
    assert model_settings_from(environment) == ModelSettings(
        "m", "a", "r", "s", "cuda", "bfloat16", "t", template="alpaca", system="Be brief."
    )
    settings = server_settings_from(environment)
    assert settings == ServerSettings("::1", 0, True, "u:p:q", time_limit_s=60)
    assert settings.credentials == ("u", "p:q")
    assert ServerSettings().credentials is None


def test_the_host_on_a_space_is_open_by_default() -> None:
    assert server_settings_from({"SPACE_ID": "x/y"}).host == "0.0.0.0"
    assert server_settings_from({"SPACE_ID": "x/y", "PHI2DEMO_HOST": "127.0.0.1"}).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 3600),
        ({"PHI2DEMO_HOST": "localhost"}, 3600),
        ({"PHI2DEMO_HOST": "127.0.0.2"}, 3600),
        ({"PHI2DEMO_HOST": "::1"}, 3600),
        ({"PHI2DEMO_HOST": "0.0.0.0"}, 300),
        ({"PHI2DEMO_HOST": "::"}, 300),
        ({"PHI2DEMO_HOST": "my-machine"}, 300),
        ({"SPACE_ID": "x/y"}, 300),
        ({"PHI2DEMO_SHARE": "1", "PHI2DEMO_PUBLIC": "1"}, 300),
        ({"SPACE_ID": "x/y", "PHI2DEMO_TIME_LIMIT": "900"}, 900),
        ({"PHI2DEMO_TIME_LIMIT": "20"}, 20),
    ],
)
def test_one_request_takes_less_where_others_wait(environment: dict[str, str], seconds: int) -> None:
    assert server_settings_from(environment).longest_s == seconds


def test_the_longest_request_is_the_longest_that_the_engine_takes() -> None:
    assert RANGES["time_limit_s"][1] == LONGEST_S


def test_the_environment_itself_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI2DEMO_MODEL", "from/environment")
    assert model_settings_from().model == "from/environment"


def test_overrides_win_over_the_environment_unless_they_are_none() -> None:
    environment = {"PHI2DEMO_MODEL": "m", "PHI2DEMO_ADAPTER": "a", "PHI2DEMO_PORT": "no number"}
    assert model_settings_from(environment, {"model": "n", "adapter": None}) == ModelSettings("n", "a")
    assert server_settings_from(environment, {"port": 8, "share": True, "public": True}).port == 8


def test_the_environment_may_name_several_adapters_and_some_commands_take_one() -> None:
    environment = {
        "PHI2DEMO_ADAPTER": os.pathsep.join(("a", "b", "c")),
        "PHI2DEMO_ADAPTER_REVISION": os.pathsep.join(("p", "q")),
    }
    assert model_settings_from(environment) == ModelSettings(
        adapter="a", adapter_revision="p", other_adapters=("b", "c"), other_revisions=("q",)
    )
    assert model_settings_from(environment, several=False) == ModelSettings(adapter="a", adapter_revision="p")


def test_tokenizer_threads_are_turned_off_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    turn_off_tokenizer_threads()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PHI2DEMO_DEVICE": "tpu"}, "device is 'tpu'; give one of auto, cpu, cuda, mps"),
        ({"PHI2DEMO_DTYPE": "int8"}, "dtype is 'int8'"),
        ({"PHI2DEMO_MODEL": ""}, "--model is empty"),
        ({"PHI2DEMO_ADAPTER": ""}, "--adapter is empty"),
        ({"PHI2DEMO_ADAPTER": f"a{os.pathsep}"}, "--adapter is empty"),
        ({"PHI2DEMO_ADAPTER_REVISION": f"p{os.pathsep}q"}, "--adapter-revision is given 2 times for 1 --adapter"),
        ({"PHI2DEMO_BASE": "b"}, "--base b is what a wholly finetuned --model is compared with"),
        ({"PHI2DEMO_BASE": "b", "PHI2DEMO_MODEL": "m", "PHI2DEMO_ADAPTER": "a"}, "and no --adapter"),
    ],
)
def test_wrong_model_settings(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        model_settings_from(environment)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PHI2DEMO_PORT": "http"}, r"\(PHI2DEMO_PORT\) is 'http'"),
        ({"PHI2DEMO_PORT": "-1"}, r"\(PHI2DEMO_PORT\) is '-1'"),
        ({"PHI2DEMO_PORT": ""}, r"\(PHI2DEMO_PORT\) is ''"),
        ({"PHI2DEMO_PORT": "65536"}, "--port 65536"),
        ({"PHI2DEMO_TIME_LIMIT": "soon"}, "is 'soon'; give whole seconds from 1 to 3600"),
        ({"PHI2DEMO_TIME_LIMIT": "0"}, "--time-limit .* is 0"),
        ({"PHI2DEMO_TIME_LIMIT": "3601"}, "--time-limit .* is 3601"),
        ({"PHI2DEMO_SHARE": "yes"}, "PHI2DEMO_SHARE is 'yes'; give 1 or 0"),
        ({"PHI2DEMO_SHARE": "1"}, "--share puts this page on the internet"),
        ({"PHI2DEMO_AUTH": "user"}, "user:password"),
        ({"PHI2DEMO_AUTH": ":p"}, "user:password"),
        ({"PHI2DEMO_AUTH": "u:"}, "user:password"),
    ],
)
def test_wrong_server_settings(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        server_settings_from(environment)


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(ServerSettings(auth="me:secret"))
    assert "secret" not in str(ModelSettings(token="secret"))
