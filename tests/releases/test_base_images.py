"""What a Dockerfile starts from: BuildKit's own reading, as its reference describes it."""

import pytest

from releases.base_images import args_of_from, base_images, platform_args


def lines(*each: str) -> str:
    return "\n".join(each)


PLATFORM = platform_args("linux/amd64", "linux/arm/v7")
CASES = {
    "a plain one": ("FROM python:3.11-slim", ["python:3.11-slim"]),
    "an argument, twice, and a stage": ("ARG BASE=a:1\nFROM ${BASE} AS x\nFROM x\nFROM $BASE", ["a:1"]),
    "another image that is copied from": (
        "FROM --platform=linux/amd64 a AS one\nCOPY --from=one /x /x\nCOPY --chown=1 --from=b:3 /y /y",
        ["a", "b:3"],
    ),
    "what a mount is from": (
        "FROM a\nRUN --mount=type=bind,from=c:4,target=/c --mount=from=d:5,target=/d true",
        ["a", "c:4", "d:5"],
    ),
    "from scratch, and a stage by number": ("from scratch\nCOPY --from=0 / /", []),
    "an argument declared again in a stage": (
        lines("ARG V=3.11", "FROM python:${V} AS Build", "ARG V", "ARG V=2", "FROM python:${V}-slim"),
        ["python:3.11", "python:3.11-slim"],
    ),
    "stages in other letters": ("FROM a AS Build\nFROM BUILD AS end\nCOPY --from=bUILD /x /x", ["a"]),
    "a stage that comes later": ("FROM a\nCOPY --from=late /x /x\nFROM b AS late", ["a", "b"]),
    "a stage named as its image": ("FROM alpine AS alpine\nFROM alpine", ["alpine"]),
    "a default where there is no value": ("ARG V\nFROM python:${V:-3.11}", ["python:3.11"]),
    "a default where the value is empty": ('ARG V=""\nFROM python:${V:-3.11}', ["python:3.11"]),
    "no default where there is a value": (
        "ARG V=3.12\nFROM python:${V:-3.11}${V+-slim}",
        ["python:3.12-slim"],
    ),
    "a word only where there is a value": ("ARG S\nFROM python:3${S:+-slim}", ["python:3"]),
    "a default in a default": ("ARG V=3\nFROM ${IMAGE:-python:${V:-2}}", ["python:3"]),
    "an argument of an argument": ("ARG V=3.11\nARG BASE=python:${V}-slim\nFROM $BASE", ["python:3.11-slim"]),
    "quotes": ('ARG A="a:1" B=\'b:2\'\nFROM "$A"\nFROM ${B}', ["a:1", "b:2"]),
    "what is given": ("ARG GIVEN=a:1\nFROM ${GIVEN}", ["given:1"]),
    "what is given and not declared": ("FROM a${GIVEN}", ["a"]),
    "platforms without an ARG": (
        lines(
            "FROM --platform=$BUILDPLATFORM a-$BUILDARCH AS build-arm",
            "FROM build-${TARGETARCH}",
            "FROM b:$TARGETOS$TARGETVARIANT",
        ),
        ["a-amd64", "b:linuxv7"],
    ),
    "lines that go on": (
        lines("FROM \\", "  # not this: FROM x", "", "  python:3.11 \\  ", "  AS one", "FROM one"),
        ["python:3.11"],
    ),
    "words of a command": (
        lines("FROM a", 'RUN psql -c "SELECT 1 \\', 'FROM t" && git log --from=x', "# FROM y"),
        ["a"],
    ),
    "a text in the file": (
        lines(
            "FROM a",
            "RUN python - <<'EOF'",
            "from os import path",
            "EOF",
            "COPY <<-ONE <<TWO /x/",
            "FROM b",
            "\tONE",
            "FROM c",
            "TWO",
            "RUN echo $((1<<2)) <<<word",
            "FROM d",
        ),
        ["a", "d"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_base_images_are_those_that_docker_starts_from(case: str) -> None:
    dockerfile, images = CASES[case]
    assert base_images(dockerfile, {"GIVEN": "given:1"}, PLATFORM) == images


@pytest.mark.parametrize("value", ["$V", "$W", "${V:-$W}"])
def test_arguments_that_name_each_other_end(value: str) -> None:
    base_images("ARG V\nARG W\nFROM a:$V", {"V": value, "W": "$V"}, {})


def test_what_from_sees_is_told_apart_from_a_stages_own() -> None:
    dockerfile = lines(
        "ARG VERSION=3.11 \\", "  BASE", "FROM python:$VERSION", "ARG VERSION", "ARG REVISION=x"
    )
    assert args_of_from(dockerfile) == {"VERSION", "BASE"}
