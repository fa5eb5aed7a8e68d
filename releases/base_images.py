"""Which images a Dockerfile starts from, as BuildKit reads it."""

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

_FROM = re.compile(r"\s*FROM\s+(?:--\S+\s+)*[\"']?([^\s\"']+)[\"']?(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_ARG = re.compile(r"\s*ARG\s+(.*)", re.IGNORECASE)
_DECLARED = re.compile(r"(\w+)(?:=(\"[^\"]*\"|'[^']*'|\S*))?")
_FLAGS = re.compile(r"\s*(?:COPY|RUN)\s+((?:--\S+\s+)*)", re.IGNORECASE)
_COPIED = re.compile(r"(?:--from=|[=,]from=)[\"']?([^\s,\"']+)")
_CONTINUED = re.compile(r"(?<!\\)\\[ \t]*$")
_WITH_TEXT = re.compile(r"\s*(?:ONBUILD\s+)?(?:ADD|COPY|RUN)\s", re.IGNORECASE)
_TEXT = re.compile(r"(?:^|\s)\d*<<-?([\"']?)([^\s<\"'-][^\s<\"']*)\1(?=\s|$)")
# The innermost: the word may hold another.
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?)([-+?])([^{}$]*))?\})")


def base_images(dockerfile: str, args: Mapping[str, str], platform: Mapping[str, str]) -> list[str]:
    """The images a Dockerfile starts from or copies from, its own stages left out.

    `platform`: TARGETARCH and the like, which FROM knows without an ARG.
    """
    instructions = list(_instructions(dockerfile))
    stages = {one[2].lower() for one in map(_FROM.match, instructions) if one and one[2]}
    values, above = dict(platform), set[str]()
    found: dict[str, None] = {}
    for instruction in instructions:
        if start := _FROM.match(instruction):
            image = _filled(start[1], values)
            if image.lower() not in above | {"scratch"}:
                found[image] = None
            above.add((start[2] or "").lower())
        elif (declared := _ARG.match(instruction)) and not above:  # FROM sees none of a stage's
            _declare(declared[1], args, values)
        elif flags := _FLAGS.match(instruction):
            copied = _COPIED.findall(flags[1])
            found |= {image: None for image in copied if not (image.lower() in stages or image.isdigit())}
    return list(found)


def args_of_from(dockerfile: str) -> set[str]:
    """The ARGs that FROM sees: those before the first one."""
    above = takewhile(lambda one: not _FROM.match(one), _instructions(dockerfile))
    declared = (found[1] for one in above if (found := _ARG.match(one)))
    return {name for text in declared for name, _ in _DECLARED.findall(text)}


def platform_args(builds: str, target: str) -> dict[str, str]:
    """What BuildKit declares by itself, of platforms such as linux/arm64/v8."""
    values: dict[str, str] = {}
    for prefix, platform in (("BUILD", builds), ("TARGET", target)):
        parts = zip(("OS", "ARCH", "VARIANT"), [*platform.split("/"), ""], strict=False)
        values |= {f"{prefix}{part}": value for part, value in parts} | {f"{prefix}PLATFORM": platform}
    return values


def _instructions(dockerfile: str) -> Iterator[str]:
    """Each as one line, without comments and the texts of here-documents."""
    lines, whole = iter(dockerfile.splitlines()), ""
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole += line
        if _CONTINUED.search(whole):
            whole = _CONTINUED.sub("", whole)
            continue
        yield whole
        for _, end in _TEXT.findall(whole) if _WITH_TEXT.match(whole) else ():
            next((text for text in lines if text.lstrip("\t") == end), None)
        whole = ""


def _declare(text: str, args: Mapping[str, str], values: dict[str, str]) -> None:
    for name, default in _DECLARED.findall(text):
        if name in args:
            values[name] = args[name]
        elif default:
            values[name] = _filled(default.strip("\"'"), values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    for _ in range(text.count("$")):
        text = _VARIABLE.sub(lambda found: _value(found, values), text)
    return text


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    """`${NAME:-word}` is the word where NAME is empty, too; `${NAME-word}` only where there is none."""
    name, colon, kind, word = found[1] or found[2], found[3], found[4], found[5]
    value = values.get(name)
    is_there = bool(value) if colon else value is not None
    if kind == "+":
        return word if is_there else ""
    return word if kind == "-" and not is_there else value or ""
