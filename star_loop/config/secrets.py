"""What must not reach the disk or the screen: passwords and tokens that a configuration or a command holds."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from star_loop.errors import ConfigError

_NAMED = re.compile(
    r"TOKEN(?!IZER)|SECRET|PASS(WORD|WD|PHRASE)|SSHPASS|APIKEY|CREDENTIAL|AUTHORI[SZ]ATION|BEARER"
    r"|(^|_)(KEY|PAT|PASS|PSW|AUTH)(?![A-Z])|\w_?PWD(?![A-Z])",
    re.IGNORECASE,
)
"""How variables of the environment are called whose values nobody may see."""
_NOT_SECRET = frozenset({"OLDPWD"})
_ISSUED = re.compile(
    r"\b(hf_[A-Za-z0-9]{30,}|gh[opsur]_[A-Za-z0-9]{36,}|github_pat_\w{30,}|glpat-[\w-]{20,}|sk-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{10,}|(AKIA|ASIA)[A-Z0-9]{16}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|[Bb]earer [\w.~+/-]{8,})"
    r"|://[^\s/:@]*:[^\s/:@]+@|\b(?i:pass(word|wd|phrase)|secret|token|api_?key)=[^\s{$]{6,}"
)
"""What tokens of Hugging Face, GitHub, GitLab, OpenAI, Slack and AWS look like, JSON Web Tokens, those that a header
bears, a password in a URL, and what is called one."""
_URL, _ASKED = re.compile(r"://\S+"), re.compile(r"[?&#;]([\w.-]+)=[^&]")
"""What follows the scheme of a URL; and each name in its query that has a value."""
_SHORTEST = 8
"""Characters of a value that is looked for: shorter ones are in many a word."""


def guard_secrets(config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Refuse a configuration that holds a secret of the environment, before it is built, shown or written.

    Raises:
        ConfigError: names the key and the variable, not the value.
    """
    secrets = {n: v for n, v in environment.items() if is_secret(n) and len(v) >= _SHORTEST}
    for key, value in _leaves(config, ""):
        for name in (n for n, secret in secrets.items() if secret in value or _in_url(secret) in value):
            raise ConfigError(f"{key} holds the value of {name}, {_REMEDY}")
        if _ISSUED.search(value) or any(is_secret(name) for url in _URL.findall(value) for name in _ASKED.findall(url)):
            raise ConfigError(f"{key} holds what looks like a token or a password, {_REMEDY}")


_REMEDY = (
    "which would be written into config.yaml and shown in the report: leave it out, what needs it reads its own "
    "variable of the environment"
)


def guard_command(arguments: Iterable[str], environment: Mapping[str, str]) -> None:
    """Refuse a command that holds a secret, or asks for one by `${oc.env:…}`, which a directory would be called after.

    Raises:
        ConfigError: see `guard_secrets`.
    """
    for argument in arguments:
        key, given, value = argument.lstrip("+~").partition("=")
        guard_secrets({key: value} if given else {"the command": key}, environment)
        for name in re.findall(r"oc\.env:\s*(\w+)", argument):
            if is_secret(name) and len(environment.get(name, "")) >= _SHORTEST:
                raise ConfigError(f"{key} holds the value of {name}, {_REMEDY}")


def is_secret(variable: str) -> bool:
    """Tell whether a variable of this name holds what nobody may see.

    Example:
        >>> [is_secret(name) for name in ("GITHUB_PAT", "hf_token", "PGPASSWORD", "PATH", "PWD", "MONKEY")]
        [True, True, True, False, False, False]
    """
    return bool(_NAMED.search(variable)) and variable not in _NOT_SECRET


def _in_url(text: str) -> str:
    """Write the text as in a URL."""
    return "".join(c if re.match(r"[\w.~-]", c, re.ASCII) else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


def _leaves(node: Any, key: str) -> Iterable[tuple[str, str]]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _leaves(str(name), f"a key of {key}" if key else "a key")
            yield from _leaves(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _leaves(child, key)
    else:
        yield key, str(node)
