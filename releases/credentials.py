"""Values that are credentials by their form: exact patterns, so that no ordinary value is taken for one."""

import re
from collections.abc import Iterator

from releases.spec import ServiceSpec

# As their makers write them; each begins and ends where a longer word would make it something else.
_FORMS = {
    "a private key": r"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----",
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z2-7]{16}\b",
    "a Google API key": r"\bAIza[\w-]{35}(?![\w-])",
    "a Google access token": r"\bya29\.[\w-]{20,}",
    "a Google client secret": r"\bGOCSPX-[\w-]{28}(?![\w-])",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{34,}\b",
    "an OpenAI key": r"\bsk-[\w-]*T3BlbkFJ[\w-]+",
    "an Anthropic key": r"\bsk-ant-[\w-]{20,}",
    "a Slack token": r"\bxox[abeoprs]-\d[\w-]{10,}",
    "a Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{20,}",
    # Not where a variable stands for the password: $PASSWORD, {password}, <password>, %s
    "a URL with a password": r"\b[a-z][a-z0-9+.-]*://[^\s/:@?#]*:(?![$%{<])[^\s/@]+@[^\s/@]",
}
_FORM = re.compile("|".join(f"(?P<f{number}>{form})" for number, form in enumerate(_FORMS.values())))


def credential_in(value: str) -> str:
    """What it looks like; empty: like none."""
    match = _FORM.search(value)
    return next(
        (name for number, name in enumerate(_FORMS) if match and match.group(f"f{number}") is not None), ""
    )


def credentials_in(spec: ServiceSpec) -> Iterator[tuple[str, str]]:
    """Where in the spec one stands that everybody would read who sees the VM or the image, and what it is."""
    run = spec.run
    values = {
        **{f"run.env.{name}": value for name, value in run.env.items()},
        **{f"run.entrypoint.{number}": word for number, word in enumerate(run.entrypoint)},
        **{f"run.command.{number}": word for number, word in enumerate(run.command)},
        **{f"build.args.{name}": value for name, value in spec.build.args.items()},
    }
    yield from ((place, found) for place, value in values.items() if (found := credential_in(value)))
